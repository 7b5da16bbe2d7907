"""Check the subjects of the commits since the rule began: `area: Imperative sentence`.

A subject names an area in lower case, then says what the commit does, as a command and in at most
72 characters: "pantry: Keep the unit of an opened item". Merge commits keep the subject that git
gives them. A copy without git or without the history has no subjects to check, which is no error.
"""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# The first commit that follows the rule. The subjects before it are of another style.
FIRST = "856be1e31b4b36909f2e8f7373ea0da0d482562f"
MAX_LENGTH = 72
SUBJECT = re.compile(r"[a-z][\w./-]*(?:, [a-z][\w./-]*)*: (?P<verb>\S+)(?: .*)?")
# "Added" and "Adding" are no commands; "Feed", "Embed" and "Bring" are.
NOT_IMPERATIVE = re.compile(r".{2,}(?:ing|[^e]ed)")
IMPERATIVE = {"Bring", "Embed", "Ping", "Ring", "Shed", "Shred", "Spring", "String", "Swing"}


def main(folder: Path = ROOT, first: str = FIRST) -> int:
    commits = read_commits(folder, first)
    if isinstance(commits, str):
        print(f"checked no commit subjects: {commits}")
        return 0
    faults = list(find_faults(commits))
    for fault in faults:
        print(fault)
    if not faults:
        print(f"commit subjects that follow the rule: {len(commits)}")
    return 1 if faults else 0


def read_commits(folder: Path, first: str) -> dict[str, str] | str:
    """Return the subjects since `first` by their commits' ids, or the reason why there are none."""
    try:
        if Path(git(folder, "rev-parse", "--show-toplevel").strip()) != folder.resolve():
            return "this folder is no git repository of its own"
        git(folder, "merge-base", "--is-ancestor", first, "HEAD")
        log = git(folder, "log", "--format=%h %s", f"{first}..HEAD")
    except FileNotFoundError:
        return "git is not installed"
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().splitlines()
        return said[0] if said else f"HEAD does not descend from {first}"
    return dict(line.split(" ", 1) for line in log.splitlines())


def git(folder: Path, *arguments: str) -> str:
    """Return what git prints. Raise CalledProcessError if it fails."""
    command = ("git", "-C", str(folder), *arguments)
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    return done.stdout


def find_faults(commits: dict[str, str]) -> Iterator[str]:
    for commit, subject in commits.items():
        if fault := fault_of(subject):
            yield f"{commit} {subject!r}: {fault}"


def fault_of(subject: str) -> str | None:
    """Return what is wrong with a subject, or None."""
    if subject.startswith("Merge "):
        return None
    if len(subject) > MAX_LENGTH:
        return f"has {len(subject)} characters, at most {MAX_LENGTH} are allowed"
    match = SUBJECT.fullmatch(subject)
    if match is None:
        return "is not of the form `area: Imperative sentence`"
    verb = match["verb"]
    if not verb[0].isupper():
        return f"must begin with a capital letter after the area, not with {verb!r}"
    if verb not in IMPERATIVE and NOT_IMPERATIVE.fullmatch(verb):
        return f"must be a command, such as `Add`, not {verb!r}"
    return None


if __name__ == "__main__":
    raise SystemExit(main())
