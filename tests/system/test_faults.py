"""The short form of `./run faults`: neighbours die, and what was acknowledged is there afterwards.

How fast everything is back depends on the machine; `./run faults` measures that.
"""

import pytest

from faults.__main__ import played
from faults.scenarios import SCENARIOS

SHORT = [name for name, one in SCENARIOS.items() if one.short]
NEVER = {
    "errors other than 503",
    "without an answer",
    "503 without Retry-After",
    "lost",
    "done twice",
    "stale answers",
    "/health other than 200",
}


@pytest.mark.parametrize("name", SHORT)
async def test_nothing_that_was_acknowledged_is_lost(name):
    report = await played(SCENARIOS[name], brief=True)

    found = {row.name: row for row in report.rows}
    assert found.keys() >= NEVER, report.line()
    assert {name: found[name].value for name in NEVER} == dict.fromkeys(NEVER, 0), report.line()
    assert found["requests"].value > 20
    assert found["503"].is_met  # while Redis is away there is none
    assert report.not_run == ""


def test_every_scenario_says_what_is_tried():
    assert len(SHORT) == 3
    assert len(SCENARIOS) > 20
    assert all(one.tried and one.name.islower() for one in SCENARIOS.values())
