"""Docstrings, comments and documents are written in plain words.

A docstring begins with a verb or with the thing that it describes, never with a relative clause or
a preposition. A sentence names its actor: user, client, request, worker, process, PostgreSQL or
Redis.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("src", "tests", "bench", "attack", "faults", "tools", "migrations")
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")

OPENINGS = ("What", "Who", "Whoever", "Of", "By", "As", "Where", "Whether", "One")
ACTORS = ("whoever", "nobody", "somebody", "he", "his", "him", "himself", "one's")
ADVERBS = ("anew", "in vain")

# "One-time codes" begins with another word than "One".
OPENING = re.compile(rf"(?:{'|'.join(OPENINGS)})(?![\w-])")
WORD = re.compile(
    rf"\b(?:{'|'.join((*ACTORS, *ADVERBS))})\b".replace("'", "['’]").replace(" ", r"\s+"),
    re.IGNORECASE,
)
CODE_BLOCK = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]+`")  # may name a thing that has such a word, as the user `nobody` has


@dataclass(frozen=True)
class Text:
    """A docstring, a comment or a document, with the line on which it begins."""

    line: int
    content: str
    is_docstring: bool = False


@dataclass(frozen=True)
class Finding:
    """A banned word, with its line and the text around it."""

    line: int
    word: str
    context: str


def docstrings(source: str) -> Iterator[Text]:
    """Yield the docstrings of a module and of its classes and functions."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            expression = node.body[0]
            yield Text(expression.lineno, expression.value.value, is_docstring=True)


def comments(source: str) -> Iterator[Text]:
    """Yield the comments. Lines that follow each other in one column are one comment."""
    block, start, last = [], 0, (0, 0)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            if block and token.start != (last[0] + 1, last[1]):
                yield Text(start, "\n".join(block))
                block = []
            start = start if block else token.start[0]
            block.append(token.string.removeprefix("#"))
            last = token.start
    if block:
        yield Text(start, "\n".join(block))


def prose(document: str) -> Text:
    """Return a document without its code, with the same number of lines."""
    blank = lambda match: "\n" * match.group().count("\n")  # noqa: E731
    return Text(1, CODE_BLOCK.sub(blank, document))


def findings(text: Text) -> Iterator[Finding]:
    """Yield the banned opening of a docstring, and the banned words of any text."""
    content = CODE.sub(lambda match: "`" * len(match.group()), text.content)
    matches = list(WORD.finditer(content))
    if text.is_docstring:
        first_word = len(content) - len(content.lstrip())
        matches += filter(None, [OPENING.match(content, first_word)])
    for match in matches:
        lines_before = content[: match.start()].count("\n")
        context = text.content.splitlines()[lines_before].strip()
        yield Finding(text.line + lines_before, match.group(), context)


def python_findings(source: str) -> list[Finding]:
    texts = (*docstrings(source), *comments(source))
    return [finding for text in texts for finding in findings(text)]


def report(path: Path, found: list[Finding]) -> list[str]:
    name = path.relative_to(ROOT)
    in_order = sorted(found, key=lambda finding: finding.line)
    return [f"{name}:{each.line}: {each.word!r} in: {each.context}" for each in in_order]


def message(lines: list[str]) -> str:
    return "\n".join(
        [
            f"{len(lines)} banned words or openings. Begin a docstring with a verb or with the",
            "thing, and name the actor (user, client, request, worker, process):",
            *lines,
        ]
    )


@pytest.mark.parametrize("folder", [*FOLDERS, "run"])
def test_docstrings_and_comments_use_plain_words(folder):
    paths = [ROOT / "run"] if folder == "run" else sorted((ROOT / folder).rglob("*.py"))
    assert paths

    lines = [line for path in paths for line in report(path, python_findings(path.read_text()))]

    assert lines == [], message(lines)


def test_documents_use_plain_words():
    paths = [*sorted((ROOT / "docs").rglob("*.md")), *(ROOT / name for name in DOCUMENTS)]

    lines = [
        line for path in paths for line in report(path, list(findings(prose(path.read_text()))))
    ]

    assert lines == [], message(lines)


@pytest.mark.parametrize("opening", OPENINGS)
@pytest.mark.parametrize("head", ["", "class A:\n    ", "def f():\n    ", "async def f():\n    "])
def test_each_banned_opening_of_a_docstring_is_found(head, opening):
    source = f'{head}"""{opening} it is."""\n'

    assert opening in [finding.word for finding in python_findings(source)]


@pytest.mark.parametrize("word", [*ACTORS, *ADVERBS, "Nobody", "He", "one’s", "in\n    vain"])
def test_each_banned_word_is_found_with_its_line(word):
    docstring = f'"""Return the rows.\n\n    Then {word} waits.\n    """\n'
    comment = "x = 1\n# The first line of a comment,\n# then " + word.replace("\n    ", "\n# ")
    document = f"# Title\n\n```\nnobody\n```\n\nThen {word} waits."

    found = [
        [(finding.line, finding.word) for finding in python_findings(docstring)],
        [finding.line for finding in python_findings(comment)],
        [(finding.line, finding.word) for finding in findings(prose(document))],
    ]

    assert found == [[(3, word)], [3], [(7, word)]]


@pytest.mark.parametrize(
    "text",
    [
        "Return the history of this row, where one exists, as of today.",
        "One-time codes of a user.",
        "Whose owner left the family.",
        "Runs as the user `nobody`, or as `somebody`.",
        "The shell, the chisel, Hermione and everyone's phone.",
    ],
)
def test_plain_english_is_not_found(text):
    source = f'"""{text}"""\n# {text}\nname = "nobody knows what he wants"\n'

    assert python_findings(source) == []
    assert list(findings(prose(text))) == []
