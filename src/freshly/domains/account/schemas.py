from typing import Annotated, Literal

from pydantic import BaseModel, Field


class QuotaRead(BaseModel):
    quota: str
    used: int
    limit: Annotated[int | None, Field(description="Null if there is no limit.")]
    unit: Literal["rows", "bytes"]


class FamilyUsageRead(BaseModel):
    family_id: int
    quotas: list[QuotaRead]


class StorageUsageRead(BaseModel):
    """The amounts that the user and each of their families store, beside the quotas."""

    person: list[QuotaRead]
    families: list[FamilyUsageRead]
