"""The demo's shopping list, compared with amounts that were calculated by hand."""

import json
import os
import re
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.documents import fresh_clone, shell_blocks

TIMEOUT_SECONDS = 120  # against hanging; nothing is measured by it

# From meals.toml and household.toml: amounts of the meals, scaled by servings of the slot / of the
# meal, less the stock that has not expired by then.
EXPECTED = {
    # 2 cups x .342 g/ml; the same for 2 of 4, twice; .75 cup x 4/6; less 300 g
    "rolled oat": ("69.4", "g"),
    # 500 + 60 + 500 + 750 x 4/6, less 500 (of 750, which expire on Tuesday) and 1000
    "milk": ("60", "ml"),
    # 8 + 2 x 6/4 + 6 + 3 + 2, less 6 and 12
    "egg": ("4", "pcs"),
    # 200 + 800 + 150 + 200 + 400, less 200 (of 500 g, which expire on Monday)
    "yogurt": ("1.55", "kg"),
    # 30 + 28.8 + 21.6 + 40 + 75 + 40 + 66.67 + 113, less 8 oz
    "butter": ("188.3", "g"),
    # 45 + 30 + 60 + 22.5 + 30 + 60 + 30 + 90, less 3 dl
    "olive oil": ("67.5", "ml"),
    # 1 + 2 + 6 + 2 + 6 + 2 carrots of 61 g, less 500 g
    "carrot": ("659", "g"),
    # 30 + 10 x 4/6 + 60, less 30 of a bunch
    "parsley": ("66.7", "g"),
    # 1 + 1 + 2 + 1 + .33 + 1.5, less 2: 4.83, rounded up to whole lemons
    "lemon": ("5", "pcs"),
    # 200 + 4 oz, less half a pound
    "cheddar": ("86.6", "g"),
    # 800 + 400 + 400 + 800 + 533.33 + 800, less three cans of 400 g
    "canned tomato": ("2.53", "kg"),
}


@dataclass
class Demo:
    """The output of `./run demo --keep`, of the calls that it proposes, and of its end."""

    folder: Path
    text: str
    tried: subprocess.CompletedProcess
    rest: str
    errors: str


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The demo of the README, run until it says how to stop, tried and stopped with Ctrl-C."""
    folder = tmp_path_factory.mktemp("demo")
    environment = {**fresh_clone(folder), "COLUMNS": "100", "TMPDIR": str(folder / "home")}
    # The trap lets the shell outlive Ctrl-C, to print the exit status.
    script = f"trap : INT\n{shell_blocks('README.md')[0]}echo status $?"
    process = subprocess.Popen(
        ["/bin/sh", "-c", script],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("Ctrl-C"):
                break
        text = "".join(lines)
        steps = text.partition("In a second terminal:\n")[2].rpartition("Ctrl-C")[0]
        tried = subprocess.run(
            ["/bin/sh", "-c", steps],
            capture_output=True,
            text=True,
            env=environment,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    finally:
        os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does
        rest, errors = process.communicate(timeout=TIMEOUT_SECONDS)
    return Demo(folder, text, tried, rest, errors)


def to_buy(text):
    """Return amount and unit of each line of the shopping list, by food."""
    lines = text.partition("To buy:")[2].partition("Why:")[0]
    row = re.compile(r"^ .{13}(\S.*?) {2,}([\d.]+) (\w+)(?: {2,}.*)?\s*$", re.MULTILINE)
    return {name: (amount, unit) for name, amount, unit in row.findall(lines)}


@pytest.mark.parametrize("food", EXPECTED)
def test_the_demos_shopping_list_has_the_amounts_calculated_by_hand(demo, food):
    assert to_buy(demo.text)[food] == EXPECTED[food]


def test_the_list_says_how_many_vegetables_to_take_and_what_is_too_little_to_weigh(demo):
    rows = demo.text.partition("To buy:")[2].partition("Why:")[0].splitlines()

    def note(food):
        (row,) = (row for row in rows if re.match(rf"^ .{{13}}{food} {{2,}}", row))
        return re.split(" {2,}", row.strip())[-1]

    assert note("carrot") == "about 11 pcs"  # 659 g, 61 g each
    assert note("onion") == "about 2 pcs"  # 136.7 g, 110 g each
    assert note("nutmeg") == "a little"
    assert note("garlic") == "74 g"  # a clove of 3 g is not a piece in a shop


def test_the_last_lines_of_the_demo_show_the_meals_plan_and_list_of_the_founder(demo):
    meals, slots, to_buy_list = _documents(demo.tried.stdout)

    assert demo.tried.stderr == ""
    assert len(meals) == 13  # of 25; the other parent keeps the rest
    assert len(slots) == 23
    assert len(to_buy_list["items"]) == int(re.search(r"To buy: (\d+)", demo.text)[1])


def _documents(text):
    decoder, found = json.JSONDecoder(), []
    while text.strip():
        document, end = decoder.raw_decode(text.lstrip())
        text = text.lstrip()[end:]
        found.append(document)
    return found


def test_ctrl_c_ends_the_demo_quietly_and_leaves_no_files(demo):
    assert (demo.rest, demo.errors) == ("status 0\n", "")
    assert sorted(path.name for path in demo.folder.iterdir()) == ["home", "run"]
    assert list((demo.folder / "home").iterdir()) == []


def test_the_demo_prints_plain_text_of_at_most_100_columns(demo):
    assert "\x1b" not in demo.text
    assert max(map(len, demo.text.splitlines())) <= 100
