from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from freshly.chassis.web.schemas import ReadSchema, Schema, example
from freshly.domains.notifications.models import Digest, NotificationType

LONGEST_PAGE = 100


class NotificationQuery(BaseModel):
    """The parameters of the existing app; others are ignored."""

    unread_only: Annotated[bool, Field(alias="unreadOnly")] = False
    type: NotificationType | None = None
    skip: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    limit: Annotated[int, Field(ge=1, le=LONGEST_PAGE)] = 50


class NotificationRead(BaseModel):
    model_config = ConfigDict(from_attributes=True, alias_generator=to_camel, validate_by_name=True)

    id: int
    user_id: int
    type: NotificationType
    title: str
    message: str
    related_meal_id: int | None
    related_user_id: int | None
    related_family_id: int | None
    related_share_request_id: int | None
    is_read: bool
    created_at: datetime
    read_at: datetime | None
    related_user_name: str | None
    related_meal_name: str | None
    related_family_name: str | None


class UnreadCount(BaseModel):
    count: int


class NotificationStats(BaseModel):
    total: int
    unread: int
    unreadByType: Annotated[dict[str, int], Field(examples=[{"meal_share_request": 2}])]


class Counted(BaseModel):
    message: str
    count: int


class NoticeChoicesRead(ReadSchema):
    digest: Annotated[
        Digest, Field(description="A list each morning of the food to use within three days.")
    ]


class NoticeChoicesUpdate(Schema):
    """Only the fields that are sent change."""

    model_config = example({"digest": "both"})

    digest: Digest | None = None
