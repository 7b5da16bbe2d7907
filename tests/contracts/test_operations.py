"""docs/OPERATIONS.md lists every operation, and what it says is so."""

import re

from freshly.app import create_app
from tests.conftest import settings_for
from tests.contracts.test_guards import REPOSITORY
from tests.contracts.test_openapi import operations

ROW = re.compile(r"\| `([A-Z]+) (\S+)` \| (.+) \| (\d+|new) \| `(\S+)` \|")


def rows():
    text = (REPOSITORY / "docs" / "OPERATIONS.md").read_text()
    found = [ROW.fullmatch(line) for line in text.splitlines() if line.startswith("| `")]
    assert all(found)
    return {(row[1], row[2]): (row[3], row[4], row[5]) for row in found}


def test_every_operation_has_a_row_and_every_row_an_operation(tmp_path):
    document = create_app(settings_for("sqlite://", tmp_path)).openapi()

    assert {known: row[0] for known, row in rows().items()} == {
        (method.upper(), path): operation["summary"]
        for path, method, operation in operations(document)
    }


def test_the_test_of_a_row_is_there_and_calls_the_operation():
    for (method, path), (_, section, test) in rows().items():
        source = (REPOSITORY / test).read_text()
        words = [word for word in path.split("/") if word and "{" not in word]
        assert section == "new" or 1 <= int(section) <= 18
        assert not words or words[-1] in source or "Kitchen" in source, (method, path)
