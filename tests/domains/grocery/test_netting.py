"""Rules of netting that hold for any needs and any lots."""

from datetime import date, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from freshly.domains.grocery.netting import Key, Lot, Need, net

MONDAY = date(2030, 1, 7)
KEYS = st.builds(Key, food=st.integers(1, 3), unit=st.sampled_from(["g", "count"]))
QUANTITIES = st.decimals(min_value=0, max_value=1000, places=3)
DAYS = st.integers(-3, 10).map(lambda days: MONDAY + timedelta(days=days))
NEEDS = st.lists(st.builds(Need, key=KEYS, on=DAYS, quantity=QUANTITIES), max_size=12)
LOTS = st.lists(
    st.builds(Lot, id=st.integers(), key=KEYS, quantity=QUANTITIES, expires_at=st.none() | DAYS),
    max_size=12,
    unique_by=lambda lot: lot.id,
)


def to_buy(needs, lots):
    return {key: line.to_buy for key, line in net(needs, lots).items()}


@given(NEEDS, LOTS)
def test_the_need_is_what_is_reserved_plus_what_to_buy(needs, lots):
    for key, line in net(needs, lots).items():
        needed = sum((need.quantity for need in needs if need.key == key), Decimal(0))
        reserved = sum((reservation.quantity for reservation in line.reserved.values()), Decimal(0))

        assert line.needed == needed == line.to_buy + reserved
        assert line.to_buy >= 0


@given(NEEDS, LOTS)
def test_no_more_of_a_lot_is_reserved_than_it_has(needs, lots):
    lines = net(needs, lots)

    for lot in lots:
        reserved = [line.reserved[lot.id] for line in lines.values() if lot.id in line.reserved]
        assert sum((reservation.quantity for reservation in reserved), Decimal(0)) <= lot.quantity
        assert all(line.key == lot.key for line in lines.values() if lot.id in line.reserved)


@given(NEEDS, LOTS)
def test_netting_twice_gives_the_same_result(needs, lots):
    assert to_buy(needs, lots) == to_buy(needs, lots)


@given(NEEDS, LOTS, st.randoms())
def test_the_order_of_lots_does_not_matter(needs, lots, random):
    shuffled = list(lots)
    random.shuffle(shuffled)

    assert to_buy(needs, lots) == to_buy(needs, shuffled)


@given(NEEDS, LOTS, st.builds(Lot, id=st.just(10**9), key=KEYS, quantity=QUANTITIES,
                              expires_at=st.none() | DAYS))  # fmt: skip
def test_more_stock_never_means_more_to_buy(needs, lots, extra_lot):
    before, after = to_buy(needs, lots), to_buy(needs, [*lots, extra_lot])

    assert all(after[key] <= before[key] for key in before)


@given(NEEDS, LOTS)
def test_expired_stock_never_counts(needs, lots):
    expired = [Lot(lot.id, lot.key, lot.quantity, MONDAY - timedelta(days=4)) for lot in lots]

    assert to_buy(needs, expired) == to_buy(needs, [])


def test_the_lot_that_expires_first_is_used_first():
    rice = Key(1, "g")
    lots = [
        Lot(1, rice, Decimal(100), None),
        Lot(2, rice, Decimal(100), MONDAY + timedelta(days=5)),
        Lot(3, rice, Decimal(100), MONDAY),
    ]
    needs = [
        Need(rice, MONDAY + timedelta(days=1), Decimal(120)),
        Need(rice, MONDAY, Decimal(70)),
    ]

    (line,) = net(needs, lots).values()

    assert {lot: reservation.quantity for lot, reservation in line.reserved.items()} == {
        3: Decimal(70),  # Monday's need, from the lot that is good only on Monday
        2: Decimal(100),  # Tuesday's need; 30 g of the lot above expire unused
        1: Decimal(20),
    }
    assert line.to_buy == 0
