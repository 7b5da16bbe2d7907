import mimetypes
from typing import Annotated

from fastapi import APIRouter, File, Path, Query, Request, Response, UploadFile
from fastapi.responses import StreamingResponse

from freshly.chassis.dependencies import Injected
from freshly.chassis.errors import problems
from freshly.chassis.ports.object_storage import StorageUnavailable
from freshly.chassis.rate_limits.policy import RateLimited
from freshly.domains.storage.errors import (
    FileMissing,
    ImageTooLarge,
    InvalidImageType,
    LinkNotValid,
)
from freshly.domains.storage.schemas import AvatarUpload, StoredAvatar
from freshly.domains.storage.service import AvatarService, FileService, Upload

public = APIRouter(tags=["storage"])
router = APIRouter(prefix="/storage", tags=["storage"])

FILES = "/files/{bucket}/{path:path}"
Bucket = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,63}$")]
FilePath = Annotated[str, Path(pattern=r"^[A-Za-z0-9_./-]{1,300}$")]
Expires = Annotated[int, Query(ge=0, le=2**53)]
Signature = Annotated[str, Query(max_length=64)]
SessionId = Annotated[str, Query(max_length=64)]
FOREVER = "public, max-age=31536000, immutable"  # a new picture has a new name
BRIEFLY = "private, max-age=300"
PICTURE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp")


@router.post(
    "/avatar/proxy",
    status_code=201,
    responses=problems(InvalidImageType, ImageTooLarge, StorageUnavailable),
    summary="Upload my avatar (JPEG or PNG, 5 MB)",
)
async def upload_avatar(
    avatars: Injected[AvatarService], file: Annotated[UploadFile, File()]
) -> StoredAvatar:
    return await avatars.store(await file.read())


@router.post("/avatar/signed_url", summary="Get a link to upload my avatar to (by PUT)")
async def allow_avatar(avatars: Injected[AvatarService]) -> AvatarUpload:
    return await avatars.allow_upload()


@public.get(
    FILES,
    response_class=Response,
    responses=problems(FileMissing, LinkNotValid, StorageUnavailable),
    summary="Download a file by its link",
)
async def read_file(
    files: Injected[FileService],
    bucket: Bucket,
    path: FilePath,
    expires: Expires = 0,
    signature: Signature = "",
) -> Response:
    content = await files.read(bucket, path, expires, signature)
    kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
    return StreamingResponse(content, media_type=kind, headers=_file_headers(files, bucket, path))


def _file_headers(files: FileService, bucket: str, path: str) -> dict[str, str]:
    """Return the headers of a file. Only a picture may open in a browser; others are saved."""
    name = path.rpartition("/")[2]
    disposition = "inline" if name.endswith(PICTURE_ENDINGS) else "attachment"
    headers = {"Content-Disposition": f'{disposition}; filename="{name}"'}
    if files.is_public(bucket):
        # Pages of any site may show public pictures, as they could in the existing app.
        headers |= {"Cache-Control": FOREVER, "Cross-Origin-Resource-Policy": "cross-origin"}
    elif disposition == "inline":
        headers["Cache-Control"] = BRIEFLY
    return headers


@public.put(
    FILES,
    status_code=204,
    responses=problems(
        InvalidImageType, ImageTooLarge, LinkNotValid, RateLimited, StorageUnavailable
    ),
    summary="Upload a file by its link",
)
async def receive_file(
    files: Injected[FileService],
    request: Request,
    bucket: Bucket,
    path: FilePath,
    expires: Expires = 0,
    signature: Signature = "",
    session: SessionId = "",
) -> None:
    upload = Upload(bucket, path, expires, signature, session)
    await files.receive(upload, await request.body())
