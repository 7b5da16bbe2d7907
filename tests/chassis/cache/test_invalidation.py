"""A deleted row invalidates the tags of the rows that its foreign keys delete or change."""

import pytest
from sqlalchemy import ForeignKey, create_engine, delete
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, Session, mapped_column

from freshly.chassis.cache.invalidation import CacheTopic, InvalidatesFor, invalidated_tags

GUESTS, EMAILS = CacheTopic("guests"), CacheTopic("emails")


class Base(MappedAsDataclass, DeclarativeBase):
    __cache_tags__ = ()
    __cached_with_referrers__ = False

    id: Mapped[int] = mapped_column(primary_key=True)


class House(Base):
    __tablename__ = "houses"


class Room(Base):
    """A table without cache tags. Responses show the guests of a room, not the room."""

    __tablename__ = "rooms"
    house_id: Mapped[int] = mapped_column(ForeignKey(House.id, ondelete="CASCADE"))


class Guest(Base):
    __tablename__ = "guests"
    room_id: Mapped[int] = mapped_column(ForeignKey(Room.id, ondelete="CASCADE"))
    person_id: Mapped[int]
    invited_by: Mapped[int | None] = mapped_column(ForeignKey("guests.id", ondelete="CASCADE"))

    __cache_tags__ = (InvalidatesFor(GUESTS, person="person_id"),)


class Email(Base):
    """A row that stays when its writer is deleted. Its `written_by` becomes NULL."""

    __tablename__ = "emails"
    written_by: Mapped[int | None] = mapped_column(ForeignKey(Guest.id, ondelete="SET NULL"))
    reader_id: Mapped[int]

    __cache_tags__ = (InvalidatesFor(EMAILS, person="reader_id"),)


@pytest.fixture
def session():
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([House(id=1), House(id=2)])
        session.flush()
        session.add_all([Room(id=1, house_id=1), Room(id=2, house_id=2)])
        session.flush()
        session.add(Guest(id=1, room_id=1, person_id=11, invited_by=None))
        session.flush()
        session.add(Guest(id=2, room_id=1, person_id=12, invited_by=1))
        session.add(Guest(id=3, room_id=2, person_id=13, invited_by=None))
        session.flush()
        session.add_all(
            [Email(id=n, written_by=n, reader_id=20 + n) for n in (1, 2, 3)],
        )
        session.flush()
        invalidated_tags(session).clear()
        yield session
    engine.dispose()


ONE_HOUSE = {"guests:p11", "guests:p12", "emails:p21", "emails:p22"}


def test_deleting_an_object_invalidates_the_tags_of_all_rows_that_depend_on_it(session):
    session.delete(session.get(House, 1))
    session.flush()

    assert invalidated_tags(session) == ONE_HOUSE


def test_deleting_by_a_statement_invalidates_the_same_tags(session):
    session.execute(delete(House).where(House.id == 1))

    assert invalidated_tags(session) == ONE_HOUSE


def test_a_table_that_refers_to_itself_is_followed_without_an_endless_loop(session):
    session.execute(delete(Guest).where(Guest.id == 1))

    assert invalidated_tags(session) == ONE_HOUSE
