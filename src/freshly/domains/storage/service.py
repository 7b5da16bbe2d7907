import hashlib
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

from freshly.chassis.data.idempotency_keys import IdempotencyRecords, ResponseCipher
from freshly.chassis.data.transactions import CurrentDatabase, Database
from freshly.chassis.dependencies import Injected
from freshly.chassis.errors import Unauthenticated
from freshly.chassis.jobs import JobQueue
from freshly.chassis.ports.object_storage import ObjectStore
from freshly.chassis.resources import CurrentObjectStore, CurrentSettings, Resources, resource
from freshly.chassis.security.caller import CurrentCaller, Identity, TokenClaims
from freshly.chassis.security.image_sanitizer import (
    InvalidPicture,
    Picture,
    TooManyPixels,
    sanitize_picture,
)
from freshly.chassis.security.signed_urls import (
    READ,
    CurrentSignedUrls,
    CurrentUrlSigner,
    upload_action,
)
from freshly.chassis.web.rate_limiting import CallLimits
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
UPLOAD_LIMITS = "avatar-upload"  # the group that counts uploads by link


@dataclass
class AvatarService:
    caller: CurrentCaller
    objects: CurrentObjectStore
    links: CurrentSignedUrls
    settings: CurrentSettings
    db: CurrentDatabase

    async def store(self, content: bytes) -> StoredAvatar:
        picture = await _avatar(content, self.settings, str(self.caller.user_id))
        path = _new_path(self.caller.user_id, picture.extension)
        bucket = self.settings.avatars_bucket
        await _replace(self.objects, bucket, path, picture.content)
        await _enqueue_small_copy(path, self.db)
        return StoredAvatar(bucket=bucket, path=path, publicUrl=self.links.public(bucket, path))

    async def allow_upload(self) -> AvatarUpload:
        bucket, path = self.settings.avatars_bucket, _new_path(self.caller.user_id, "jpg")
        link, token = self.links.for_upload(bucket, path, TIME_TO_UPLOAD, self.caller.session_id)
        return AvatarUpload(
            bucket=bucket,
            path=path,
            publicUrl=self.links.public(bucket, path),
            signedUrl=link,
            token=token,
        )


@dataclass(frozen=True)
class Upload:
    """The values in the link of an upload."""

    bucket: str
    path: str
    expires: int
    signature: str
    session_id: str


@dataclass
class FileService:
    """Serves files by link: of public buckets, whose names are unguessable, or by signature."""

    objects: CurrentObjectStore
    signer: CurrentUrlSigner
    settings: CurrentSettings
    db: CurrentDatabase
    identity: Annotated[Identity, resource(Resources.identity)]
    cipher: Annotated[ResponseCipher, resource(Resources.response_cipher)]
    limits: Injected[CallLimits]

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

    async def receive(self, upload: Upload, content: bytes) -> None:
        """Store an avatar by its link, once. The link dies with the session that asked for it.

        Raise LinkNotValid, RateLimited, InvalidImageType or ImageTooLarge.
        """
        user_id = await self._uploader(upload)
        await self.limits.count(UPLOAD_LIMITS, {f"u{user_id}": 1})
        claim = self.cipher.claim(str(user_id), UPLOAD_LIMITS, upload.signature, user_id, b"")
        async with self.db.read() as session:
            if await IdempotencyRecords(session).find(claim):
                raise LinkNotValid
        picture = await _avatar(content, self.settings, str(user_id), as_jpeg=True)
        async with self.db.write() as session:
            seconds = int(TIME_TO_UPLOAD.total_seconds())
            if await IdempotencyRecords(session).claim(claim, seconds):
                raise LinkNotValid
        try:
            await _replace(self.objects, upload.bucket, upload.path, picture.content)
        except BaseException:
            async with self.db.write() as session:
                await IdempotencyRecords(session).release(claim)
            raise
        await _enqueue_small_copy(upload.path, self.db)

    async def _uploader(self, upload: Upload) -> int:
        """Return the id of the user who asked for the link. Raise LinkNotValid."""
        action = upload_action(upload.session_id)
        if not self.signer.is_valid(
            action, upload.bucket, upload.path, upload.expires, upload.signature
        ):
            raise LinkNotValid
        claims = TokenClaims(int(upload.path.partition("/")[0]), upload.session_id)
        try:
            return (await self.identity.identify(claims, self.db)).user_id
        except Unauthenticated as error:
            raise LinkNotValid from error


@dataclass
class StoredFiles:
    """The pictures that a user has stored: the avatar, and pictures in conversations."""

    caller: CurrentCaller
    objects: CurrentObjectStore
    settings: CurrentSettings
    db: CurrentDatabase

    async def total_bytes(self) -> int:
        """Return the bytes of the user's pictures. It asks the file store, so hold no session."""
        buckets = (self.settings.avatars_bucket, self.settings.chat_images_bucket)
        folder = f"{self.caller.user_id}/"
        return sum([await self.objects.total_bytes(bucket, folder) for bucket in buckets])

    async def ensure_room(self, added_bytes: int) -> None:
        """Raise QuotaExceeded if no picture of that size may be stored.

        Pictures that arrive at the same moment do not see each other, so they may exceed the
        quota together.
        """
        quota = self.db.quotas.get("files")
        if quota is not None and quota.limit:
            quota.ensure(await self.total_bytes(), added_bytes)


def small_path(path: str) -> str:
    """Return the path of the small copy: `7/profile-x.small.jpg` for `7/profile-x.png`."""
    return f"{path.rpartition('.')[0]}.small.jpg"


async def _enqueue_small_copy(path: str, db: Database) -> None:
    # A job that is done keeps its key, so the key does not name the user.
    key = f"small:{hashlib.sha256(path.encode()).hexdigest()[:32]}"
    async with db.write() as session:
        await JobQueue(session).enqueue(MakeSmallAvatar(path=path), key=key)


async def _avatar(
    content: bytes, settings: Settings, person: str, *, as_jpeg: bool = False
) -> Picture:
    limit = min(LARGEST_AVATAR, settings.max_file_size)
    if len(content) > limit:
        raise ImageTooLarge(limit=f"{limit / 2**20:.0f} MB")
    try:
        return await sanitize_picture(
            content,
            AVATAR_TYPES,
            largest_side=AVATAR_SIDE_PIXELS,
            as_jpeg=as_jpeg,
            person=person,
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
