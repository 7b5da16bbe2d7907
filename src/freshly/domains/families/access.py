"""Who is asking, and which rows they may see."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Generic, Self, TypeVar

from fastapi import Depends
from sqlalchemy import (
    CheckConstraint,
    ColumnElement,
    ForeignKey,
    Select,
    bindparam,
    exists,
    or_,
    select,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, Mapped, MappedAsDataclass, mapped_column

from freshly.chassis.data.base import Base
from freshly.chassis.data.transactions import DbSession
from freshly.chassis.errors import Forbidden, NotFound
from freshly.chassis.security.caller import Caller, CurrentCaller
from freshly.domains.families.errors import NotAFamilyMember
from freshly.domains.families.models import Membership, Role

MANY = 4096  # people whose Access a process keeps
memberships = Membership.__table__.c
MEMBERSHIPS = (
    select(memberships.family_id, memberships.role)
    .where(memberships.user_id == bindparam("user_id"))
    .order_by(memberships.id)
)
MINE = select(memberships.family_id).where(memberships.user_id == bindparam("person"))


@dataclass(frozen=True)
class Owner:
    """One family or one person. Only Access hands these out, after checking."""

    family_id: int | None
    user_id: int | None

    @cached_property
    def tag(self) -> str:
        return f"f{self.family_id}" if self.family_id is not None else f"p{self.user_id}"

    @property
    def id(self) -> int | None:
        return self.family_id if self.family_id is not None else self.user_id

    def __repr__(self) -> str:
        return self.tag


@dataclass(frozen=True)
class Access:
    """A person with their families and roles there, the longest membership first."""

    user_id: int
    roles: Mapping[int, Role]

    @classmethod
    async def of(cls, user_id: int, session: AsyncSession) -> Self:
        """The explicit access of somebody, for jobs, notices, and an owner looking at a member."""
        connection = await session.connection()
        rows = await connection.execute(MEMBERSHIPS, {"user_id": user_id})
        return cls(user_id=user_id, roles={family_id: Role(role) for family_id, role in rows})

    def owner(self, family_id: int | None) -> Owner:
        """The family if the caller belongs to it; without a family, the caller."""
        if family_id is None:
            return Owner(family_id=None, user_id=self.user_id)
        if family_id not in self.roles:
            raise NotAFamilyMember
        return Owner(family_id=family_id, user_id=None)

    def belongs_to(self, family_id: int | None) -> bool:
        return family_id is not None and family_id in self.roles

    def manages(self, family_id: int | None) -> bool:
        return family_id is not None and family_id in self.roles and self.roles[family_id].manages()

    def owns(self, family_id: int) -> bool:
        return self.roles.get(family_id) is Role.OWNER

    @cached_property
    def family_tags(self) -> tuple[str, ...]:
        """The owner tags of all families, for cache keys."""
        return tuple(self.owner(family_id).tag for family_id in self.roles)

    @property
    def first_family(self) -> int | None:
        return next(iter(self.roles), None)


async def _current_access(caller: CurrentCaller) -> Access:
    return _access_of(caller)


@lru_cache(maxsize=MANY)
def _access_of(caller: Caller) -> Access:
    """Whoever is in fifty families would wait for theirs as long as for all the rest."""
    roles = {family_id: Role(role) for family_id, role in caller.families}
    return Access(user_id=caller.user_id, roles=MappingProxyType(roles))


CurrentAccess = Annotated[Access, Depends(_current_access)]


class Guarded(Base):
    """A row that says who may see it."""

    __abstract__ = True

    id: Any

    @classmethod
    def visible_to(cls, access: Access) -> ColumnElement[bool]:
        raise NotImplementedError(cls.__name__)


class Owned(MappedAsDataclass, kw_only=True, eq=False, repr=False):
    """Columns of a row that belongs to exactly one family or one person."""

    family_id: Mapped[int | None] = mapped_column(
        ForeignKey("families.id", ondelete="CASCADE"), index=True
    )
    owner_user_id: Mapped[int | None] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), index=True
    )

    @property
    def scope(self) -> str:
        return "family" if self.family_id is not None else "personal"


def covers(
    access: Access, family_id: InstrumentedAttribute[Any], user_id: InstrumentedAttribute[Any]
) -> ColumnElement[bool]:
    return or_(user_id == access.user_id, family_id.in_(list(access.roles)))


def exactly_one_owner(name: str) -> CheckConstraint:
    return CheckConstraint(
        "(family_id IS NOT NULL AND owner_user_id IS NULL)"
        " OR (family_id IS NULL AND owner_user_id IS NOT NULL)",
        name=name,
    )


Row = TypeVar("Row", bound=Guarded)


class GuardedRepository(Generic[Row]):
    """The only door to rows that belong to somebody. It cannot be built without an Access."""

    model: type[Row]
    not_found: ClassVar[type[NotFound]]
    # Where the existing app tells a foreign row (403) from a missing one (404).
    forbidden: ClassVar[type[Forbidden] | None] = None

    def __init__(self, session: DbSession, access: CurrentAccess) -> None:
        self.session = session
        self.access = access

    def visible(self) -> Select[Any]:
        return select(self.model).where(self.model.visible_to(self.access))

    async def get(self, id: int, *, lock: bool = False) -> Row:
        statement = self.visible().where(self.model.id == id)
        if lock:
            statement = statement.with_for_update(of=self.model)
        # What a lock was waited for must be read again.
        row: Row | None = await self.session.scalar(
            statement.execution_options(populate_existing=lock)
        )
        if row is None:
            raise await self._refusal(id)
        return row

    async def _refusal(self, id: int) -> NotFound | Forbidden:
        if self.forbidden is not None and await self.is_there(id):
            return self.forbidden()
        return self.not_found()

    async def is_there(self, id: int) -> bool:
        """Whether the row exists at all; for telling 403 from 404 where the app relies on it."""
        return bool(await self.session.scalar(select(exists().where(self.model.id == id))))

    async def save(self, row: Row) -> Row:
        """Write now, so that broken constraints and database defaults show here."""
        self.session.add(row)
        await self.session.flush()
        return row

    async def delete(self, row: Row) -> None:
        await self.session.delete(row)
        await self.session.flush()


class OwnedRepository(GuardedRepository[Row]):
    """Rows with the columns of Owned."""

    def is_owned_by(self, owner: Owner) -> ColumnElement[bool]:
        """An Owner is proof that the caller may see what it owns."""
        model: Any = self.model
        found: ColumnElement[bool] = (
            model.family_id == owner.family_id
            if owner.family_id is not None
            else model.owner_user_id == owner.user_id
        )
        return found

    def owned_by(self, owner: Owner) -> Select[Any]:
        return self.visible().where(self.is_owned_by(owner))
