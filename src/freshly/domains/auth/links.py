"""Links in emails. Each works once, and a page asks before it changes anything."""

from dataclasses import dataclass
from datetime import timedelta

from freshly.chassis.dependencies import Injected
from freshly.chassis.security.codes import CurrentCodeSigner, new_seed
from freshly.domains.auth.errors import InvalidLink
from freshly.domains.auth.models import AccountLink, LinkPurpose
from freshly.domains.auth.repository import LinkRepository
from freshly.domains.users.models import UserStatus
from freshly.domains.users.service import UserDirectory
from freshly.settings import Settings

LIFETIMES = {
    LinkPurpose.VERIFY: timedelta(days=1),
    LinkPurpose.RESET: timedelta(days=1),
    LinkPurpose.UNDO_EMAIL_CHANGE: timedelta(days=7),
    LinkPurpose.RESTORE_ACCOUNT: timedelta(days=7),
    LinkPurpose.RESTORE_FAMILY: timedelta(days=7),
}
# A closed account is opened by its link. A thief who closed an account must not keep its address.
WITHOUT_ACTIVE_ACCOUNT = {LinkPurpose.RESTORE_ACCOUNT, LinkPurpose.UNDO_EMAIL_CHANGE}
PATH = "/auth/link"


@dataclass
class LinkService:
    links: Injected[LinkRepository]
    users: Injected[UserDirectory]
    signer: CurrentCodeSigner

    async def create(
        self,
        user_id: int,
        purpose: LinkPurpose,
        address: str | None = None,
        family_id: int | None = None,
    ) -> str:
        """Insert a link. Return its id, which is no link without the secret."""
        expires_at = await self.links.now() + LIFETIMES[purpose]
        link = AccountLink(
            id=new_seed(),
            user_id=user_id,
            purpose=purpose,
            address=address,
            family_id=family_id,
            expires_at=expires_at,
        )
        await self.links.add(link)
        return link.id

    async def delete(self, user_id: int, purpose: LinkPurpose) -> None:
        """Delete the user's links of this purpose."""
        await self.links.delete(user_id, purpose)

    async def find(self, token: str, *, lock: bool = False) -> AccountLink:
        """Return the link of a token. Raise InvalidLink if it was used, has expired or is wrong."""
        link_id = self.signer.link_id(token)
        link = await self.links.get(link_id, lock=lock) if link_id else None
        if link is None or link.expires_at <= await self.links.now():
            raise InvalidLink
        return link

    async def use(self, token: str, purpose: LinkPurpose) -> int:
        """Delete the link, and its user's other links of this purpose. Return the user's id.

        A link that undoes a change of the address deletes only the later ones. An earlier one is in
        an older mailbox, whose owner must not lose the account by a later change of a thief.

        Raise InvalidLink, also for most links of an account that is closed or suspended.
        """
        link = await self._usable(token, purpose)
        if purpose is LinkPurpose.UNDO_EMAIL_CHANGE:
            await self.links.delete_with_later(link)
        else:
            await self.links.delete(link.user_id, purpose)
        return link.user_id

    async def use_of_family(self, token: str) -> tuple[int, int]:
        """Delete the family's links of all its owners. Return the ids of the user and family."""
        link = await self._usable(token, LinkPurpose.RESTORE_FAMILY)
        if link.family_id is None:
            raise InvalidLink
        await self.links.delete_of_family(link.family_id)
        return link.user_id, link.family_id

    async def _usable(self, token: str, purpose: LinkPurpose) -> AccountLink:
        """Lock the link and its user. Raise InvalidLink."""
        link = await self.find(token, lock=True)
        if link.purpose != purpose:
            raise InvalidLink
        user = await self.users.get(link.user_id, lock=True)
        if user.status != UserStatus.ACTIVE and purpose not in WITHOUT_ACTIVE_ACCOUNT:
            raise InvalidLink
        return link


def url(settings: Settings, token: str) -> str:
    """Return the link that an email contains."""
    return page_url(settings, PATH, token)


def page_url(settings: Settings, path: str, token: str) -> str:
    """Return the address of a page of ours with a token.

    It never uses the host of a request, because a stranger may have chosen that host.
    """
    return f"{_base(settings)}{path}?token={token}"


def _base(settings: Settings) -> str:
    if settings.public_url:
        return settings.public_url
    named = [host for host in settings.allowed_hosts if not host.startswith("*")]
    if settings.is_local or not named:
        return f"http://localhost:{settings.port}"
    return f"https://{named[0]}"
