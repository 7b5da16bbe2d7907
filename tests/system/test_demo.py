"""The demo's shopping list, compared with amounts that were calculated by hand."""

import os
import re
import subprocess
import sys

import pytest

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


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The folder in which the demo ran, and its output."""
    folder = tmp_path_factory.mktemp("demo")
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environment = {**inherited, "COLUMNS": "100", "TMPDIR": str(folder)}
    result = subprocess.run(
        [sys.executable, "-m", "freshly", "demo"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return folder, result.stdout


def to_buy(text):
    """Return amount and unit of each line of the shopping list, by food."""
    lines = text.partition("To buy:")[2].partition("Why:")[0]
    row = re.compile(r"^ .{13}(\S.*?) {2,}([\d.]+) (\w+)\s*$", re.MULTILINE)
    return {name: (amount, unit) for name, amount, unit in row.findall(lines)}


@pytest.mark.parametrize("food", EXPECTED)
def test_the_demos_shopping_list_has_the_amounts_calculated_by_hand(demo, food):
    _, text = demo

    assert to_buy(text)[food] == EXPECTED[food]


def test_the_demo_leaves_no_files_and_prints_plain_text_of_at_most_100_columns(demo):
    folder, text = demo

    assert list(folder.iterdir()) == []
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 100
