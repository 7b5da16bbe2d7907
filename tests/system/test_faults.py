"""The short form of `./run faults`: no confirmed write is lost while other servers fail.

The recovery times depend on the machine; `./run faults` measures them.
"""

import pytest

from faults.__main__ import run_scenario
from faults.scenarios import SCENARIOS

SHORT = [name for name, scenario in SCENARIOS.items() if scenario.short]
ALWAYS_ZERO = {
    "errors other than 503",
    "without an answer",
    "503 without Retry-After",
    "lost",
    "done twice",
    "stale answers",
    "/health other than 200",
}


@pytest.mark.parametrize("name", SHORT)
async def test_no_confirmed_write_is_lost(name):
    report = await run_scenario(SCENARIOS[name], short=True)

    rows = {row.name: row for row in report.rows}
    assert rows.keys() >= ALWAYS_ZERO, report.line()
    values = {name: rows[name].value for name in ALWAYS_ZERO}
    assert values == dict.fromkeys(ALWAYS_ZERO, 0), report.line()
    assert rows["requests"].value > 20
    assert rows["503"].is_met  # none at all while Redis is down
    assert report.not_run == ""


def test_every_scenario_has_a_lowercase_name_and_a_description():
    assert len(SHORT) == 3
    assert len(SCENARIOS) > 20
    assert all(scenario.tried and scenario.name.islower() for scenario in SCENARIOS.values())
