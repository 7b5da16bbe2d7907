"""Create the tables of the existing app, column for column, or adopt its database."""

from datetime import datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column

from freshly.chassis.data import functions, types

revision = "8a2eb98e9047"
down_revision = None

ENUMS = {
    "canonical_unit_type_enum": "weight volume count",
    "mealtype": "Breakfast Lunch Dinner Snack Dessert",
    "mealdifficulty": "Easy Medium Hard",
    "meal_share_request_status": "pending accepted declined",
    "notification_type": "meal_share_request meal_share_accepted meal_share_declined "
    "family_invite family_member_joined system",
}

ONE_OWNER = (
    "(family_id IS NOT NULL AND owner_user_id IS NULL)"
    " OR (family_id IS NULL AND owner_user_id IS NOT NULL)"
)

LAST_FIRST = (
    "notifications", "meal_slot_meals", "grocery_list_items", "recipe_ingredients",
    "recipe_diet_tags", "pantry_items", "meal_slots", "meal_share_requests", "grocery_lists",
    "chat_messages", "user_preferences", "recipes", "oauth_accounts", "meals", "meal_plans",
    "ingredients", "family_memberships", "chat_conversations", "users", "units", "families",
    "diet_tags",
)  # fmt: skip

TARGETS = "protein_grams carb_grams fat_grams protein_calories carb_calories fat_calories"


def _id() -> Column[int]:
    return Column("id", sa.Integer(), primary_key=True)


def _one_of(name: str) -> sa.Enum:
    return sa.Enum(*ENUMS[name].split(), name=name, create_constraint=True)


def _to(table: str, on_delete: str | None = None) -> sa.ForeignKey:
    return sa.ForeignKey(f"{table}.id", ondelete=on_delete)


def _stamps(*names: str) -> list[Column[datetime]]:
    now = sa.func.now()
    return [Column(name, types.Instant(), server_default=now, nullable=False) for name in names]


def _index(table: str, *names: str) -> None:
    """Create an index for each of these columns."""
    for name in names:
        op.create_index(f"ix_{table}_{name}", table, [name])


