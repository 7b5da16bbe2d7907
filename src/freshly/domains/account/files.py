"""The files of a user: all files in the user's folder of each bucket."""

import re
import secrets
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from freshly.chassis.resources import CurrentObjectStore, CurrentSettings
from freshly.domains.account.errors import ExportNotFound

EXPORTS_LIVE = timedelta(hours=1)
EXPORT_NAME = re.compile(r"\d{10,12}-[A-Za-z0-9_-]{22}\.zip")


@dataclass(frozen=True)
class PersonalFiles:
    objects: CurrentObjectStore
    settings: CurrentSettings

    def _pictures(self, user_id: int) -> dict[str, tuple[str, str]]:
        """Return bucket and folder by the kind of picture."""
        settings = self.settings
        return {
            "avatar": (settings.avatars_bucket, f"{user_id}/"),
            "chat_pictures": (settings.chat_images_bucket, f"{user_id}/"),
            "pantry_pictures": (settings.pantry_images_bucket, f"p{user_id}/"),
        }

    async def pictures(self, user_id: int) -> AsyncIterator[tuple[str, AsyncIterator[bytes]]]:
        """Yield each picture with its path in the export, such as `chat_pictures/12/3f2a.jpg`."""
        for name, (bucket, folder) in self._pictures(user_id).items():
            for path in await self.objects.list_paths(bucket, folder):
                content = await self.objects.stream(bucket, path)
                if content is not None:  # None: deleted meanwhile
                    yield f"{name}/{path.partition('/')[2]}", content

    async def keep_export(self, user_id: int, file: Path) -> str:
        """Store an export. Return its path, which contains the time after which it is deleted."""
        delete_after = int(time.time() + EXPORTS_LIVE.total_seconds())
        path = f"{user_id}/{delete_after}-{secrets.token_urlsafe(16)}.zip"
        await self.objects.put(self.settings.exports_bucket, path, file)
        return path

    async def export(self, user_id: int, name: str) -> AsyncIterator[bytes]:
        """Return an export of this user in pieces. Raise ExportNotFound, also after an hour."""
        if not EXPORT_NAME.fullmatch(name) or _delete_after(name) < time.time():
            raise ExportNotFound
        content = await self.objects.stream(self.settings.exports_bucket, f"{user_id}/{name}")
        if content is None:
            raise ExportNotFound
        return content

    async def delete_export(self, export: str) -> None:
        await self.objects.delete(self.settings.exports_bucket, [export])

    async def drop_exports(self, at: float) -> int:
        """Delete exports that expired before `at` (Unix time). Return their number."""
        bucket = self.settings.exports_bucket
        paths = await self.objects.list_paths(bucket, "")
        expired = [path for path in paths if _delete_after(path) < at]
        await self.objects.delete(bucket, expired)
        return len(expired)

    async def remove_all(self, user_id: int) -> None:
        """Delete all files of a deleted user. Safe to repeat."""
        exports = (self.settings.exports_bucket, f"{user_id}/")
        for bucket, folder in (*self._pictures(user_id).values(), exports):
            await self.objects.delete(bucket, await self.objects.list_paths(bucket, folder))


def _delete_after(path: str) -> int:
    """Return the Unix time in the path. Return sys.maxsize if the path is not one of ours."""
    timestamp = path.rpartition("/")[2].partition("-")[0]
    return int(timestamp) if timestamp.isdecimal() else sys.maxsize
