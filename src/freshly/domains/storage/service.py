import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

from freshly.chassis.data.transactions import CurrentDatabase, Database
from freshly.chassis.jobs import JobQueue
from freshly.chassis.ports.object_storage import ObjectStore
from freshly.chassis.resources import CurrentObjectStore, CurrentSettings
from freshly.chassis.security.caller import CurrentCaller
from freshly.chassis.security.image_sanitizer import (
    InvalidPicture,
    Picture,
    TooManyPixels,
    sanitize_picture,
)
from freshly.chassis.security.signed_urls import READ, WRITE, CurrentSignedUrls, CurrentUrlSigner
from freshly.domains.storage.errors import (
    FileMissing,
    ImageTooLarge,
    InvalidImageType,
    LinkNotValid,
)
from freshly.domains.storage.jobs import MakeSmallAvatar
from freshly.domains.storage.schemas import AvatarUpload, StoredAvatar
from freshly.settings import LARGEST_AVATAR, Settings

AVATAR_TYPES = ("image/jpeg", "image/png")
AVATAR_SIDE_PIXELS = 1024
TIME_TO_UPLOAD = timedelta(minutes=10)


@dataclass
class AvatarService:
    caller: CurrentCaller
    objects: CurrentObjectStore
    links: CurrentSignedUrls
    settings: CurrentSettings
    db: CurrentDatabase

    async def store(self, content: bytes) -> StoredAvatar:
        picture = await _avatar(content, self.settings)
        path = _new_path(self.caller.user_id, picture.extension)
        bucket = self.settings.avatars_bucket
        await _replace(self.objects, bucket, path, picture.content)
        await _enqueue_small_copy(path, self.db)
        return StoredAvatar(bucket=bucket, path=path, publicUrl=self.links.public(bucket, path))

    async def allow_upload(self) -> AvatarUpload:
        bucket, path = self.settings.avatars_bucket, _new_path(self.caller.user_id, "jpg")
        link, token = self.links.signed(bucket, path, TIME_TO_UPLOAD, WRITE)
        return AvatarUpload(
            bucket=bucket,
            path=path,
            publicUrl=self.links.public(bucket, path),
            signedUrl=link,
            token=token,
        )


@dataclass
class FileService:
    """Serves files by link: of public buckets, whose names are unguessable, or by signature."""

    objects: CurrentObjectStore
    signer: CurrentUrlSigner
    settings: CurrentSettings
    db: CurrentDatabase

    def is_public(self, bucket: str) -> bool:
        return bucket in (self.settings.avatars_bucket, self.settings.pantry_images_bucket)

    async def read(
        self, bucket: str, path: str, expires: int, signature: str
    ) -> AsyncIterator[bytes]:
        """Return the content in pieces, because an export may be large.

        Raise LinkNotValid or FileMissing.
        """
        allowed = self.is_public(bucket) or self.signer.is_valid(
            READ, bucket, path, expires, signature
        )
        # Exports need a sign-in. The previous release gave links to them that lived for a week.
        if not allowed or bucket == self.settings.exports_bucket:
            raise LinkNotValid
        # Refuse parent folders and hidden files.
        if any(not part or part.startswith(".") for part in path.split("/")):
            raise FileMissing
        content = await self.objects.stream(bucket, path)
        if content is None:
            raise FileMissing
        return content

    async def receive(
        self, bucket: str, path: str, expires: int, signature: str, content: bytes
    ) -> None:
        if not self.signer.is_valid(WRITE, bucket, path, expires, signature):
            raise LinkNotValid
        picture = await _avatar(content, self.settings, as_jpeg=True)
        await _replace(self.objects, bucket, path, picture.content)
        await _enqueue_small_copy(path, self.db)


def small_path(path: str) -> str:
    """Return the path of the small copy: `7/profile-x.small.jpg` for `7/profile-x.png`."""
    return f"{path.rpartition('.')[0]}.small.jpg"


async def _enqueue_small_copy(path: str, db: Database) -> None:
    async with db.write() as session:
        await JobQueue(session).enqueue(MakeSmallAvatar(path=path))


async def _avatar(content: bytes, settings: Settings, *, as_jpeg: bool = False) -> Picture:
    limit = min(LARGEST_AVATAR, settings.max_file_size)
    if len(content) > limit:
        raise ImageTooLarge(limit=f"{limit / 2**20:.0f} MB")
    try:
        return await sanitize_picture(
            content, AVATAR_TYPES, largest_side=AVATAR_SIDE_PIXELS, as_jpeg=as_jpeg
        )
    except (InvalidPicture, TooManyPixels) as error:
        raise InvalidImageType from error


def _new_path(user_id: int, extension: str) -> str:
    """Return an unguessable path. A new picture has a new path, so that caches stay correct."""
    return f"{user_id}/profile-{secrets.token_urlsafe(16)}.{extension}"


async def _replace(objects: ObjectStore, bucket: str, path: str, content: bytes) -> None:
    folder = path.rpartition("/")[0]
    older = await objects.list_paths(bucket, f"{folder}/")
    await objects.put(bucket, path, content)
    await objects.delete(bucket, [other for other in older if other != path])
