"""What goes with a row, and what loses its mark when it does, is found by the foreign keys."""

import pytest
from sqlalchemy import ForeignKey, create_engine, delete
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, Session, mapped_column

from freshly.chassis.cache.invalidation import CacheTopic, InvalidatesFor, invalidated_tags

GUESTS, LETTERS = CacheTopic("guests"), CacheTopic("letters")


class Base(MappedAsDataclass, DeclarativeBase):
    __cache_tags__ = ()
    __cached_with_referrers__ = False

    id: Mapped[int] = mapped_column(primary_key=True)


class House(Base):
    __tablename__ = "houses"


class Room(Base):
    """Nobody's answers show one; those who sleep there are shown."""

    __tablename__ = "rooms"
    house_id: Mapped[int] = mapped_column(ForeignKey(House.id, ondelete="CASCADE"))


class Guest(Base):
    __tablename__ = "guests"
    room_id: Mapped[int] = mapped_column(ForeignKey(Room.id, ondelete="CASCADE"))
    person_id: Mapped[int]
    invited_by: Mapped[int | None] = mapped_column(ForeignKey("guests.id", ondelete="CASCADE"))

    __cache_tags__ = (InvalidatesFor(GUESTS, person="person_id"),)


class Email(Base):
    """Stays when its writer has left, without saying who that was."""

    __tablename__ = "letters"
    written_by: Mapped[int | None] = mapped_column(ForeignKey(Guest.id, ondelete="SET NULL"))
    reader_id: Mapped[int]

    __cache_tags__ = (InvalidatesFor(LETTERS, person="reader_id"),)


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


ONE_HOUSE = {"guests:p11", "guests:p12", "letters:p21", "letters:p22"}


def test_a_row_takes_along_what_its_rows_take_along(session):
    session.delete(session.get(House, 1))
    session.flush()

    assert invalidated_tags(session) == ONE_HOUSE


def test_so_it_does_when_a_statement_deletes_it(session):
    session.execute(delete(House).where(House.id == 1))

    assert invalidated_tags(session) == ONE_HOUSE


def test_a_row_that_refers_to_its_like_takes_those_along_and_not_for_ever(session):
    session.execute(delete(Guest).where(Guest.id == 1))

    assert invalidated_tags(session) == ONE_HOUSE
