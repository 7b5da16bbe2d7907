"""Run the tests of what changed: `./run test --changed [BASE] [pytest's options]`.

The change is what differs from HEAD, new files included; with BASE it is also what the commits
since then changed. Each file stands for tests:

- src/freshly/domains/pantry/...: tests/domains/pantry
- src/freshly/chassis/web/etags.py: tests/chassis/web/test_etags.py, else tests/chassis/web
- another module of src, and a tool: the test module of its name in tests/system, if there is one
- migrations/...: tests/contracts/migrations
- a test module: itself; another file below tests: the test modules of its folder

The guards in tests/contracts/test_guards.py always run. This is no proof: a change may break what
another domain expects, so let `./run test` run everything before the change lands.
"""

import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[1]
GUARDS = "tests/contracts/test_guards.py"
# Files in these serve all tests, which are too many to run.
SERVING_ALL = {"tests", "tests/support"}


def main(options: Sequence[str]) -> int:
    base, others = parse(options)
    try:
        files = changed_files(ROOT, base)
    except FileNotFoundError:
        return refuse("--changed needs git, which is not installed")
    except subprocess.CalledProcessError as error:
        return refuse(f"--changed: git says: {error.stderr.strip().splitlines()[0]}")
    paths = paths_for(ROOT, files)
    print(f"freshly: {len(files)} changed files, so the tests in {' '.join(paths)}", flush=True)
    chosen = any(option.startswith(("-n", "--numprocesses")) for option in others)
    workers = [] if chosen else ["-n", "auto", "--dist", "worksteal"]
    command = [sys.executable, "-m", "pytest", *workers, *others, *paths]
    return subprocess.run(command, cwd=ROOT, check=False).returncode  # noqa: S603


def parse(options: Sequence[str]) -> tuple[str | None, list[str]]:
    """Return the base, if one is given, and the options for pytest."""
    at = options.index("--changed")
    before, after = options[:at], options[at + 1 :]
    if after and not after[0].startswith("-"):
        return after[0], [*before, *after[1:]]
    return None, [*before, *after]


def refuse(reason: str) -> int:
    print(f"freshly: {reason}", file=sys.stderr)
    return 2


def changed_files(folder: Path, base: str | None) -> list[str]:
    """Return paths relative to the folder. Raise CalledProcessError if git fails."""
    since = git(folder, "merge-base", base, "HEAD").strip() if base else "HEAD"
    differing = git(folder, "diff", "--name-only", "--no-renames", since)
    new = git(folder, "ls-files", "--others", "--exclude-standard")
    return sorted({*differing.splitlines(), *new.splitlines()})


def git(folder: Path, *arguments: str) -> str:
    command = ("git", "-C", str(folder), "-c", "core.quotePath=off", *arguments)
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    return done.stdout


def paths_for(folder: Path, files: Iterable[str]) -> list[str]:
    """Return the paths of tests that are there, the guards among them."""
    chosen = {path for file in files for path in _candidates(PurePosixPath(file), folder)}
    # A path within another one that is chosen would run twice.
    within = {path for path in chosen if any(str(one) in chosen for one in Path(path).parents)}
    return sorted({GUARDS, *(chosen - within)})


def _candidates(file: PurePosixPath, folder: Path) -> Iterator[str]:
    match file.parts:
        case ("src", "freshly", "domains", domain, *_):
            candidates = [f"tests/domains/{domain}"]
        case ("src", "freshly", "chassis", part, *_):
            candidates = [f"tests/chassis/{part}/test_{file.stem}.py", f"tests/chassis/{part}"]
        case ("src" | "tools", *_):
            candidates = [f"tests/system/test_{file.stem}.py"]
        case ("migrations", *_):
            candidates = ["tests/contracts/migrations"]
        case ("tests", *_) if file.name.startswith("test_"):
            candidates = [str(file)]
        case ("tests", *_) if str(file.parent) not in SERVING_ALL:
            candidates = [str(file.parent)]
        case _:
            candidates = []
    yield from [path for path in candidates if Path(folder, path).exists()][:1]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
