from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field


class TokensRead(BaseModel):
    used: Annotated[
        int, Field(description="Tokens used today, with the estimates of running calls.")
    ]
    limit: Annotated[int | None, Field(description="Null if there is no limit.")]
    resets_at: Annotated[datetime, Field(description="The next midnight UTC.")]


class FamilyTokensRead(TokensRead):
    family_id: int
    display_name: str
    charged: Annotated[
        bool, Field(description="True for the one family that pays for this user's questions.")
    ]


class UsageRead(BaseModel):
    """Tokens of the assistant that were used on this UTC day."""

    person: TokensRead
    families: list[FamilyTokensRead]
