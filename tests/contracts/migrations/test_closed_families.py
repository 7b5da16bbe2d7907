"""Going back to the release before closed families gives them back to their members."""

import asyncio

import pytest
from sqlalchemy import text

from freshly.chassis.data.engine import create_engine
from tests.contracts.migrations.test_migrations import (
    downgrade,
    driven,
    postgres_database,
    upgrade,
)

__all__ = ["postgres_database"]

ROWS = (
    (
        "INSERT INTO users (id, email, hashed_password, password_reset_attempts)"
        " VALUES (1, 'a@example.com', 'x', 0)"
    ),
    (
        "INSERT INTO families (id, display_name, invite_code, delete_after)"
        " VALUES (2, 'Us', 'closed-2', '2030-01-01 00:00:00+00:00')"
    ),
    "INSERT INTO meal_plans (id, week_start, family_id) VALUES (3, '2030-01-07', 2)",
    "INSERT INTO grocery_lists (id, owner_user_id) VALUES (4, 1)",
    (
        "INSERT INTO closed_memberships (family_id, user_id, membership_id, role, joined_at)"
        " VALUES (2, 1, 9, 'owner', '2029-01-01 00:00:00+00:00')"
    ),
    (
        "INSERT INTO closed_references (family_id, table_name, column_name, row_id, value)"
        " VALUES (2, 'grocery_lists', 'meal_plan_id', 4, 3)"
    ),
)


def run(url, *statements):
    """Execute the statements, and return the rows of the last one."""

    async def execute():
        engine = create_engine(driven(url)).execution_options(writes=True)
        async with engine.connect() as connection:
            for statement in statements:
                result = await connection.execute(text(statement))
            found = [tuple(row) for row in result] if result.returns_rows else []
            await connection.commit()
        await engine.dispose()
        return found

    return asyncio.run(execute())


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_closed_families_survive_a_downgrade(kind, request, tmp_path):
    url = f"sqlite:///{tmp_path / 'freshly.db'}"
    if kind == "postgresql":
        url = request.getfixturevalue("postgres_database")
    upgrade(url, tmp_path, "closed_families")
    run(url, *ROWS)

    downgrade(url, "invitations")

    members = run(url, "SELECT id, family_id, user_id, role FROM family_memberships")
    assert members == [(9, 2, 1, "owner")]
    assert run(url, "SELECT meal_plan_id FROM grocery_lists") == [(3,)]
    upgrade(url, tmp_path, "closed_families")
    assert run(url, "SELECT delete_after FROM families") == [(None,)]
