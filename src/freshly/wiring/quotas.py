"""Quotas: how much one user or one family may store. 0 means no limit."""

from dataclasses import replace

from freshly.chassis.data.quotas import Quota, Quotas
from freshly.settings import BadSettings, Settings

MEGABYTE = 2**20
DEFAULTS = (
    Quota("pantry_items", 5_000, "pantry items"),
    Quota("foods", 2_000, "foods of your own"),
    Quota("meals", 5_000, "meals"),
    Quota("recipes", 5_000, "recipes"),
    Quota("meal_plans", 1_000, "meal plans"),
    Quota("planned_meals", 50_000, "planned meals"),
    Quota("grocery_lists", 1_000, "shopping lists"),
    Quota("grocery_items", 20_000, "lines on shopping lists"),
    Quota("offers", 2_000, "offers of meals"),
    Quota("conversations", 2_000, "conversations"),
    Quota("messages", 20_000, "messages in conversations"),
    Quota("texts", 50 * MEGABYTE, "text", in_bytes=True),
    Quota("files", 500 * MEGABYTE, "pictures", in_bytes=True, enforced_by_flush=False),
    Quota("stored_responses", 50 * MEGABYTE, "stored responses", True, enforced_by_flush=False),
    Quota("families", 100, "families"),
    Quota("members", 200, "members"),
    # A new sign-in ends the oldest one, so no user is locked out.
    Quota("sessions", 50, "sessions", enforced_by_flush=False),
    Quota("jobs", 100, "background jobs"),
)


def quotas(settings: Settings) -> Quotas:
    """Return the quotas by name, with the limits of the settings. Raises BadSettings."""
    known = {quota.name: quota for quota in DEFAULTS}
    for name, limit in settings.quotas.items():
        if name not in known:
            raise BadSettings(f"QUOTAS: {name} is not one of {', '.join(known)}")
        known[name] = replace(known[name], limit=limit)
    return known
