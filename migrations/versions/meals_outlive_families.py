"""Keep the meals of a deleted family for their creators."""

from alembic import op

from freshly.chassis.data.sqlite_copy import copy_table

revision = "meals_outlive_families"
down_revision = "never_reused_ids"

KEY = "meals_family_id_fkey"
COLUMN = "FOREIGN KEY(family_id) REFERENCES families (id) ON DELETE "


def upgrade() -> None:
    _replace("CASCADE", "SET NULL")


def downgrade() -> None:
    _replace("SET NULL", "CASCADE")


def _replace(old: str, new: str) -> None:
    """Change what happens to a meal when its family is deleted."""
    if op.get_context().dialect.name == "sqlite":
        copy_table(op.get_bind(), "meals", lambda sql: sql.replace(COLUMN + old, COLUMN + new))
        return
    op.drop_constraint(KEY, "meals", type_="foreignkey")
    op.create_foreign_key(KEY, "meals", "families", ["family_id"], ["id"], ondelete=new)
