"""The demo's list, against what its recipes, its plan and its pantry come to by hand."""

import os
import re
import subprocess
import sys

import pytest

# From meals.toml and household.toml; servings of the slot / of the meal, then stock still good.
BY_HAND = {
    # 2 cups x .342 g/ml; the same for 2 of 4, twice; .75 cup x 4/6; less 300 g
    "rolled oat": ("69.4", "g"),
    # 500 + 60 + 500 + 750 x 4/6, less 500 (good to Tuesday only, of 750) and 1000
    "milk": ("60", "ml"),
    # 8 + 2 x 6/4 + 6 + 3 + 2, less 6 and 12
    "egg": ("4", "pcs"),
    # 200 + 800 + 150 + 200 + 400, less 200 of the 500 g that are good on Monday only
    "yogurt": ("1.55", "kg"),
    # 30 + 28.8 + 21.6 + 40 + 75 + 40 + 66.67 + 113, less 8 oz
    "butter": ("188.3", "g"),
    # 45 + 30 + 60 + 22.5 + 30 + 60 + 30 + 90, less 3 dl
    "olive oil": ("67.5", "ml"),
    # 1 + 2 + 6 + 2 + 6 + 2 carrots of 61 g, less 500 g
    "carrot": ("659", "g"),
    # 30 + 10 x 4/6 + 60, less a bunch of which 30 g are used
    "parsley": ("66.7", "g"),
    # 1 + 1 + 2 + 1 + .33 + 1.5, less 2: 4.83, and nobody sells .83 of a lemon
    "lemon": ("5", "pcs"),
    # 200 + 4 oz, less half a pound
    "cheddar": ("86.6", "g"),
    # 800 + 400 + 400 + 800 + 533.33 + 800, less three cans of 400 g
    "canned tomato": ("2.53", "kg"),
}


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environment = {**kept, "COLUMNS": "100", "TMPDIR": str(folder)}
    done = subprocess.run(
        [sys.executable, "-m", "freshly", "demo"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def to_buy(text):
    listed = text.partition("To buy:")[2].partition("Why:")[0]
    row = re.compile(r"^ .{13}(\S.*?) {2,}([\d.]+) (\w+)\s*$", re.MULTILINE)
    return {name: (amount, unit) for name, amount, unit in row.findall(listed)}


@pytest.mark.parametrize("food", BY_HAND)
def test_the_demos_list_is_right_when_worked_out_by_hand(demo, food):
    _, text = demo

    assert to_buy(text)[food] == BY_HAND[food]


def test_the_demo_leaves_nothing_behind(demo):
    folder, text = demo

    assert list(folder.iterdir()) == []
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 100
