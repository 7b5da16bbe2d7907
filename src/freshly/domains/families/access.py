"""The caller with families and roles, and the rows that they may see."""

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
    false,
    func,
    not_,
    or_,
    select,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, Mapped, MappedAsDataclass, mapped_column

from freshly.chassis.data.base import Base
from freshly.chassis.data.transactions import DbSession
from freshly.chassis.errors import Forbidden, NotFound
from freshly.chassis.security.caller import Caller, CurrentCaller
from freshly.domains.families import permissions
from freshly.domains.families.errors import NotAFamilyMember
from freshly.domains.families.models import Family, Membership, Role
from freshly.domains.families.permissions import Permission

MAX_CACHED_ACCESSES = 4096
memberships = Membership.__table__.c
MEMBERSHIPS = (
    select(memberships.family_id, memberships.role)
    .where(memberships.user_id == bindparam("user_id"))
    .order_by(memberships.id)
)
MY_FAMILY_IDS = select(memberships.family_id).where(memberships.user_id == bindparam("user_id"))

CLOSED_FAMILY_IDS = select(Family.id).where(Family.delete_after.is_not(None))


@dataclass(frozen=True)
class Owner:
    """A family or a user. Only Access creates owners, after checking membership."""

    family_id: int | None
    user_id: int | None

    @cached_property
    def tag(self) -> str:
        """Return "f7" for family 7 or "p7" for user 7, for cache keys and file paths."""
        return f"f{self.family_id}" if self.family_id is not None else f"p{self.user_id}"

    @property
    def id(self) -> int | None:
        return self.family_id if self.family_id is not None else self.user_id

    def __repr__(self) -> str:
        return self.tag


@dataclass(frozen=True)
class Access:
    """A user with their families and roles, the longest membership first."""

    user_id: int
    roles: Mapping[int, Role]

    @classmethod
    async def of(cls, user_id: int, session: AsyncSession) -> Self:
        """Return the access of any user, for jobs, notifications and owners who look at members."""
        connection = await session.connection()
        rows = await connection.execute(MEMBERSHIPS, {"user_id": user_id})
        return cls(user_id=user_id, roles={family_id: Role(role) for family_id, role in rows})

    def owner(self, family_id: int | None) -> Owner:
        """Return the family as an owner, or the caller for None. Raise NotAFamilyMember."""
        if family_id is None:
            return Owner(family_id=None, user_id=self.user_id)
        if family_id not in self.roles:
            raise NotAFamilyMember
        return Owner(family_id=family_id, user_id=None)

    def belongs_to(self, family_id: int | None) -> bool:
        return self.may(Permission.USE_HOUSEHOLD, family_id)

    def may(self, permission: Permission, family_id: int | None) -> bool:
        """Return whether the caller's role in the family gives the permission."""
        role = None if family_id is None else self.roles.get(family_id)
        return permissions.may(role, permission)

    def owns(self, family_id: int) -> bool:
        """Return whether the caller may do what only owners may."""
        return self.may(Permission.DELETE_FAMILY, family_id)

    @cached_property
    def family_tags(self) -> tuple[str, ...]:
        """Return the owner tags of all families, for cache keys."""
        return tuple(self.owner(family_id).tag for family_id in self.roles)

    @property
    def first_family(self) -> int | None:
        return next(iter(self.roles), None)


async def _current_access(caller: CurrentCaller) -> Access:
    return _access_of(caller)


@lru_cache(maxsize=MAX_CACHED_ACCESSES)
def _access_of(caller: Caller) -> Access:
    """Cached: with fifty families, building the roles takes as long as the rest of a request."""
    roles = {family_id: Role(role) for family_id, role in caller.families}
    return Access(user_id=caller.user_id, roles=MappingProxyType(roles))


CurrentAccess = Annotated[Access, Depends(_current_access)]