def upgrade() -> None:
    op.create_table(
        "diet_tags",
        _id(),
        Column("code", sa.Text(), nullable=False),
        Column("display_name", sa.Text(), nullable=False),
        sa.UniqueConstraint("code", name="diet_tags_code_key"),
    )
    op.create_table(
        "families",
        _id(),
        Column("display_name", sa.Text(), nullable=False),
        Column("invite_code", sa.Text(), nullable=False),
        *_stamps("created_at"),
    )
    op.create_index("ix_families_invite_code", "families", ["invite_code"], unique=True)
    op.create_table(
        "units",
        _id(),
        Column("code", sa.Text(), nullable=False),
        Column("display_name", sa.Text()),
        Column("is_metric", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.UniqueConstraint("code", name="units_code_key"),
    )
    op.create_table(
        "users",
        _id(),
        Column("email", sa.Text(), nullable=False),
        Column("name", sa.Text()),
        Column("phone_number", sa.Text()),
        Column("location", sa.String(length=255)),
        Column("hashed_password", sa.Text(), nullable=False),
        Column("avatar_path", sa.String()),
        Column("status", sa.String(length=50), server_default="active", nullable=False),
        Column("tier", sa.String(length=32), server_default="free", nullable=False),
        Column("gender", sa.String(length=32)),
        Column("age", sa.Integer()),
        Column("weight", sa.Float(precision=53)),
        Column("height", sa.Float(precision=53)),
        Column("calories", sa.Float(precision=53)),
        Column("password_reset_code", sa.String(length=6)),
        Column("password_reset_expires_at", types.Instant()),
        Column("password_reset_attempts", sa.Integer(), nullable=False),
        Column("is_verified", sa.Boolean(), server_default=sa.false(), nullable=False),
        Column("verification_code", sa.String(length=6)),
        Column("verification_expires_at", types.Instant()),
        *_stamps("created_at", "updated_at"),
    )
    op.create_index("ix_users_email", "users", ["email"], unique=True)
    op.create_table(
        "chat_conversations",
        _id(),
        Column("user_id", sa.Integer(), _to("users"), nullable=False),
        Column("title", sa.String(length=255)),
        *_stamps("created_at", "updated_at"),
    )
    op.create_table(
        "family_memberships",
        _id(),
        Column("family_id", sa.Integer(), _to("families", "CASCADE"), nullable=False),
        Column("user_id", sa.Integer(), _to("users", "CASCADE"), nullable=False),
        Column("role", sa.Text(), nullable=False),
        *_stamps("joined_at"),
        sa.CheckConstraint("role IN ('owner', 'admin', 'member')", name="ck_memberships_role"),
        sa.UniqueConstraint("family_id", "user_id", name="uq_membership_family_user"),
    )
    op.create_table(
        "ingredients",
        _id(),
        Column("name", sa.Text(), nullable=False),
        Column("category", sa.Text()),
        Column("canonical_unit_type", _one_of("canonical_unit_type_enum")),
        Column("canonical_unit", sa.Text()),
        Column("avg_weight_per_unit_g", sa.Float(precision=53)),
        Column("density_g_per_ml", sa.Float(precision=53)),
        Column("pieces_per_package", sa.Integer()),
        *_stamps("created_at"),
        sa.UniqueConstraint("name", name="ingredients_name_key"),
    )
    op.create_table(
        "meal_plans",
        _id(),
        Column("family_id", sa.Integer(), _to("families", "CASCADE")),
        Column("title", sa.Text()),
        Column("week_start", sa.Date(), nullable=False),
        Column("week_end", sa.Date()),
        Column("created_by_user_id", sa.Integer(), _to("users", "SET NULL")),
        *_stamps("created_at"),
    )
    op.create_table(
        "meals",
        _id(),
        Column("family_id", sa.Integer(), _to("families", "CASCADE")),
        Column("created_by_user_id", sa.Integer(), _to("users"), nullable=False),
        Column("name", sa.String(length=255), nullable=False),
        Column("image", sa.Text()),
        Column("calories", sa.Integer(), nullable=False),
        Column("prep_time", sa.Integer()),
        Column("cook_time", sa.Integer()),
        Column("total_time", sa.Integer()),
        Column("meal_type", _one_of("mealtype"), nullable=False),
        Column("cuisine", sa.String(length=120)),
        Column("tags", types.Json),
        Column("macros", types.Json),
        Column("difficulty", _one_of("mealdifficulty")),
        Column("servings", sa.Integer()),
        Column("diet_compatibility", types.Json),
        Column("goal_fit", types.Json),
        Column("ingredients", types.Json, nullable=False),
        Column("instructions", types.Json, nullable=False),
        Column("cooking_tools", types.Json),
        Column("notes", sa.Text()),
        Column("is_favorite", sa.Boolean(), nullable=False),
        *_stamps("created_at", "updated_at"),
    )
    op.create_table(
        "oauth_accounts",
        _id(),
        Column("user_id", sa.Integer(), _to("users", "CASCADE"), nullable=False),
        Column("email", sa.String(length=255), nullable=False),
        Column("username", sa.String(length=255), nullable=False),
        Column("provider", sa.String(length=32), nullable=False),
        Column("supabase_user_id", sa.String(length=128), nullable=False),
        *_stamps("created_at"),
        sa.UniqueConstraint("supabase_user_id", name="uq_oauth_accounts_supabase_user_id"),
    )
    op.create_table(
        "recipes",
        _id(),
        Column("family_id", sa.Integer(), _to("families", "CASCADE"), nullable=False),
        Column("title", sa.Text(), nullable=False),
        Column("description", sa.Text()),
        Column("instructions", sa.Text()),
        Column("servings", sa.Integer()),
        Column("created_by_user_id", sa.Integer(), _to("users", "SET NULL")),
        *_stamps("created_at"),
    )
    op.create_table(
        "user_preferences",
        _id(),
        Column("user_id", sa.Integer(), _to("users", "CASCADE"), nullable=False),
        Column("age", sa.Integer()),
        Column("gender", sa.Text()),
        Column("height_cm", sa.Float(precision=53)),
        Column("weight_kg", sa.Float(precision=53)),
        Column(
            "diet_codes", types.TextList(), server_default=functions.empty_list(), nullable=False
        ),
        Column("diet_type", sa.Text()),
        Column(
            "allergen_ingredient_ids",
            types.IntList(),
            server_default=functions.empty_list(),
            nullable=False,
        ),
        Column(
            "food_allergies",
            types.TextList(),
            server_default=functions.empty_list(),
            nullable=False,
        ),
        Column(
            "disliked_ingredient_ids",
            types.IntList(),
            server_default=functions.empty_list(),
            nullable=False,
        ),
        Column("goal", sa.Text(), server_default="balanced", nullable=False),
        Column("is_athlete", sa.Boolean(), server_default=sa.false(), nullable=False),
        Column("training_level", sa.Text()),
        Column("calorie_target", sa.Integer(), server_default=sa.text("2000"), nullable=False),
        *(Column(name, sa.Float(precision=53)) for name in TARGETS.split()),
        Column("calorie_min", sa.Integer()),
        Column("calorie_max", sa.Integer()),
        *_stamps("created_at", "updated_at"),
    )
    op.create_index("ix_user_preferences_user_id", "user_preferences", ["user_id"], unique=True)
    op.create_table(
        "chat_messages",
        _id(),
        Column("conversation_id", sa.Integer(), _to("chat_conversations"), nullable=False),
        Column("role", sa.String(length=20), nullable=False),
        Column("content", sa.Text(), nullable=False),
        Column("is_internal", sa.Integer(), nullable=False),
        Column("image_url", sa.Text()),
        *_stamps("created_at"),
    )
    op.create_table(
        "grocery_lists",
        _id(),
        Column("created_by_user_id", sa.Integer(), _to("users", "SET NULL")),
        Column("meal_plan_id", sa.Integer(), _to("meal_plans", "SET NULL")),
        Column("title", sa.Text()),
        Column("status", sa.Text(), server_default="draft", nullable=False),
        Column("family_id", sa.Integer(), _to("families", "CASCADE")),
        Column("owner_user_id", sa.Integer(), _to("users", "CASCADE")),
        *_stamps("created_at", "updated_at"),
        sa.CheckConstraint(
            ONE_OWNER,
            name="grocery_list_scope_xor",
        ),
    )
    op.create_index("idx_grocery_list_family_status", "grocery_lists", ["family_id", "status"])
    op.create_index("idx_grocery_list_owner_status", "grocery_lists", ["owner_user_id", "status"])
    op.create_table(
        "meal_share_requests",
        _id(),
        Column("meal_id", sa.Integer(), _to("meals", "CASCADE"), nullable=False),
        Column("sender_user_id", sa.Integer(), _to("users", "CASCADE"), nullable=False),
        Column("recipient_user_id", sa.Integer(), _to("users", "CASCADE"), nullable=False),
        Column("family_id", sa.Integer(), _to("families", "CASCADE")),
        Column("accepted_meal_id", sa.Integer(), _to("meals", "SET NULL")),
        Column("status", _one_of("meal_share_request_status"), nullable=False),
        Column("message", sa.String(length=500)),
        Column("responded_at", types.Instant()),
        *_stamps("created_at", "updated_at"),
    )
    op.create_index(
        "idx_msr_family_status_created",
        "meal_share_requests",
        ["family_id", "status", "created_at"],
    )
    op.create_index(
        "idx_msr_recipient_status", "meal_share_requests", ["recipient_user_id", "status"]
    )
    op.create_index(
        "idx_msr_sender_created", "meal_share_requests", ["sender_user_id", "created_at"]
    )
    op.create_table(
        "meal_slots",
        _id(),
        Column("meal_plan_id", sa.Integer(), _to("meal_plans", "CASCADE"), nullable=False),
        Column("day", sa.Integer(), nullable=False),
        Column("slot", sa.Text(), nullable=False),
        Column("servings", sa.Integer()),
        Column("notes", sa.Text()),
    )
    op.create_table(
        "pantry_items",
        _id(),
        Column("ingredient_id", sa.Integer(), _to("ingredients", "CASCADE")),
        Column("quantity", types.Quantity()),
        Column("unit", sa.String(length=64)),
        Column("expires_at", sa.Date()),
        Column("category", sa.String(length=64)),
        Column("image_url", sa.String(length=512)),
        Column("canonical_quantity", types.Quantity()),
        Column("canonical_unit", sa.String(length=16)),
        Column("family_id", sa.Integer(), _to("families", "CASCADE")),
        Column("owner_user_id", sa.Integer(), _to("users", "CASCADE")),
        *_stamps("created_at", "updated_at"),
        sa.CheckConstraint(
            ONE_OWNER,
            name="pantry_scope_xor",
        ),
    )
    op.create_index("idx_pantry_family_expires", "pantry_items", ["family_id", "expires_at"])
    op.create_index("idx_pantry_owner_expires", "pantry_items", ["owner_user_id", "expires_at"])
    op.create_table(
        "recipe_diet_tags",
        Column("recipe_id", sa.Integer(), _to("recipes", "CASCADE"), nullable=False),
        Column("diet_tag_id", sa.Integer(), _to("diet_tags", "CASCADE"), nullable=False),
        sa.PrimaryKeyConstraint("recipe_id", "diet_tag_id", name="recipe_diet_tags_pkey"),
    )
    op.create_table(
        "recipe_ingredients",
        _id(),
        Column("recipe_id", sa.Integer(), _to("recipes", "CASCADE"), nullable=False),
        Column("ingredient_id", sa.Integer(), _to("ingredients", "CASCADE"), nullable=False),
        Column("quantity", types.ExactNumber()),
        Column("unit_id", sa.Integer(), _to("units")),
        Column("canonical_quantity", types.Quantity()),
        Column("canonical_unit", sa.String(length=16)),
    )
    op.create_table(
        "grocery_list_items",
        _id(),
        Column("ingredient_id", sa.Integer(), _to("ingredients", "CASCADE"), nullable=False),
        Column("quantity", types.Quantity()),
        Column("unit_id", sa.Integer(), _to("units")),
        Column("checked", sa.Boolean(), server_default=sa.false(), nullable=False),
        Column("note", sa.Text()),
        Column("canonical_quantity_needed", types.Quantity()),
        Column("canonical_unit", sa.String(length=16)),
        Column("is_purchased", sa.Boolean(), server_default=sa.false(), nullable=False),
        Column("is_manual", sa.Boolean(), server_default=sa.false(), nullable=False),
        Column("source_meal_plan_id", sa.Integer(), _to("meal_plans", "SET NULL")),
        Column("grocery_list_id", sa.Integer(), _to("grocery_lists", "CASCADE"), nullable=False),
    )
    op.create_table(
        "meal_slot_meals",
        _id(),
        Column("meal_slot_id", sa.Integer(), _to("meal_slots", "CASCADE"), nullable=False),
        Column("meal_id", sa.Integer(), _to("meals", "CASCADE"), nullable=False),
        Column("portions", sa.Integer()),
    )
    op.create_table(
        "notifications",
        _id(),
        Column("user_id", sa.Integer(), _to("users", "CASCADE"), nullable=False),
        Column("type", _one_of("notification_type"), nullable=False),
        Column("title", sa.String(length=255), nullable=False),
        Column("message", sa.Text(), nullable=False),
        Column("related_meal_id", sa.Integer(), _to("meals", "CASCADE")),
        Column("related_user_id", sa.Integer(), _to("users", "CASCADE")),
        Column("related_family_id", sa.Integer(), _to("families", "CASCADE")),
        Column("related_share_request_id", sa.Integer(), _to("meal_share_requests", "CASCADE")),
        Column("is_read", sa.Boolean(), nullable=False),
        Column("read_at", types.Instant()),
        *_stamps("created_at"),
    )
    op.create_index("idx_notif_user_created", "notifications", ["user_id", "created_at"])
    op.create_index(
        "idx_notif_user_read_created", "notifications", ["user_id", "is_read", "created_at"]
    )
    _index("users", "created_at", "password_reset_code", "status", "tier", "verification_code")
    _index("chat_conversations", "id")
    _index("family_memberships", "family_id", "user_id")
    _index("chat_messages", "id")
    _index("grocery_lists", "created_by_user_id", "family_id", "owner_user_id")
    _index(
        "meal_share_requests",
        "created_at",
        "family_id",
        "meal_id",
        "recipient_user_id",
        "sender_user_id",
        "status",
    )
    _index("pantry_items", "category", "expires_at", "family_id", "owner_user_id")
    _index("grocery_list_items", "source_meal_plan_id")
    _index("notifications", "created_at", "is_read", "user_id")


def downgrade() -> None:
    for table in LAST_FIRST:
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"DROP TYPE {', '.join(ENUMS)}")
