"""Which of the database's rows are a person's: decided for each table, column and foreign key.

tests/domains/account/test_data_ownership.py holds this against the schema, so that whoever adds a
table, a column or a reference to a person decides here whether it is exported.

Of what a family has in common, the person's is what they made: meals, plans, lists, recipes. What
nobody in particular put there, such as the family's shelves, stays the family's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

SOMEBODY_ELSE = "tells of somebody else's doing, whose row it is"
ANOTHERS_PLAN = "says that somebody planned the meal, on a plan that may not be the person's"
ANOTHERS_NEED = "says why something is on a list, which may not be the person's"
SECRET = "a secret"  # noqa: S105 - a reason
MACHINERY = "says how the work is done, and nothing of the person"
CATALOGUE = "the catalogue's, the same for everybody"


@dataclass(frozen=True)
class TableOwnership:
    """A table of which some rows are a person's."""

    name: str  # of the file in the export
    columns: str
    owner_columns: tuple[str, ...] = ()  # columns that name the person whose row it is
    cascades_from: tuple[str, ...] = ()  # foreign keys to rows which take it along
    # The rows that rows of the person's refer to: by which column, of which table.
    referenced_by: tuple[str, str] | None = None
    # A family's rows are for its members only: who made one and left has it no more.
    members_only: bool = False
    other_keys: Mapping[str, str] = field(default_factory=dict)  # why they make it nobody's
    excluded: Mapping[str, str] = field(default_factory=dict)  # columns, and why

    @property
    def exported(self) -> list[str]:
        return self.columns.split()


