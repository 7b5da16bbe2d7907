from pydantic import BaseModel


class StoredAvatar(BaseModel):
    bucket: str
    path: str
    publicUrl: str


class AvatarUpload(StoredAvatar):
    """PUT the picture to `signedUrl` within ten minutes. Then `publicUrl` shows it."""

    signedUrl: str
    token: str
