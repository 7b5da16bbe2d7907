"""A person's files: whatever lies in their folder of a bucket."""

import secrets
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from freshly.chassis.resources import CurrentObjectStore, CurrentSettings

EXPORTS_LIVE = timedelta(days=7)
LINKS_END_WITHIN = timedelta(hours=1)  # of that: with a full hour


@dataclass(frozen=True)
class PersonalFiles:
    objects: CurrentObjectStore
    settings: CurrentSettings

    def _pictures(self, user_id: int) -> dict[str, tuple[str, str]]:
        """Bucket and folder, by what is in them."""
        known = self.settings
        return {
            "avatar": (known.avatars_bucket, f"{user_id}/"),
            "chat_pictures": (known.chat_images_bucket, f"{user_id}/"),
            "pantry_pictures": (known.pantry_images_bucket, f"p{user_id}/"),
        }

    async def pictures(self, user_id: int) -> AsyncIterator[tuple[str, AsyncIterator[bytes]]]:
        """By a name that says what they are: `chat_pictures/12/3f2a.jpg`."""
        for name, (bucket, folder) in self._pictures(user_id).items():
            for path in await self.objects.paths(bucket, folder):
                content = await self.objects.pieces(bucket, path)
                if content is not None:  # else it was removed meanwhile
                    yield f"{name}/{path.partition('/')[2]}", content

    async def keep_export(self, user_id: int, file: Path) -> str:
        """Its path, in which stands when it may be dropped."""
        until = int(time.time() + (EXPORTS_LIVE + LINKS_END_WITHIN).total_seconds())
        path = f"{user_id}/{until}-{secrets.token_urlsafe(16)}.zip"
        await self.objects.put(self.settings.exports_bucket, path, file)
        return path

    async def drop(self, export: str) -> None:
        await self.objects.delete(self.settings.exports_bucket, [export])

    async def drop_exports(self, at: float) -> int:
        """Those whose links have expired; how many that were."""
        bucket = self.settings.exports_bucket
        found = await self.objects.paths(bucket, "")
        old = [path for path in found if _until(path) < at]
        await self.objects.delete(bucket, old)
        return len(old)

    async def remove_all(self, user_id: int) -> None:
        """For somebody who is gone. It can be done again."""
        exports = (self.settings.exports_bucket, f"{user_id}/")
        for bucket, folder in (*self._pictures(user_id).values(), exports):
            await self.objects.delete(bucket, await self.objects.paths(bucket, folder))


def _until(path: str) -> int:
    """Forever, for what is not of ours."""
    until = path.rpartition("/")[2].partition("-")[0]
    return int(until) if until.isdecimal() else sys.maxsize
