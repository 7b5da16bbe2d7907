"""Writes the files that the code determines: the reference pages and .env.example.

    ./run generate [--check]

With --check it writes nothing, and fails if a file differs from what the code says.
"""

import argparse
import ast
import re
import shlex
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from types import NoneType, UnionType
from typing import Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import ByteSize, SecretStr
from pydantic.fields import FieldInfo

import freshly
from freshly.app import create_app
from freshly.chassis.errors import AppError
from freshly.settings import Settings
from freshly.settings.types import Unit
from freshly.wiring.registry import tags
from tests.support.role_table import ROWS

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "freshly"
COMMAND = "./run generate"
NOTE = f"<!-- `{COMMAND}` writes this page. Do not edit it. -->"
WIDTH = 98
METHODS = ("get", "post", "put", "patch", "delete")
# The first setting below each heading.
SECTIONS = {
    "app_name": "General",
    "data_dir": "Server",
    "secret_key": "Secrets and tokens",
    "database_url": "Database, Redis and cache",
    "jobs": "Jobs",
    "rate_limit_enabled": "Rate limits",
    "max_file_size": "Files",
    "mail_username": "Email",
    "supabase_url": "Sign-in with Google and Apple",
    "openai_api_key": "The assistant",
}


def operations() -> str:
    """Return the page of all operations, by tag."""
    document = create_app(Settings.model_construct()).openapi()
    rows: dict[str, list[str]] = {tag: [] for tag in tags()}
    for path, methods in document["paths"].items():
        for method in METHODS:
            if operation := methods.get(method):
                who = _callers(method.upper(), path, signed_in="security" in operation)
                row = f"| `{method.upper()} {path}` | {operation['summary']} | {who} |"
                rows[operation["tags"][0]].append(row)
    lines = [
        *("# All calls of the API", "", NOTE, ""),
        "A list of the operations of the HTTP API. How to run a server is in the",
        "[operator guide](../guides/operators.md).",
        "",
        "`/docs` shows each operation with its fields. All paths also work under `/api/v1`, except",
        "`/`, `/health` and `/ready`. A test calls each operation as nine users:",
        '`tests/contracts/roles/table.toml` says which status each of them gets. "Any user" is any',
        "signed-in user, who sees and changes only rows of their own and of their families.",
    ]
    for tag, about in tags().items():
        lines += ["", f"## {tag.capitalize()}", "", f"{about}.", ""]
        lines += ["| Operation | Summary | Who may call it |", "|---|---|---|", *rows[tag]]
    return "\n".join(lines) + "\n"


def _callers(method: str, path: str, *, signed_in: bool) -> str:
    found = {re.sub(r":\w+}", "}", name): row for name, row in ROWS.items()}
    who = found[f"{method} {path}"].callers
    if signed_in and who == "anyone":
        raise ValueError(f"{method} {path} needs a `who` in the role table: it requires a user")
    return who


@dataclass(frozen=True)
class ErrorRow:
    """An error of the API. It has no `name` if it is not raised as a class."""

    status: int
    code: str
    text: str
    where: str
    name: str = ""


def errors() -> str:
    """Return the page of all errors, by status."""
    rows = [*_raised_errors(), *_other_errors()]
    lines = [
        *("# Errors", "", NOTE, ""),
        "Each error response has the shape `Problem`: see `/docs` and",
        "[the guide for client developers](../guides/client-developers.md). Programs read `code`,",
        "people read `detail`. Names in braces are filled in.",
        "",
        "A class derives from the class of its status, or from the one in parentheses. Errors",
        "without a class are not raised: a middleware or a handler answers with them.",
    ]
    for status in sorted({row.status for row in rows}):
        lines += ["", f"## {status} {HTTPStatus(status).phrase}", ""]
        lines += ["| Code | Text | Class | Defined in |", "|---|---|---|---|"]
        found = (row for row in rows if row.status == status)
        for row in sorted(found, key=lambda row: (row.code, row.where, row.name)):
            lines.append(f"| `{row.code}` | {row.text} | {row.name} | `{row.where}` |")
    return "\n".join(lines) + "\n"


def _raised_errors() -> Iterator[ErrorRow]:
    for module in walk_packages(freshly.__path__, "freshly."):
        if module.name.startswith(("freshly.chassis", "freshly.domains", "freshly.adapters")):
            import_module(module.name)
    waiting = [AppError]
    while waiting:
        error = waiting.pop()
        waiting += error.__subclasses__()
        if error.__module__.startswith("freshly.") and hasattr(error, "code"):
            parent = error.__bases__[0]
            is_branch = parent is not AppError and AppError not in parent.__bases__
            name = f"{error.__name__} ({parent.__name__})" if is_branch else error.__name__
            where = error.__module__.removeprefix("freshly.").replace(".", "/") + ".py"
            yield ErrorRow(error.status, error.code, error.detail, where, name)


