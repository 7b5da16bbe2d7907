from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field


class TokensRead(BaseModel):
    used: Annotated[int, Field(description="Today, with what calls under way may take.")]
    limit: Annotated[int | None, Field(description="Null: there is none.")]
    resets_at: Annotated[datetime, Field(description="Midnight UTC.")]


class FamilyTokensRead(TokensRead):
    family_id: int
    display_name: str
    charged: Annotated[
        bool, Field(description="Whether the caller's questions count here: in one family only.")
    ]


class UsageRead(BaseModel):
    """Tokens of the assistant, by the day of UTC."""

    person: TokensRead
    families: list[FamilyTokensRead]
