"""The reference pages and .env.example say what the code says."""

import shlex

import pytest

from freshly.settings import Settings
from tools.generate import FILES, SECTIONS, example, outdated, write


def test_generated_files_are_up_to_date():
    assert outdated() == []


def test_the_check_names_each_changed_or_missing_file_and_the_command(tmp_path):
    write(tmp_path)
    assert outdated(tmp_path) == []

    (tmp_path / "docs/reference/errors.md").write_text("# Errors\n")
    (tmp_path / ".env.example").unlink()

    assert outdated(tmp_path) == [
        "docs/reference/errors.md is out of date: run `./run generate` and commit it",
        ".env.example is out of date: run `./run generate` and commit it",
    ]


def test_the_example_file_sets_each_setting_to_its_default(monkeypatch):
    lines = [
        line.removeprefix("#") for line in example().splitlines() if line[:2].strip("#").strip()
    ]
    values = dict(line.split("=", 1) for line in lines)
    for name, value in values.items():
        monkeypatch.setenv(name, " ".join(shlex.split(value)))

    assert {name.lower() for name in values} == Settings.model_fields.keys()
    assert Settings() == Settings.model_construct()


@pytest.mark.parametrize("name", Settings.model_fields)
def test_each_setting_has_a_description(name):
    about = Settings.model_fields[name].description

    assert about
    assert about.endswith(".")


def test_each_section_begins_with_a_setting():
    assert SECTIONS.keys() <= Settings.model_fields.keys()
    assert len(FILES) == 4
