"""Check the subjects of commits, in real repositories of git."""

import os
import shutil
import subprocess

import pytest

from tools.commit_subjects import fault_of, main

AUTHOR = {"GIT_AUTHOR_NAME": "Alice", "GIT_AUTHOR_EMAIL": "alice@example.com"}
COMMITTER = {"GIT_COMMITTER_NAME": "Alice", "GIT_COMMITTER_EMAIL": "alice@example.com"}
OURS_ONLY = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}


class Repository:
    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")
        self.first = self.commit("The first commit")

    def git(self, *arguments):
        environment = {"PATH": os.environ["PATH"], **AUTHOR, **COMMITTER, **OURS_ONLY}
        command = ("git", "-C", self.folder, *arguments)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def commit(self, subject):
        self.git("commit", "--quiet", "--allow-empty", "--message", subject)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path):
    if shutil.which("git") is None:
        pytest.skip("needs git, which .ci/run installs")
    return Repository(tmp_path / "repository")


def test_subjects_of_the_form_area_and_command_pass(repository, capsys):
    repository.commit("pantry: Keep the unit of an opened item\n\nThe body may say: added, adding.")
    repository.commit("docs/decisions: Embed the diagrams")
    repository.commit(f"ci: {'Run' * 22}  ")

    assert main(repository.folder, repository.first) == 0
    assert capsys.readouterr().out == "commit subjects that follow the rule: 3\n"


def test_merge_commits_keep_the_subject_that_git_gives_them(repository, capsys):
    repository.git("switch", "--quiet", "--create", "other")
    repository.commit("chat: Stop when the client leaves")
    repository.git("switch", "--quiet", "main")
    repository.git("merge", "--quiet", "--no-ff", "other")

    assert main(repository.folder, repository.first) == 0
    assert capsys.readouterr().out == "commit subjects that follow the rule: 2\n"


def test_each_fault_is_named_with_its_commit(repository, capsys):
    commit = repository.commit("Mend the pantry")
    repository.commit("pantry: Keep the unit")
    repository.commit("pantry: Added a unit")

    assert main(repository.folder, repository.first) == 1
    second, first = capsys.readouterr().out.splitlines()
    assert first.startswith(commit[:7])
    assert "'Mend the pantry': is not of the form `area: Imperative sentence`" in first
    assert "'pantry: Added a unit': must be a command, such as `Add`, not 'Added'" in second


@pytest.mark.parametrize(
    ("subject", "fault"),
    [
        ("pantry: keep the unit", "must begin with a capital letter after the area, not with 'k"),
        ("pantry: Keeping the unit", "must be a command, such as `Add`, not 'Keeping'"),
        ("pantry: Changed the unit", "must be a command, such as `Add`, not 'Changed'"),
        ("Pantry: Keep the unit", "is not of the form `area: Imperative sentence`"),
        ("pantry:Keep the unit", "is not of the form `area: Imperative sentence`"),
        ("pantry: ", "is not of the form `area: Imperative sentence`"),
        ("", "is not of the form `area: Imperative sentence`"),
        (f"pantry: Keep {'x' * 60}", "has 73 characters, at most 72 are allowed"),
        (f"pantry: Keep {'x' * 59}", None),
        ("pantry, meals: Feed the cat", None),
        ("chat: Need a token", None),
        ("chat: Bring it", None),
        ("web: Red", None),
        ("web: Sing", None),
    ],
)
def test_a_subject_is_short_and_a_command(subject, fault):
    found = fault_of(subject)

    assert found == fault or found.startswith(fault)


def test_a_folder_without_history_has_no_subjects_to_check(repository, capsys):
    shutil.rmtree(repository.folder / ".git")

    assert main(repository.folder, repository.first) == 0
    assert capsys.readouterr().out.startswith("checked no commit subjects: ")


def test_a_shallow_clone_has_no_subjects_to_check(repository, tmp_path, capsys):
    repository.commit("Mend the pantry")
    clone = tmp_path / "clone"
    repository.git("clone", "--quiet", "--depth=1", f"file://{repository.folder}", clone)

    assert main(clone, repository.first) == 0
    [said] = capsys.readouterr().out.splitlines()
    assert said.startswith("checked no commit subjects: ")


def test_a_history_that_began_elsewhere_has_no_subjects_to_check(repository, capsys):
    repository.git("switch", "--quiet", "--orphan", "other")
    repository.commit("Mend the pantry")

    assert main(repository.folder, repository.first) == 0
    expected = f"checked no commit subjects: HEAD does not descend from {repository.first}\n"
    assert capsys.readouterr().out == expected


def test_a_machine_without_git_has_no_subjects_to_check(repository, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(repository.folder))

    assert main(repository.folder, repository.first) == 0
    assert capsys.readouterr().out == "checked no commit subjects: git is not installed\n"


def test_a_copy_inside_another_repository_has_no_subjects_to_check(repository, capsys):
    repository.commit("Mend the pantry")
    copy = repository.folder / "copy"
    copy.mkdir()

    assert main(copy, repository.first) == 0
    expected = "checked no commit subjects: this folder is no git repository of its own\n"
    assert capsys.readouterr().out == expected
