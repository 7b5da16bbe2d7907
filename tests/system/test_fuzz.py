"""A short run of `./run fuzz`."""

import subprocess
import sys

from tests.contracts.test_guards import REPOSITORY


def test_schemathesis_finds_nothing_in_a_short_run():
    command = [sys.executable, "-m", "tools.fuzz", "--examples", "2", "--seeds", "1"]

    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
    assert "nothing found" in run.stdout
