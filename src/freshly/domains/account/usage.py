from collections.abc import Mapping
from dataclasses import dataclass

from freshly.chassis.data.quotas import Holder, Quota, applies_to
from freshly.chassis.data.transactions import CurrentDatabase
from freshly.chassis.dependencies import Injected
from freshly.domains.account.repository import stored_amounts
from freshly.domains.account.schemas import FamilyUsageRead, QuotaRead, StorageUsageRead
from freshly.domains.families.access import CurrentAccess
from freshly.domains.storage.service import StoredFiles

FILES = "files"  # not in a table


@dataclass
class StorageUsage:
    """The amounts that the caller and the caller's families store, beside their quotas."""

    access: CurrentAccess
    db: CurrentDatabase
    files: Injected[StoredFiles]

    async def read(self) -> StorageUsageRead:
        stored_files = await self.files.total_bytes()
        person = await self._amounts(("person", self.access.user_id))
        families = [
            FamilyUsageRead(family_id=id_, quotas=self._rows(await self._amounts(("family", id_))))
            for id_ in self.access.roles
        ]
        return StorageUsageRead(
            person=self._rows({**person, FILES: stored_files}), families=families
        )

    async def _amounts(self, holder: Holder) -> Mapping[str, int]:
        names = [name for name in self.db.quotas if applies_to(name, holder[0])]
        async with self.db.read() as session:
            return await stored_amounts(session, names, holder)

    def _rows(self, amounts: Mapping[str, int]) -> list[QuotaRead]:
        quotas = self.db.quotas
        return [_read(quotas[name], used) for name, used in amounts.items() if name in quotas]


def _read(quota: Quota, used: int) -> QuotaRead:
    return QuotaRead(
        quota=quota.name,
        used=used,
        limit=quota.limit or None,
        unit="bytes" if quota.in_bytes else "rows",
    )
