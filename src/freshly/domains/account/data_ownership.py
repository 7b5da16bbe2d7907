"""Decides for each table, column and foreign key which rows belong to a user and are exported.

tests/domains/account/test_data_ownership.py compares this with the schema, so that each new table,
column or reference to a user needs a decision here.

Of a family's rows, those that the user created belong to the user: meals, plans, lists and recipes.
Rows without a creator, such as the family's pantry items, belong to the family.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

OTHER_USERS_ROW = "the row belongs to another user and describes what that user did"
PLAN_OF_OTHERS = "the plan with the meal may belong to another user"
NEED_OF_OTHERS = "the list with the line may belong to another user"
SECRET = "a secret"  # noqa: S105 - a reason
INTERNAL = "internal state, without data about the user"
DELETED_FAMILY = "the family is deleted for its members, who can undo it for seven days"
CATALOGUE = "the catalogue, which is the same for all users"


@dataclass(frozen=True)
class TableOwnership:
    """The rule that decides which rows of a table belong to a user."""

    name: str  # the file in the export, without ".json"
    columns: str  # exported columns, separated by spaces
    owner_columns: tuple[str, ...] = ()  # columns that hold the id of the owner
    cascades_from: tuple[str, ...] = ()  # foreign keys to rows with the same owner
    # The (table, column) whose rows of the user refer to rows of this table.
    referenced_by: tuple[str, str] | None = None
    # True if a user who created a row and left the family no longer owns it.
    members_only: bool = False
    other_keys: Mapping[str, str] = field(
        default_factory=dict
    )  # foreign keys that do not decide, and why
    excluded: Mapping[str, str] = field(
        default_factory=dict
    )  # columns that are not exported, and why

    @property
    def exported(self) -> list[str]:
        return self.columns.split()


TABLE_OWNERSHIP: Mapping[str, TableOwnership] = {
    "users": TableOwnership(
        "profile",
        "id email pending_email name phone_number location avatar_path status tier gender age"
        " weight height calories shares_profile is_verified delete_after is_administrator"
        " created_at updated_at",
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
                "belongs to a code, which is a secret",
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
        other_keys={"other_user_id": OTHER_USERS_ROW},
    ),
    "jobs": TableOwnership(
        "jobs",
        "id user_id kind state progress error created_at updated_at finished_at",
        owner_columns=("user_id",),
        excluded={
            "result_url": "the file is gone after an hour",
            **dict.fromkeys(
                (
                    *("payload", "priority", "dedup_key", "correlation_id", "again", "attempts"),
                    *("taken", "deaths", "worker_id", "run_after", "traceparent"),
                ),
                INTERNAL,
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
        excluded={
            **dict.fromkeys(
                ("invite_code", "invite_code_expires_at"),
                "anyone who has the code can join the family",
            ),
            "delete_after": "null, because a closed family has no members",
        },
    ),
    "family_invitations": TableOwnership(
        "invitations",
        "id family_id created_by_user_id role uses_left expires_at created_at",
        owner_columns=("created_by_user_id",),
        members_only=True,
        excluded=dict.fromkeys(
            ("token_hash", "code_hash", "code_expires_at"), "anyone who has the code can join"
        ),
    ),
    "ingredients": TableOwnership(
        "ingredients_i_added",
        "id name family_id owner_user_id category canonical_unit_type canonical_unit"
        " avg_weight_per_unit_g density_g_per_ml pieces_per_package shelf_life food_id"
        " created_by_user_id created_at",
        owner_columns=("owner_user_id", "created_by_user_id"),
        members_only=True,
        other_keys={"food_id": "another name of a food of the catalogue or of the same owner"},
    ),
    "ingredient_measures": TableOwnership(
        "measures_of_ingredients_i_added",
        "id ingredient_id unit_code grams",
        cascades_from=("ingredient_id",),
    ),
    "pantry_items": TableOwnership(
        "pantry",
        "id family_id owner_user_id ingredient_id quantity unit expires_at category image_url"
        " canonical_quantity canonical_unit created_at updated_at",
        owner_columns=("owner_user_id",),
        other_keys={"ingredient_id": "the row contains an ingredient that the user may have added"},
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
        other_keys={"ingredient_id": "the row contains an ingredient that the user may have added"},
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
        other_keys={"meal_id": PLAN_OF_OTHERS},
    ),
    "grocery_lists": TableOwnership(
        "grocery_lists",
        "id family_id owner_user_id created_by_user_id meal_plan_id title status created_at"
        " updated_at",
        owner_columns=("owner_user_id", "created_by_user_id"),
        members_only=True,
        other_keys={"meal_plan_id": "the list for the user's plan may belong to another user"},
    ),
    "grocery_list_items": TableOwnership(
        "grocery_list_items",
        "id grocery_list_id ingredient_id quantity unit_id checked note canonical_quantity_needed"
        " canonical_unit is_purchased is_manual source_meal_plan_id needed_quantity needed_unit",
        cascades_from=("grocery_list_id",),
        other_keys={"ingredient_id": NEED_OF_OTHERS, "source_meal_plan_id": NEED_OF_OTHERS},
    ),
    "grocery_needs": TableOwnership(
        "grocery_reasons",
        "id grocery_list_id ingredient_id meal_id meal_name needed_on quantity unit text",
        cascades_from=("grocery_list_id",),
        other_keys={"ingredient_id": NEED_OF_OTHERS, "meal_id": NEED_OF_OTHERS},
    ),
    "grocery_reservations": TableOwnership(
        "grocery_taken_from_pantry",
        "id grocery_list_id ingredient_id pantry_item_id quantity unit expires_at",
        cascades_from=("grocery_list_id",),
        other_keys={"ingredient_id": NEED_OF_OTHERS, "pantry_item_id": NEED_OF_OTHERS},
    ),
    "notifications": TableOwnership(
        "notifications",
        "id user_id type title message related_meal_id related_meal_name related_user_id"
        " related_family_id related_share_request_id is_read read_at created_at",
        owner_columns=("user_id",),
        other_keys=dict.fromkeys(
            ("related_user_id", "related_meal_id", "related_share_request_id"), OTHER_USERS_ROW
        ),
    ),
    "notice_choices": TableOwnership(
        "notice_choices", "id user_id digest digest_on", owner_columns=("user_id",)
    ),
    "meal_share_requests": TableOwnership(
        "offered_meals",
        "id meal_id offered_meal sender_user_id recipient_user_id family_id accepted_meal_id"
        " status message responded_at created_at updated_at",
        owner_columns=("sender_user_id", "recipient_user_id"),
        other_keys=dict.fromkeys(
            ("meal_id", "accepted_meal_id"), "the columns for sender and recipient decide"
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

# Tables that are not exported, and why.
NOT_EXPORTED: Mapping[str, str] = {
    "refresh_tokens": SECRET,
    "email_codes": SECRET,
    "account_codes": SECRET,
    "account_links": SECRET,
    "sign_up_invitations": SECRET,
    "administrator_acts": "the operator's record; acts on an account are in its activity, too",
    "closed_memberships": DELETED_FAMILY,
    "closed_references": DELETED_FAMILY,
    "units": CATALOGUE,
    "diet_tags": CATALOGUE,
    "foods": CATALOGUE,
    "idempotency_keys": "encrypted copies of responses, deleted after a day",
    "job_workers": INTERNAL,
    "job_schedules": INTERNAL,
    "serves_since": INTERNAL,
}
