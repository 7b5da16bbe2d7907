"""For each table, column and reference to a person it is decided whether it is exported."""

import pytest

from freshly.domains.account.data_ownership import BELONGINGS, NOT_EXPORTED
from freshly.wiring.tables import all_tables

TABLES = all_tables().tables


def keys_of(table):
    """Column and the table that it refers to."""
    return {
        (column.name, key.column.table.name)
        for column in TABLES[table].columns
        for key in column.foreign_keys
    }


def test_every_table_is_decided_on():
    assert set(BELONGINGS) | set(NOT_EXPORTED) == set(TABLES)
    assert set(BELONGINGS) & set(NOT_EXPORTED) == set()
    assert all(NOT_EXPORTED.values())


@pytest.mark.parametrize("table", sorted(BELONGINGS))
def test_every_column_is_exported_or_left_out_for_a_reason(table):
    belonging = BELONGINGS[table]

    assert len(belonging.exported) == len(set(belonging.exported))
    assert set(belonging.exported).isdisjoint(belonging.excluded)
    assert {*belonging.exported, *belonging.excluded} == set(TABLES[table].columns.keys())
    assert all(belonging.excluded.values())


@pytest.mark.parametrize("table", sorted(BELONGINGS))
def test_every_way_from_a_row_to_a_person_is_decided_on(table):
    """By a column that names somebody, or by a row that is somebody's."""
    belonging = BELONGINGS[table]
    of_everybody = {*NOT_EXPORTED, "families"}
    ways = {column for column, target in keys_of(table) if target not in of_everybody}

    decided = {*belonging.owner_columns, *belonging.cascades_from, *belonging.other_keys} - {"id"}
    assert ways == decided
    assert all(belonging.other_keys.values())
    assert belonging.owner_columns or belonging.cascades_from or belonging.referenced_by


@pytest.mark.parametrize("table", sorted(BELONGINGS))
def test_a_familys_rows_are_exported_to_its_members_only(table):
    """Except meals, which their maker keeps, and what is the person's alone."""
    belonging = BELONGINGS[table]
    made = any("created_by" in column for column in belonging.owner_columns)
    of_families = any(target == "families" for _, target in keys_of(table))

    assert belonging.members_only is (made and of_families and table != "meals")


def test_no_secret_is_among_the_exported_columns():
    secret = ("password", "hash", "code", "token", "secret")

    telling = {
        f"{table}.{column}"
        for table, belonging in BELONGINGS.items()
        for column in belonging.exported
        if any(word in column for word in secret)
    }

    assert telling == {"user_preferences.diet_codes", "model_usage.tokens"}  # vegan; how many


def test_files_have_plain_names_of_their_own():
    names = [belonging.name for belonging in BELONGINGS.values()]

    assert len(names) == len(set(names))
    assert all(name.replace("_", "").isalpha() for name in names)