def _other_errors() -> Iterator[ErrorRow]:
    """Find the calls of `problem(status, code, text)` with a constant status and code."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Name("problem"),
                    args=[ast.Constant(int(status)), ast.Constant(str(code)), text, *_],
                ):
                    shown = text.value if isinstance(text, ast.Constant) else "(by the request)"
                    yield ErrorRow(status, code, str(shown), path.relative_to(SOURCE).as_posix())


def settings() -> str:
    """Return the page of all settings."""
    lines = [
        *("# Settings", "", NOTE, ""),
        "Each setting is an environment variable. Bad values stop the start, each with a line that",
        "names it (exit status 2). A secret `NAME` may come from a file: set `NAME_FILE` to its",
        "path. `freshly doctor` shows the effect of all settings; `.env.example` has the defaults.",
    ]
    for name, field in Settings.model_fields.items():
        if name in SECTIONS:
            lines += ["", f"## {SECTIONS[name]}", ""]
            lines += ["| Setting | Default | Values | Meaning |", "|---|---|---|---|"]
        default = f"`{_default(field)}`" if _default(field) else ""
        lines.append(f"| `{name.upper()}` | {default} | {_values(field)} | {field.description} |")
    return "\n".join(lines) + "\n"


def example() -> str:
    """Return .env.example: each setting as a comment, with its default."""
    lines = [
        f"# The settings of Freshly with their defaults. `{COMMAND}` writes this file.",
        "#",
        "# Copy it to .env, and remove the # of a setting to change it. In local, Freshly reads",
        "# .env in the present folder; the environment wins.",
    ]
    for name, field in Settings.model_fields.items():
        if name in SECTIONS:
            lines += ["", f"# == {SECTIONS[name]} =="]
        about = (field.description or "").replace("`", "")
        values = _values(field).replace("`", "")
        kind = {"": "", "secret": " A secret."}.get(values, f" Values: {values}.")
        text = about + kind
        lines += ["", *textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="# ")]
        lines.append(f"#{name.upper()}={shlex.quote(_default(field)) if _default(field) else ''}")
    return "\n".join(lines) + "\n"


def _default(field: FieldInfo) -> str:
    """Return the default as text that the setting accepts; "" if there is none."""
    match field.default:
        case None | SecretStr() | {}:
            return ""
        case bool(flag):
            return str(flag).lower()
        case tuple(words):
            return ",".join(words)
        case ByteSize() as size:
            return re.sub(r"\.0(?=\D)", "", size.human_readable())
        case value:
            return str(value)


def _values(field: FieldInfo) -> str:
    """Return in words which values the setting accepts; "" for any text."""
    annotation = field.annotation
    if get_origin(annotation) in {Union, UnionType}:
        [annotation] = [kind for kind in get_args(annotation) if kind is not NoneType]
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    words = {
        bool: "`true`, `false`",
        SecretStr: "secret",
        ByteSize: "bytes, or a size in MB or MiB",
    }
    if annotation in words:
        return words[annotation]
    if get_origin(annotation) in {tuple, dict}:
        return {tuple: "comma list or JSON", dict: "JSON"}[get_origin(annotation)]
    unit = next((mark.name for mark in field.metadata if isinstance(mark, Unit)), "")
    return ", ".join(word for word in (unit, _bounds(field)) if word)


def _bounds(field: FieldInfo) -> str:
    least = next((mark.ge for mark in field.metadata if isinstance(mark, Ge)), None)
    above = next((mark.gt for mark in field.metadata if isinstance(mark, Gt)), None)
    most = next((mark.le for mark in field.metadata if isinstance(mark, Le)), None)
    if above is not None:
        return f"more than {above}" + (f", at most {most}" if most is not None else "")
    if least is not None and most is not None:
        return f"{least} to {most}"
    return f"at least {least}" if least is not None else ""


FILES: Mapping[str, Callable[[], str]] = {
    "docs/reference/operations.md": operations,
    "docs/reference/errors.md": errors,
    "docs/reference/settings.md": settings,
    ".env.example": example,
}


def write(folder: Path = ROOT) -> None:
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content(), encoding="utf-8")


def outdated(folder: Path = ROOT) -> list[str]:
    """Return a line for each generated file that differs from what the code says."""
    return [
        f"{name} is out of date: run `{COMMAND}` and commit it"
        for name, content in FILES.items()
        if not (folder / name).is_file() or (folder / name).read_text(encoding="utf-8") != content()
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    if not parser.parse_args().check:
        write()
        return 0
    wrong = outdated()
    print("\n".join(wrong) or "all generated files are up to date")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
