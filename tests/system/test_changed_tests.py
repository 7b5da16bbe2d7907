"""`./run test --changed` chooses the tests of what changed."""

import shutil
import subprocess

import pytest

from tests.contracts.test_guards import REPOSITORY
from tools.changed_tests import GUARDS, changed_files, main, parse, paths_for


@pytest.mark.parametrize(
    ("file", "tests"),
    [
        ("src/freshly/domains/pantry/service.py", "tests/domains/pantry"),
        ("src/freshly/domains/grocery/service/items.py", "tests/domains/grocery"),
        ("src/freshly/chassis/data/engine.py", "tests/chassis/data/test_engine.py"),
        ("src/freshly/chassis/data/no_such_module.py", "tests/chassis/data"),
        ("src/freshly/settings.py", "tests/system/test_settings.py"),
        ("tools/commit_subjects.py", "tests/system/test_commit_subjects.py"),
        ("migrations/versions/account.py", "tests/contracts/migrations"),
        ("tests/domains/chat/test_chat.py", "tests/domains/chat/test_chat.py"),
        ("tests/contracts/migrations/existing_app.json", "tests/contracts/migrations"),
        ("tests/domains/chat/test_that_was_deleted.py", None),
        ("tests/support/api.py", None),
        ("tests/conftest.py", None),
        ("src/freshly/wiring/no_such_module.py", None),
        ("README.md", None),
    ],
)
def test_each_file_stands_for_tests_and_the_guards_always_run(file, tests):
    assert set(paths_for(REPOSITORY, [file])) == {GUARDS} | ({tests} if tests else set())


def test_a_module_in_a_chosen_folder_is_not_named_twice():
    files = ["src/freshly/domains/chat/service.py", "tests/domains/chat/test_chat.py"]

    assert paths_for(REPOSITORY, files) == [GUARDS, "tests/domains/chat"]


@pytest.mark.parametrize(
    ("options", "parsed"),
    [
        (["--changed"], (None, [])),
        (["--changed", "main"], ("main", [])),
        (["--changed", "-x"], (None, ["-x"])),
        (["-n0", "--changed", "main", "-x"], ("main", ["-n0", "-x"])),
    ],
)
def test_the_base_follows_the_option(options, parsed):
    assert parse(options) == parsed


def test_uncommitted_new_and_committed_files_are_changed(tmp_path):
    if shutil.which("git") is None:
        pytest.skip("needs git, which .ci/run installs")

    def git(*arguments):
        identity = ("-c", "user.name=Alice", "-c", "user.email=alice@example.com")
        command = ("git", "-C", tmp_path, *identity, *arguments)
        subprocess.run(command, check=True)

    def commit(name):
        (tmp_path / name).write_text(name)
        git("add", name)
        git("commit", "--quiet", "--message", name)

    git("init", "--quiet", "--initial-branch=main")
    commit("old")
    git("switch", "--quiet", "--create", "topic")
    commit("committed")
    (tmp_path / "old").write_text("edited")
    (tmp_path / "nëw").write_text("new")

    assert changed_files(tmp_path, None) == ["nëw", "old"]
    assert changed_files(tmp_path, "main") == ["committed", "nëw", "old"]


def test_a_base_that_git_does_not_know_is_refused_in_one_line(capsys):
    assert main(["--changed", "no-such-base"]) == 2
    [said] = capsys.readouterr().err.splitlines()
    assert said.startswith("freshly: --changed")