BELONGINGS: Mapping[str, TableOwnership] = {
    "users": TableOwnership(
        "profile",
        "id email name phone_number location avatar_path status tier gender age weight height"
        " calories is_verified created_at updated_at",
        owner_columns=("id",),
        excluded={
            "hashed_password": SECRET,
            **dict.fromkeys(("password_reset_code", "verification_code"), SECRET),
            **dict.fromkeys(
                (
                    "password_reset_expires_at",
                    "password_reset_attempts",
                    "verification_expires_at",
                ),
                "of a code, which is a secret",
            ),
        },
    ),
    "user_preferences": TableOwnership(
        "preferences",
        "id user_id age gender height_cm weight_kg diet_codes diet_type allergen_ingredient_ids"
        " food_allergies disliked_ingredient_ids goal is_athlete training_level calorie_target"
        " protein_grams carb_grams fat_grams protein_calories carb_calories fat_calories"
        " calorie_min calorie_max created_at updated_at",
        owner_columns=("user_id",),
    ),
    "oauth_accounts": TableOwnership(
        "google_and_apple",
        "id user_id email username provider supabase_user_id created_at",
        owner_columns=("user_id",),
    ),
    "sign_ins": TableOwnership(
        "sign_ins",
        "id user_id address user_agent created_at last_used_at expires_at revoked_at",
        owner_columns=("user_id",),
    ),
    "activities": TableOwnership(
        "activity",
        "id user_id kind outcome other_user_id family_id detail address user_agent session_id"
        " correlation_id created_at",
        owner_columns=("user_id",),
        other_keys={"other_user_id": SOMEBODY_ELSE},
    ),
    "jobs": TableOwnership(
        "jobs",
        "id user_id kind state progress error created_at updated_at finished_at",
        owner_columns=("user_id",),
        excluded={
            "result_url": "opens the file to anybody who has it",
            **dict.fromkeys(
                (
                    *("payload", "priority", "dedup_key", "correlation_id", "again", "attempts"),
                    *("taken", "deaths", "worker_id", "run_after"),
                ),
                MACHINERY,
            ),
        },
    ),
    "family_memberships": TableOwnership(
        "memberships", "id family_id user_id role joined_at", owner_columns=("user_id",)
    ),
    "families": TableOwnership(
        "families",
        "id display_name created_at",
        referenced_by=("family_memberships", "family_id"),
        excluded={"invite_code": "lets anybody in who has it"},
    ),
    "ingredients": TableOwnership(
        "ingredients_i_added",
        "id name category canonical_unit_type canonical_unit avg_weight_per_unit_g"
        " density_g_per_ml pieces_per_package food_id created_by_user_id created_at",
        owner_columns=("created_by_user_id",),
        other_keys={"food_id": "another name of a food of the catalogue"},
    ),
    "pantry_items": TableOwnership(
        "pantry",
        "id family_id owner_user_id ingredient_id quantity unit expires_at category image_url"
        " canonical_quantity canonical_unit created_at updated_at",
        owner_columns=("owner_user_id",),
        other_keys={"ingredient_id": "some of a food that the person may have named"},
    ),
    "recipes": TableOwnership(
        "recipes_i_wrote",
        "id family_id title description instructions servings created_by_user_id created_at",
        owner_columns=("created_by_user_id",),
        members_only=True,
    ),
    "recipe_ingredients": TableOwnership(
        "recipe_ingredients",
        "id recipe_id ingredient_id quantity unit_id canonical_quantity canonical_unit",
        cascades_from=("recipe_id",),
        other_keys={"ingredient_id": "some of a food that the person may have named"},
    ),
    "recipe_diet_tags": TableOwnership(
        "recipe_diet_tags", "recipe_id diet_tag_id", cascades_from=("recipe_id",)
    ),
    "meals": TableOwnership(
        "meals",
        "id created_by_user_id family_id name calories meal_type image prep_time cook_time"
        " total_time cuisine tags macros difficulty servings diet_compatibility goal_fit"
        " ingredients instructions cooking_tools notes is_favorite created_at updated_at",
        owner_columns=("created_by_user_id",),
    ),
    "meal_plans": TableOwnership(
        "meal_plans",
        "id week_start week_end family_id title created_by_user_id created_at",
        owner_columns=("created_by_user_id",),
        members_only=True,
    ),
    "meal_slots": TableOwnership(
        "meal_plan_slots",
        "id meal_plan_id day slot servings notes",
        cascades_from=("meal_plan_id",),
    ),
    "meal_slot_meals": TableOwnership(
        "meal_plan_meals",
        "id meal_slot_id meal_id portions",
        cascades_from=("meal_slot_id",),
        other_keys={"meal_id": ANOTHERS_PLAN},
    ),
    "grocery_lists": TableOwnership(
        "grocery_lists",
        "id family_id owner_user_id created_by_user_id meal_plan_id title status created_at"
        " updated_at",
        owner_columns=("owner_user_id", "created_by_user_id"),
        members_only=True,
        other_keys={"meal_plan_id": "somebody's list for a plan of the person's"},
    ),
    "grocery_list_items": TableOwnership(
        "grocery_list_items",
        "id grocery_list_id ingredient_id quantity unit_id checked note canonical_quantity_needed"
        " canonical_unit is_purchased is_manual source_meal_plan_id needed_quantity needed_unit",
        cascades_from=("grocery_list_id",),
        other_keys={"ingredient_id": ANOTHERS_NEED, "source_meal_plan_id": ANOTHERS_NEED},
    ),
    "grocery_needs": TableOwnership(
        "grocery_reasons",
        "id grocery_list_id ingredient_id meal_id meal_name needed_on quantity unit text",
        cascades_from=("grocery_list_id",),
        other_keys={"ingredient_id": ANOTHERS_NEED, "meal_id": ANOTHERS_NEED},
    ),
    "grocery_reservations": TableOwnership(
        "grocery_taken_from_pantry",
        "id grocery_list_id ingredient_id pantry_item_id quantity unit expires_at",
        cascades_from=("grocery_list_id",),
        other_keys={"ingredient_id": ANOTHERS_NEED, "pantry_item_id": ANOTHERS_NEED},
    ),
    "notifications": TableOwnership(
        "notifications",
        "id user_id type title message related_meal_id related_user_id related_family_id"
        " related_share_request_id is_read read_at created_at",
        owner_columns=("user_id",),
        other_keys=dict.fromkeys(
            ("related_user_id", "related_meal_id", "related_share_request_id"), SOMEBODY_ELSE
        ),
    ),
    "notice_choices": TableOwnership(
        "notice_choices", "id user_id digest digest_on", owner_columns=("user_id",)
    ),
    "meal_share_requests": TableOwnership(
        "offered_meals",
        "id meal_id sender_user_id recipient_user_id family_id accepted_meal_id status message"
        " responded_at created_at updated_at",
        owner_columns=("sender_user_id", "recipient_user_id"),
        other_keys=dict.fromkeys(
            ("meal_id", "accepted_meal_id"), "its sender and its recipient are named"
        ),
    ),
    "chat_conversations": TableOwnership(
        "conversations", "id user_id title created_at updated_at", owner_columns=("user_id",)
    ),
    "model_usage": TableOwnership(
        "assistant_usage",
        "id family_id owner_user_id day tokens calls pictures",
        owner_columns=("owner_user_id",),
    ),
    "chat_messages": TableOwnership(
        "messages",
        "id conversation_id role content is_internal image_url interrupted created_at",
        cascades_from=("conversation_id",),
    ),
}

# Tables of which nothing is exported, and why.
NOT_EXPORTED: Mapping[str, str] = {
    "refresh_tokens": SECRET,
    "email_codes": SECRET,
    "units": CATALOGUE,
    "diet_tags": CATALOGUE,
    "foods": CATALOGUE,
    "ingredient_measures": CATALOGUE,
    "idempotency_keys": "answers that the person was given, kept sealed for a day",
    "job_workers": MACHINERY,
    "job_schedules": MACHINERY,
}
