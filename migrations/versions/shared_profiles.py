"""Let users choose whether members of their families see their profile."""

import sqlalchemy as sa
from alembic import op

revision = "shared_profiles"
down_revision = "meals_outlive_families"


def upgrade() -> None:
    op.add_column(
        "users",
        sa.Column("shares_profile", sa.Boolean(), server_default=sa.false(), nullable=False),
    )


def downgrade() -> None:
    op.drop_column("users", "shares_profile")
