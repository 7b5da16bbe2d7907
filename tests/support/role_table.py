"""The rows of tests/contracts/roles/table.toml: who gets what from each operation."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COLUMNS = ("anonymous", "stranger", "ex-member", "member", "admin", "owner")
ELSEWHERE, OLD_CODE = "member of another family", "ex-member with an old code"
ADMINISTRATOR = "administrator"
ROLES = (
    *("anonymous", ADMINISTRATOR, "stranger", ELSEWHERE, "ex-member", OLD_CODE),
    *("member", "admin", "owner"),
)
TABLE = Path(__file__).parents[1] / "contracts" / "roles" / "table.toml"
# Who may call, by the roles that succeed: these rows need no `who`.
KNOWN_GROUPS = {
    frozenset(ROLES): "anyone",
    frozenset(): "anyone",  # a public operation that refuses the request of the row
    frozenset(ROLES[1:]): "any user",
    frozenset(ROLES[6:]): "members of the family",
    frozenset(ROLES[7:]): "admins and owners of the family",
    frozenset({ADMINISTRATOR}): "administrators of the server",
}


@dataclass(frozen=True)
class Row:
    """An operation: the status for each role, and the request that all of them send."""

    method: str
    path: str
    expected: dict[str, int]
    json: Any = None
    params: dict[str, Any] | None = None
    upload: str | None = None  # the form field of a picture
    who: str = ""

    @property
    def callers(self) -> str:
        """Return who may call it. Raises KeyError if neither `who` nor the statuses tell."""
        allowed = frozenset(role for role, status in self.expected.items() if status < 400)
        return self.who or KNOWN_GROUPS[allowed]


def load() -> dict[str, Row]:
    """Return the rows by operation, such as `GET /meals/{id}`."""
    rows = {}
    for operation, given in tomllib.loads(TABLE.read_text(encoding="utf-8")).items():
        method, path = operation.split(" ")
        expected = dict(zip(COLUMNS, given.pop("status"), strict=True))
        expected[ELSEWHERE] = given.pop("elsewhere", expected["stranger"])
        # An administrator of the server is a stranger to every family.
        expected[ADMINISTRATOR] = given.pop("administrator", expected["stranger"])
        expected[OLD_CODE] = given.pop("old_code", expected["ex-member"])
        rows[operation] = Row(method, path, expected, **given)
    return rows


ROWS = load()
