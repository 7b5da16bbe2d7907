"""Add the activity log, which cannot be changed, and the devices of sessions."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column

from freshly.chassis.data import types

revision = "account"
down_revision = "jobs"

# A row is deleted with its user, or when it is a year old. When the other user of a row is deleted,
# the row forgets them. The triggers refuse any other change: PostgreSQL has one function for all of
# them, SQLite has no functions.
ON_POSTGRESQL = (
    """
CREATE FUNCTION keep_activities() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF OLD.created_at < now() - interval '365 days' OR (
            OLD.user_id IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM users WHERE id = OLD.user_id)
        ) THEN
            RETURN OLD;
        END IF;
    ELSIF TG_OP = 'UPDATE' THEN
        IF NEW.other_user_id IS NULL
            AND to_jsonb(NEW) - 'other_user_id' = to_jsonb(OLD) - 'other_user_id'
            AND NOT EXISTS (SELECT 1 FROM users WHERE id = OLD.other_user_id)
        THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'activities are kept as they are' USING ERRCODE = 'restrict_violation';
END $$
""",
    """
CREATE TRIGGER keep_activities BEFORE UPDATE OR DELETE ON activities
FOR EACH ROW EXECUTE FUNCTION keep_activities()
""",
    """
CREATE TRIGGER keep_all_activities BEFORE TRUNCATE ON activities
EXECUTE FUNCTION keep_activities()
""",
)
ON_SQLITE = (
    """
CREATE TRIGGER keep_activities
BEFORE UPDATE OF id, user_id, kind, outcome, family_id, detail, address, user_agent, session_id,
    correlation_id, created_at ON activities
BEGIN SELECT RAISE(ABORT, 'activities are kept as they are'); END
""",
    """
CREATE TRIGGER keep_activities_others BEFORE UPDATE OF other_user_id ON activities
WHEN NEW.other_user_id IS NOT NULL OR EXISTS (SELECT 1 FROM users WHERE id = OLD.other_user_id)
BEGIN SELECT RAISE(ABORT, 'activities are kept as they are'); END
""",
    """
CREATE TRIGGER keep_all_activities BEFORE DELETE ON activities
WHEN OLD.created_at >= strftime('%Y-%m-%d %H:%M:%f', 'now', '-365 days')
    AND (OLD.user_id IS NULL OR EXISTS (SELECT 1 FROM users WHERE id = OLD.user_id))
BEGIN SELECT RAISE(ABORT, 'activities are kept as they are'); END
""",
)
OF_SIGN_INS = {
    "last_used_at": types.Instant(),
    "address": sa.String(45),
    "user_agent": sa.String(255),
}


def upgrade() -> None:
    person = sa.ForeignKey("users.id", ondelete="CASCADE")
    other = sa.ForeignKey("users.id", ondelete="SET NULL")
    op.create_table(
        "activities",
        Column("id", sa.Integer(), primary_key=True),
        Column("user_id", sa.Integer(), person, index=True),
        Column("kind", sa.String(32), nullable=False),
        Column("outcome", sa.String(16), nullable=False),
        Column("other_user_id", sa.Integer(), other, index=True),
        Column("family_id", sa.Integer()),
        Column("detail", sa.String(64)),
        Column("address", sa.String(45)),
        Column("user_agent", sa.String(255)),
        Column("session_id", sa.String(32)),
        Column("correlation_id", sa.String(64), nullable=False),
        Column("created_at", types.Instant(), server_default=sa.func.now(), nullable=False),
    )
    op.create_index("ix_activities_created_at", "activities", ["created_at"])
    on_sqlite = op.get_context().dialect.name == "sqlite"
    if on_sqlite:
        _set_autoincrement(on=True)
    for statement in ON_SQLITE if on_sqlite else ON_POSTGRESQL:
        op.execute(statement)
    for name, kind in OF_SIGN_INS.items():
        op.add_column("sign_ins", Column(name, kind))


def downgrade() -> None:
    for name in reversed(OF_SIGN_INS):
        op.drop_column("sign_ins", name)
    op.drop_table("activities")  # and its triggers
    if op.get_context().dialect.name == "sqlite":
        _set_autoincrement(on=False)
    else:
        op.execute("DROP FUNCTION keep_activities()")


def _set_autoincrement(*, on: bool) -> None:
    """Make SQLite never reuse the id of a deleted user (AUTOINCREMENT).

    Otherwise a new user could get the id of a deleted one, and with it old files and links.
    """
    op.drop_index("ix_users_email_lower", "users")  # copying the table would drop it
    with op.batch_alter_table(
        "users", recreate="always", table_kwargs={"sqlite_autoincrement": on}
    ):
        pass
    op.create_index("ix_users_email_lower", "users", [sa.text("lower(email)")])
