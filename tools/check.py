"""Check formatting, lint, types, layers, migrations, generated files and commit subjects.

Two steps run at a time, the longest first, and each prints its output when it ends. mypy and ruff
keep caches in .mypy_cache and .ruff_cache, which a later check reads. They may be deleted.
"""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = Path(sys.executable).parent
STEPS: dict[str, Sequence[object]] = {
    # Two workers take a tenth more processor time than one, and half of the time to wait.
    "types": (PROGRAMS / "mypy", "--num-workers", "2"),
    "migrations": (sys.executable, "-m", "tools.alembic_check"),
    "layers": (PROGRAMS / "lint-imports", "--no-cache"),
    "lint": (PROGRAMS / "ruff", "check"),
    "formatting": (PROGRAMS / "ruff", "format", "--check"),
    "generated files": (sys.executable, "-m", "tools.generate", "--check"),
    "migration SQL": (sys.executable, "-m", "tools.migration_lint"),
    "commit subjects": (sys.executable, "-m", "tools.commit_subjects"),
}
AT_A_TIME = 2
# On a busy machine mypy's workers may start later than mypy waits, which is 3 seconds.
NO_WORKERS = "Failed to establish connection with worker"
TYPES_WITHOUT_WORKERS = (PROGRAMS / "mypy",)


def main() -> int:
    failed = run_steps(STEPS)
    print(f"== failed: {', '.join(failed)}" if failed else "== all checks passed")
    return 1 if failed else 0


def run_steps(steps: Mapping[str, Sequence[object]]) -> list[str]:
    """Print the output of each step after its title. Return the names of those that failed."""
    failed = set()
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        running = {pool.submit(run_step, command): name for name, command in steps.items()}
        for step in as_completed(running):
            name = running[step]
            status, output, seconds = step.result()
            print(f"== {name} ({seconds:.0f} s){': failed' if status else ''}")
            print(output, end="", flush=True)
            if status:
                failed.add(name)
    return [name for name in steps if name in failed]


def run_step(command: Sequence[object]) -> tuple[int, str, float]:
    """Return the exit status, the output and the seconds that the step took."""
    began = time.monotonic()
    status, output = run(command)
    if status and NO_WORKERS in output:
        status, output = run(TYPES_WITHOUT_WORKERS)
    return status, output, time.monotonic() - began


def run(command: Sequence[object]) -> tuple[int, str]:
    # Without a terminal of their own, the programs print no colors unless they are told to.
    environment = {"FORCE_COLOR": "1", **os.environ} if sys.stdout.isatty() else None
    done = subprocess.run(  # noqa: S603 - our own commands
        [str(word) for word in command],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


if __name__ == "__main__":
    sys.exit(main())
