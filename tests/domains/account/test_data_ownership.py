"""Every table, column and reference to a user is listed as exported or as not exported."""

import pytest

from freshly.domains.account.data_ownership import NOT_EXPORTED, TABLE_OWNERSHIP
from freshly.wiring.tables import all_tables

TABLES = all_tables().tables


def keys_of(table):
    """Return each foreign key of a table: its column and the table it refers to."""
    return {
        (column.name, key.column.table.name)
        for column in TABLES[table].columns
        for key in column.foreign_keys
    }


def test_every_table_is_listed_as_exported_or_as_not_exported():
    assert set(TABLE_OWNERSHIP) | set(NOT_EXPORTED) == set(TABLES)
    assert set(TABLE_OWNERSHIP) & set(NOT_EXPORTED) == set()
    assert all(NOT_EXPORTED.values())


@pytest.mark.parametrize("table", sorted(TABLE_OWNERSHIP))
def test_every_column_is_exported_or_excluded_with_a_reason(table):
    ownership = TABLE_OWNERSHIP[table]

    assert len(ownership.exported) == len(set(ownership.exported))
    assert set(ownership.exported).isdisjoint(ownership.excluded)
    assert {*ownership.exported, *ownership.excluded} == set(TABLES[table].columns.keys())
    assert all(ownership.excluded.values())


@pytest.mark.parametrize("table", sorted(TABLE_OWNERSHIP))
def test_every_foreign_key_that_leads_from_a_row_to_a_user_is_listed(table):
    """A row leads to a user by a column that names one, or by another row that belongs to one."""
    ownership = TABLE_OWNERSHIP[table]
    without_owner = {*NOT_EXPORTED, "families"}
    foreign_keys = {column for column, target in keys_of(table) if target not in without_owner}

    listed = {*ownership.owner_columns, *ownership.cascades_from, *ownership.other_keys} - {"id"}
    assert foreign_keys == listed
    assert all(ownership.other_keys.values())
    assert ownership.owner_columns or ownership.cascades_from or ownership.referenced_by


@pytest.mark.parametrize("table", sorted(TABLE_OWNERSHIP))
def test_a_familys_rows_are_exported_to_its_members_only(table):
    """Meals are an exception, because their creator keeps them. So are rows without a family."""
    ownership = TABLE_OWNERSHIP[table]
    has_creator = any("created_by" in column for column in ownership.owner_columns)
    has_family = any(target == "families" for _, target in keys_of(table))

    assert ownership.members_only is (has_creator and has_family and table != "meals")


def test_no_exported_column_holds_a_secret():
    secret_words = ("password", "hash", "code", "token", "secret")

    suspicious = {
        f"{table}.{column}"
        for table, ownership in TABLE_OWNERSHIP.items()
        for column in ownership.exported
        if any(word in column for word in secret_words)
    }

    # They hold words such as "vegan" and "jar", and a number.
    words = {"user_preferences.diet_codes", "ingredient_measures.unit_code"}
    assert suspicious == words | {"model_usage.tokens"}


def test_exported_files_have_plain_and_unique_names():
    names = [ownership.name for ownership in TABLE_OWNERSHIP.values()]

    assert len(names) == len(set(names))
    assert all(name.replace("_", "").isalpha() for name in names)
