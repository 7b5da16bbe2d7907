"""The simulation of many households is deterministic, and the page shows what it prints."""

from dataclasses import replace

import pytest

from bench import scaling

MEASURED = scaling.Measured.read()


@pytest.fixture(scope="module")
def day():
    return scaling.simulate(MEASURED)


def test_the_page_shows_what_the_simulation_prints(day):
    shown = scaling.PAGE.read_text().partition(scaling.BEGIN)[2].partition(scaling.END)[0]

    assert shown == scaling.part_of_page(day, MEASURED)


def test_the_same_seed_gives_the_same_day_and_another_seed_nearly_the_same(day):
    other = scaling.simulate(MEASURED, seed=2)

    assert scaling.simulate(MEASURED) == day
    assert other != day
    assert other.hits == pytest.approx(day.hits, rel=0.05)
    assert other.peak_requests == pytest.approx(day.peak_requests, rel=0.2)


def test_writes_and_a_short_life_of_entries_cost_hits(day, monkeypatch):
    monkeypatch.setattr(scaling, "CACHE_SECONDS", 10)
    short = scaling.simulate(MEASURED, households=200)
    monkeypatch.setattr(scaling, "CACHE_SECONDS", 300)
    monkeypatch.setattr(scaling, "SHARE_OF_WRITES", 0.5)
    changing = scaling.simulate(MEASURED, households=200)

    assert max(short.hits, changing.hits) < day.hits


def test_limits_come_in_the_order_in_which_a_growing_installation_meets_them(day):
    found = scaling.limits(day, MEASURED)
    half = replace(
        MEASURED, cached_reads=MEASURED.cached_reads / 2, cold_reads=MEASURED.cold_reads / 2
    )
    slower = scaling.limits(day, half)

    assert [one.households for one in found] == sorted(one.households for one in found)
    assert of_one_process(slower) == pytest.approx(of_one_process(found) / 2)


def of_one_process(limits):
    (households,) = (one.households for one in limits if one.name == "one server process")
    return households


def test_the_command_prints_both_tables(capsys):
    assert scaling.main([]) == 0

    printed = capsys.readouterr().out
    assert "10,000,000" in printed
    assert "PgBouncer" in printed
