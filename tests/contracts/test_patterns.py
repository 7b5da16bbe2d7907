"""Every regular expression takes time in proportion to its text, whatever a client sends."""

import ast
import re
from pathlib import Path
from time import process_time

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "freshly"
FUNCTIONS = {"compile", "match", "fullmatch", "search", "sub", "subn", "split", "findall"}
HOSTILE_LENGTH = 100_000  # characters
MAX_SECONDS = 0.05  # the promise is 10 ms, but other tests run meanwhile
# A pattern that matches each character makes 100,000 matches. Each may take this long in addition.
SECONDS_PER_MATCH = 1e-6
# Runs of these make a pattern that gives characters back try again and again.
PARTS = ["a", "0", " ", "-", "@", "/", "=", "(", "é", "0,", "a."]


def patterns():
    """Return each pattern in the source, under the place where it stands."""
    found = {}
    for file in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "re"
                and node.func.attr in FUNCTIONS
            ):
                found[f"{file.relative_to(SOURCE)}:{node.lineno}"] = compiled(node)
    return found


def compiled(call):
    source, *others = call.args
    assert isinstance(source, ast.Constant), f"line {call.lineno}: not a text that can be checked"
    flags = [keyword.value for keyword in call.keywords if keyword.arg == "flags"]
    flags += [other for other in others if ast.unparse(other).startswith("re.")]
    value = eval(ast.unparse(flags[0]), {"re": re}) if flags else 0  # noqa: S307 - our own source
    return re.compile(source.value, value)


def hostile_texts(pattern):
    """Yield texts that begin like a match, again and again, and never end like one."""
    words = {*re.findall(r"[A-Za-z@$:/]{3,}", pattern.pattern), ""}
    for word in sorted(words):
        for part in PARTS:
            piece = word + part
            yield piece * (HOSTILE_LENGTH // len(piece))
            if word:
                yield word + part * ((HOSTILE_LENGTH - len(word)) // len(part))


def seconds(pattern, text):
    """Return the time to replace all matches: the shortest of three."""
    times = []
    for _ in range(3):
        started = process_time()
        _, matches = pattern.subn("", text)
        times.append(process_time() - started - matches * SECONDS_PER_MATCH)
        if times[-1] < MAX_SECONDS:
            break
    return min(times)


PATTERNS = patterns()


@pytest.mark.parametrize("place", PATTERNS)
def test_a_pattern_reads_100_kb_of_hostile_text_in_linear_time(place):
    slow = [
        (text[:20], len(text))
        for text in hostile_texts(PATTERNS[place])
        if seconds(PATTERNS[place], text) > MAX_SECONDS
    ]

    assert slow == []


def test_the_guard_finds_the_patterns_and_knows_a_slow_one():
    assert len(PATTERNS) > 15
    assert seconds(re.compile(r"[\w.+-]+@[\w-]+"), "a" * 10_000) > MAX_SECONDS
