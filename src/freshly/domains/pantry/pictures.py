"""Pictures of what is in a kitchen, drawn where nobody has taken one."""

import re
import secrets
from dataclasses import dataclass
from urllib.parse import unquote

from freshly.chassis.dependencies import Injected
from freshly.chassis.jobs import JobQueue
from freshly.chassis.resources import CurrentSettings
from freshly.chassis.security.signed_urls import CurrentSignedUrls
from freshly.domains.pantry.jobs import DrawPicture
from freshly.domains.pantry.models import PantryItem
from freshly.domains.pantry.schemas import PantryItemCreate
from freshly.domains.pantry.service import PantryService

SIDE = 1024  # pixels
LONGEST_SLUG = 40


@dataclass
class PicturedPantry:
    """Adding an item by hand, which gets a picture a little later."""

    pantry: Injected[PantryService]
    jobs: Injected[JobQueue]
    links: CurrentSignedUrls
    settings: CurrentSettings

    async def add(self, new: PantryItemCreate) -> PantryItem:
        item = await self.pantry.add(new)
        if self.settings.draws_pantry:
            person_id = self.pantry.access.user_id
            await self.jobs.enqueue(
                DrawPicture(item_id=item.id, person_id=person_id, base=self.links.base)
            )
        return item


def prompt(name: str) -> str:
    return (
        f"A plain studio product photo of {name}, and of nothing else: one item, centred, on a"
        " white background, in soft even light. No text, no labels, no people, no hands."
    )


def path_of(owner: str, item_id: int, name: str) -> str:
    """Nobody guesses it: what is in a kitchen is nobody else's business.

    `owner` is its tag: a family's pictures stay when somebody goes.
    """
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:LONGEST_SLUG] or "item"
    return f"{owner}/{item_id}/{slug}-{secrets.token_urlsafe(12)}.jpg"


def path_in(url: str, bucket: str) -> str | None:
    """Of a picture that is kept here; None of one that is elsewhere."""
    _, found, path = url.partition(f"/files/{bucket}/")
    return unquote(path) if found else None


def item_of(path: str) -> int:
    """No item's, for what is not of ours."""
    _, _, rest = path.partition("/")
    item_id = rest.partition("/")[0]
    return int(item_id) if item_id.isdecimal() else 0
