"""The script `run`, as a user who mistypes calls it."""

import re
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "run"
TIMEOUT_SECONDS = 60  # against hanging; nothing is measured by it


def run(*arguments):
    return subprocess.run(
        [SCRIPT, *arguments],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )


def test_a_mistyped_command_names_the_nearest_and_all_commands_which_the_help_describes():
    mistyped = run("tets")
    described = run("--help")

    assert mistyped.returncode == 2
    first, second = mistyped.stderr.splitlines()
    assert first == "freshly: there is no command tets. Did you mean test?"
    commands = re.search(r"the commands are ([\w, -]+);", second)[1].split(", ")
    assert {"serve", "test", "check", "bench", "lock", "migrate", "demo"} <= set(commands)
    assert described.returncode == 0
    for command in set(commands) - {"serve", "help"}:
        assert re.search(rf"^    (?:\./run )?{command}\b", described.stdout, re.MULTILINE), command


@pytest.mark.parametrize("arguments", [("format", "--fast"), ("demo", "--kep", "x")])
def test_a_mistyped_option_ends_with_the_status_of_wrong_usage(arguments):
    refused = run(*arguments)

    assert refused.returncode == 2
    assert arguments[0] in refused.stderr or arguments[1] in refused.stderr
