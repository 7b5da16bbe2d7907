"""Keep each offered meal as it was offered, and offers whose family is deleted."""

import sqlalchemy as sa
from alembic import op

from freshly.chassis.data import types
from freshly.chassis.data.sqlite_copy import copy_table

revision = "offers_as_snapshots"
down_revision = "shared_profiles"

KEY = "meal_share_requests_family_id_fkey"
COLUMN = "FOREIGN KEY(family_id) REFERENCES families (id) ON DELETE "
PLAIN = (
    *("name", "calories", "meal_type", "image", "prep_time", "cook_time", "total_time"),
    *("cuisine", "difficulty", "servings", "notes"),
)
AS_JSON = (
    *("tags", "macros", "diet_compatibility", "goal_fit", "ingredients", "instructions"),
    "cooking_tools",
)
NAMED = """
UPDATE notifications SET related_meal_name =
    (SELECT name FROM meals WHERE meals.id = notifications.related_meal_id)
WHERE related_meal_id IS NOT NULL
"""


def upgrade() -> None:
    on_sqlite = op.get_context().dialect.name == "sqlite"
    op.add_column("meal_share_requests", sa.Column("offered_meal", types.Json))
    op.add_column("notifications", sa.Column("related_meal_name", sa.String(255)))
    _set_on_delete("CASCADE", "SET NULL")
    # What was offered before is not known any more: the meal as it is now is nearest to it.
    op.execute(
        "UPDATE meal_share_requests SET offered_meal ="  # noqa: S608 - constants of this file
        f" (SELECT {_snapshot(on_sqlite)} FROM meals"
        " WHERE meals.id = meal_share_requests.meal_id)"
    )
    op.execute(NAMED)


def downgrade() -> None:
    _set_on_delete("SET NULL", "CASCADE")
    op.drop_column("notifications", "related_meal_name")
    op.drop_column("meal_share_requests", "offered_meal")


def _snapshot(on_sqlite: bool) -> str:
    """Return SQL for a meal as a JSON object."""
    function, nested = ("json_object", "json({})") if on_sqlite else ("jsonb_build_object", "{}")
    fields = [f"'{name}', {name}" for name in PLAIN]
    fields += [f"'{name}', {nested.format(name)}" for name in AS_JSON]
    return f"{function}({', '.join(fields)})"


def _set_on_delete(old: str, new: str) -> None:
    """Change what happens to an offer when its family is deleted."""
    if op.get_context().dialect.name == "sqlite":
        copy_table(
            op.get_bind(),
            "meal_share_requests",
            lambda sql: sql.replace(COLUMN + old, COLUMN + new),
        )
        return
    table = "meal_share_requests"
    op.drop_constraint(KEY, table, type_="foreignkey")
    op.create_foreign_key(KEY, table, "families", ["family_id"], ["id"], ondelete=new)