class Guarded(Base):
    """A row with a rule for who may see it."""

    __abstract__ = True

    id: Any

    @classmethod
    def visible_to(cls, access: Access) -> ColumnElement[bool]:
        raise NotImplementedError(cls.__name__)

    @classmethod
    def hidden_from(cls, access: Access) -> ColumnElement[bool]:
        """Return the condition for rows that only others see.

        NOT alone would miss rows: `visible_to` compares two owner columns, one of which is NULL, so
        for a row of others it is NULL, and NOT NULL is not true.
        """
        return not_(
            or_(
                func.coalesce(cls.visible_to(access), false()),
                func.coalesce(cls.is_of_closed_family(), false()),
            )
        )

    @classmethod
    def is_of_closed_family(cls) -> ColumnElement[bool]:
        """Return the condition for rows that look deleted to all users, with their family."""
        return false()


class Owned(MappedAsDataclass, kw_only=True, eq=False, repr=False):
    """Columns of a row that belongs to exactly one family or one user."""

    family_id: Mapped[int | None] = mapped_column(
        ForeignKey("families.id", ondelete="CASCADE"), index=True
    )
    owner_user_id: Mapped[int | None] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), index=True
    )

    @classmethod
    def is_of_closed_family(cls) -> ColumnElement[bool]:
        return cls.family_id.in_(CLOSED_FAMILY_IDS)

    @property
    def scope(self) -> str:
        return "family" if self.family_id is not None else "personal"


def covers(
    access: Access, family_id: InstrumentedAttribute[Any], user_id: InstrumentedAttribute[Any]
) -> ColumnElement[bool]:
    return or_(user_id == access.user_id, family_id.in_(list(access.roles)))


def belongs_to(model: Any, family_id: int | None, user_id: int | None) -> ColumnElement[bool]:
    """Return the condition for rows of this family, or else of this user."""
    condition: ColumnElement[bool] = (
        model.family_id == family_id if family_id is not None else model.owner_user_id == user_id
    )
    return condition


def exactly_one_owner(name: str) -> CheckConstraint:
    return CheckConstraint(
        "(family_id IS NOT NULL AND owner_user_id IS NULL)"
        " OR (family_id IS NULL AND owner_user_id IS NOT NULL)",
        name=name,
    )


Row = TypeVar("Row", bound=Guarded)


class GuardedRepository(Generic[Row]):
    """The only way to rows that belong to users. It cannot be built without an Access."""

    model: type[Row]
    not_found: ClassVar[type[NotFound]]
    # Set if the existing app needs 403 for a row of another user, and 404 for a missing one.
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
        # Another transaction may have changed the row while this one waited for the lock.
        row: Row | None = await self.session.scalar(
            statement.execution_options(populate_existing=lock)
        )
        if row is None:
            raise await self._missing_or_forbidden(id)
        return row

    async def _missing_or_forbidden(self, id: int) -> NotFound | Forbidden:
        if self.forbidden is not None and await self.row_exists(id):
            return self.forbidden()
        return self.not_found()

    async def row_exists(self, id: int) -> bool:
        """Return True if the row exists for others. It decides between 403 and 404."""
        hidden = exists().where(self.model.id == id, self.model.hidden_from(self.access))
        return bool(await self.session.scalar(select(hidden)))

    async def save(self, row: Row) -> Row:
        """Insert or update now, so that constraint errors are raised here."""
        self.session.add(row)
        await self.session.flush()
        return row

    async def delete(self, row: Row) -> None:
        await self.session.delete(row)
        await self.session.flush()


class OwnedRepository(GuardedRepository[Row]):
    """Rows with the columns of Owned."""

    def is_owned_by(self, owner: Owner) -> ColumnElement[bool]:
        """Return the condition. An Owner proves that the caller may see its rows."""
        return belongs_to(self.model, owner.family_id, owner.user_id)

    def owned_by(self, owner: Owner) -> Select[Any]:
        return self.visible().where(self.is_owned_by(owner))
