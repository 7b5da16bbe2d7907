"""Refuse to delete an ingredient while a pantry, a list or a recipe refers to it."""

import sqlalchemy as sa
from alembic import op

revision = "foods_in_use"
down_revision = "delete_after"

# SQLAlchemy cannot read these indexes of tables that the copies on SQLite refer to.
EXPRESSIONS = {
    "ix_ingredients_name_lower": ("ingredients", "lower(name)"),
    "ix_users_email_lower": ("users", "lower(email)"),
}
REFERRING = (
    *("pantry_items", "grocery_list_items", "grocery_needs", "grocery_reservations"),
    "recipe_ingredients",
)


def upgrade() -> None:
    _replace_keys(on_delete=None)


def downgrade() -> None:
    _replace_keys(on_delete="CASCADE")


def _replace_keys(on_delete: str | None) -> None:
    on_sqlite = op.get_context().dialect.name == "sqlite"
    indexes = EXPRESSIONS.items() if on_sqlite else ()
    for index, (table, _) in indexes:
        op.drop_index(index, table)
    for table in REFERRING:
        name = f"{table}_ingredient_id_fkey"
        with op.batch_alter_table(table) as batch:
            batch.drop_constraint(name, type_="foreignkey")
            batch.create_foreign_key(
                name, "ingredients", ["ingredient_id"], ["id"], ondelete=on_delete
            )
    for index, (table, expression) in indexes:
        op.create_index(index, table, [sa.text(expression)])
