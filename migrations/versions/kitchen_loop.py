"""Add sessions that can be revoked, facts about foods, and the reasons of grocery list items."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column

from freshly.chassis.data import types

revision = "kitchen_loop"
down_revision = "8a2eb98e9047"

# Deleting a user or a conversation deletes the rows that belong to it.
CASCADES = (
    ("meals", "created_by_user_id", "users"),
    ("chat_conversations", "user_id", "users"),
    ("chat_messages", "conversation_id", "chat_conversations"),
)
INDEXES = (
    ("chat_conversations", "user_id"),
    ("chat_messages", "conversation_id"),
    ("grocery_list_items", "grocery_list_id"),
    ("grocery_lists", "meal_plan_id"),
    ("ingredients", "created_by_user_id"),
    ("ingredients", "food_id"),
    ("meal_plans", "created_by_user_id"),
    ("meal_plans", "family_id"),
    ("meal_slot_meals", "meal_id"),
    ("meal_slot_meals", "meal_slot_id"),
    ("meal_slots", "meal_plan_id"),
    ("meals", "created_by_user_id"),
    ("meals", "family_id"),
)


def _to(target: str, on_delete: str = "CASCADE") -> sa.ForeignKey:
    return sa.ForeignKey(target, ondelete=on_delete)


def _ingredient() -> Column[int]:
    return Column("ingredient_id", sa.Integer(), _to("ingredients.id"), nullable=False, index=True)


def _grocery_list() -> Column[int]:
    return Column(
        "grocery_list_id", sa.Integer(), _to("grocery_lists.id"), nullable=False, index=True
    )


def upgrade() -> None:
    _sign_ins()
    _foods()
    _reasons()
    for table, column, target in CASCADES:
        _replace_key(table, column, target, "CASCADE")
    for table, column in INDEXES:
        op.create_index(f"ix_{table}_{column}", table, [column])
    # This comes last, because SQLite drops such indexes when it copies a table.
    op.create_index("ix_users_email_lower", "users", [sa.text("lower(email)")])
    op.create_index("ix_ingredients_name_lower", "ingredients", [sa.text("lower(name)")])


def _sign_ins() -> None:
    op.create_table(
        "sign_ins",
        Column("id", sa.String(32), primary_key=True),
        Column("user_id", sa.Integer(), _to("users.id"), nullable=False, index=True),
        Column("expires_at", types.Instant(), nullable=False, index=True),
        Column("revoked_at", types.Instant()),
        Column("created_at", types.Instant(), server_default=sa.func.now(), nullable=False),
    )
    op.create_table(
        "refresh_tokens",
        Column("id", sa.String(32), primary_key=True),
        Column("sign_in_id", sa.String(32), _to("sign_ins.id"), nullable=False, index=True),
        Column("token_hash", sa.String(64), nullable=False),
        Column("issued_at", types.Instant(), nullable=False),
        Column("expires_at", types.Instant(), nullable=False),
        Column("used_at", types.Instant()),
        Column("successor_id", sa.String(32)),
    )


def _foods() -> None:
    with op.batch_alter_table("ingredients") as ingredients:
        ingredients.add_column(Column("food_id", sa.Integer()))
        ingredients.add_column(Column("created_by_user_id", sa.Integer()))
        ingredients.create_foreign_key(
            "ingredients_food_id_fkey", "ingredients", ["food_id"], ["id"], ondelete="SET NULL"
        )
        ingredients.create_foreign_key(
            "ingredients_created_by_user_id_fkey",
            "users",
            ["created_by_user_id"],
            ["id"],
            ondelete="SET NULL",
        )
    op.create_table(
        "ingredient_measures",
        Column("id", sa.Integer(), primary_key=True),
        Column("ingredient_id", sa.Integer(), _to("ingredients.id"), nullable=False),
        Column("unit_code", sa.Text(), nullable=False),
        Column("grams", types.Quantity(), nullable=False),
        sa.UniqueConstraint("ingredient_id", "unit_code", name="uq_ingredient_measures_unit"),
    )
    op.create_table(
        "foods",
        Column("ingredient_id", sa.Integer(), _to("ingredients.id"), primary_key=True),
        Column("aliases", types.Json, nullable=False),
        Column("pantry_days", sa.Integer()),
        Column("fridge_days", sa.Integer()),
        Column("freezer_days", sa.Integer()),
        Column("allergens", types.TextList()),
        Column("nutrition", types.Json, nullable=False),
        Column("source", sa.Text(), nullable=False),
    )


def _reasons() -> None:
    op.add_column("grocery_list_items", Column("needed_quantity", types.Quantity()))
    op.add_column("grocery_list_items", Column("needed_unit", sa.String(64)))
    op.create_table(
        "grocery_needs",
        Column("id", sa.Integer(), primary_key=True),
        _grocery_list(),
        _ingredient(),
        Column("meal_id", sa.Integer(), _to("meals.id", "SET NULL"), index=True),
        Column("meal_name", sa.Text(), nullable=False),
        Column("needed_on", sa.Date(), nullable=False),
        Column("quantity", types.Quantity()),
        Column("unit", sa.String(64)),
        Column("text", sa.Text()),
    )
    op.create_table(
        "grocery_reservations",
        Column("id", sa.Integer(), primary_key=True),
        _grocery_list(),
        _ingredient(),
        Column("pantry_item_id", sa.Integer(), _to("pantry_items.id", "SET NULL"), index=True),
        Column("quantity", types.Quantity(), nullable=False),
        Column("unit", sa.String(64), nullable=False),
        Column("expires_at", sa.Date()),
    )


def _replace_key(table: str, column: str, target: str, on_delete: str | None) -> None:
    name = f"{table}_{column}_fkey"
    with op.batch_alter_table(table) as batch:
        batch.drop_constraint(name, type_="foreignkey")
        batch.create_foreign_key(name, target, [column], ["id"], ondelete=on_delete)


def downgrade() -> None:
    op.drop_index("ix_ingredients_name_lower", "ingredients")
    op.drop_index("ix_users_email_lower", "users")
    for table, column in INDEXES:
        op.drop_index(f"ix_{table}_{column}", table)
    for table, column, target in CASCADES:
        _replace_key(table, column, target, None)
    for table in ("grocery_reservations", "grocery_needs", "foods", "ingredient_measures"):
        op.drop_table(table)
    op.drop_column("grocery_list_items", "needed_unit")
    op.drop_column("grocery_list_items", "needed_quantity")
    with op.batch_alter_table("ingredients") as ingredients:
        ingredients.drop_constraint("ingredients_food_id_fkey", type_="foreignkey")
        ingredients.drop_constraint("ingredients_created_by_user_id_fkey", type_="foreignkey")
        ingredients.drop_column("food_id")
        ingredients.drop_column("created_by_user_id")
    op.drop_table("refresh_tokens")
    op.drop_table("sign_ins")
