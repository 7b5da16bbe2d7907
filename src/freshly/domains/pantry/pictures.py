"""Pictures of pantry items, which the server draws itself."""

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

SIDE_PIXELS = 1024
MAX_SLUG_CHARACTERS = 40
UNKNOWN_ITEM = 0  # not the id of a row


@dataclass
class PantryWithPictures:
    """Adds an item and enqueues the job that draws its picture."""

    pantry: Injected[PantryService]
    jobs: Injected[JobQueue]
    links: CurrentSignedUrls
    settings: CurrentSettings

    async def add(self, new: PantryItemCreate) -> PantryItem:
        item = await self.pantry.add(new)
        if self.settings.draws_pantry:
            user_id = self.pantry.access.user_id
            await self.jobs.enqueue(
                DrawPicture(item_id=item.id, person_id=user_id, base=self.links.base)
            )
        return item


def prompt(name: str) -> str:
    return (
        f"A plain studio product photo of {name}, and of nothing else: one item, centred, on a"
        " white background, in soft even light. No text, no labels, no people, no hands."
    )


def path_of(owner: str, item_id: int, name: str) -> str:
    """Return an unguessable path, because pictures are in a public bucket.

    `owner` is the tag of the pantry's owner, so that a family's pictures outlive its members.
    """
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:MAX_SLUG_CHARACTERS] or "item"
    return f"{owner}/{item_id}/{slug}-{secrets.token_urlsafe(12)}.jpg"


def path_in(url: str, bucket: str) -> str | None:
    """Return the path of a picture in this bucket, or None for a picture elsewhere."""
    _, separator, path = url.partition(f"/files/{bucket}/")
    return unquote(path) if separator else None


def item_of(path: str) -> int:
    """Return the id of the item, or UNKNOWN_ITEM if the path is not one of ours."""
    _, _, rest = path.partition("/")
    item_id = rest.partition("/")[0]
    return int(item_id) if item_id.isdecimal() else UNKNOWN_ITEM
