"""Documents point to files that exist, and reports show what was measured."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from bench.page import PAGE as BENCH_PAGE
from bench.page import rendered
from faults.report import COLUMNS, RESULTS
from faults.report import PAGE as FAULTS_PAGE
from freshly import __version__

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted(DOCS.rglob("*.md")),
]
# A command writes these; its own check compares them with the code.
GENERATED = {DOCS / "reference" / name for name in ("operations.md", "errors.md", "settings.md")}
# Where a path in backticks may start.
BASES = (ROOT, ROOT / "src" / "freshly", ROOT / "src" / "freshly" / "domains")
LONGEST_README = 120  # lines
CODE_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
# A path has a slash inside and no placeholder: `pantry/jobs.py`, `tests/support/`; not `/docs`.
PATH = re.compile(
    r"`((?:\.?\w[\w.-]*/)+(?:[\w.-]+\.(?:py|md|txt|in|toml|json|png|csv|sql))?)(?::\d+)?`"
)
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
PLACEHOLDER = re.compile(r"\b[A-Z]{4,}\b(?=\.\w+$)")  # `migrations/versions/NAME.py`


def prose(document):
    return CODE_BLOCK.sub("", document.read_text())


def anchors(document):
    """Return the anchors that GitHub gives the headings."""
    found = (re.sub(r"[`*]", "", heading).lower() for heading in HEADING.findall(prose(document)))
    return {re.sub(r"[^\w\- ]", "", heading).strip().replace(" ", "-") for heading in found}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file_and_a_heading(document):
    broken = []
    for link in LINK.findall(prose(document)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        is_there = target in GENERATED or target.exists()
        if not is_there or (anchor and anchor not in anchors(target)):
            broken.append(link)

    assert broken == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_path_in_backticks_exists(document):
    missing = [
        path
        for path in PATH.findall(prose(document))
        if not PLACEHOLDER.search(path)
        and not any((base / path).exists() for base in (*BASES, document.parent))
    ]

    assert missing == []


def test_the_readme_is_short():
    lines = (ROOT / "README.md").read_text().splitlines()

    assert len(lines) <= LONGEST_README


def test_one_version_is_named_everywhere_and_has_notes():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert project["version"] == __version__
    assert f"Version {__version__}: see" in (ROOT / "README.md").read_text()
    assert (DOCS / "releases" / f"{__version__}.md").is_file()


def test_every_document_is_reached_by_links_from_the_readme():
    seen, waiting = set(), [ROOT / "README.md"]
    while waiting:
        document = waiting.pop()
        if document not in seen and document.suffix == ".md":
            seen.add(document)
            links = (link.partition("#")[0] for link in LINK.findall(prose(document)))
            found = ((document.parent / link).resolve() for link in links if link)
            waiting += [path for path in found if path.is_file()]

    assert [path for path in DOCS.rglob("*.md") if path not in seen] == []


def test_the_reports_show_what_the_commands_measured():
    measured = json.loads((ROOT / "bench" / "results" / "bench.json").read_text())
    entries = json.loads(RESULTS.read_text())

    assert rendered(measured) in BENCH_PAGE.read_text()
    lines = FAULTS_PAGE.read_text().splitlines()
    for entry in entries:
        assert f"| {' | '.join(entry[column] for column in COLUMNS)} |" in lines
