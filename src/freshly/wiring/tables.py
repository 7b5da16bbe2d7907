"""Every table, whichever domain one starts from; for migrations and for the app's start."""

from importlib import import_module

from sqlalchemy import MetaData

from freshly.chassis.data.base import Base

DOMAINS = (
    "users",
    "preferences",
    "auth",
    "families",
    "usage",
    "ingredients",
    "pantry",
    "recipes",
    "meals",
    "meal_plans",
    "grocery",
    "notifications",
    "sharing",
    "chat",
)


def all_tables() -> MetaData:
    import_module("freshly.chassis.jobs.models")
    import_module("freshly.chassis.data.idempotency_keys")
    for domain in DOMAINS:
        import_module(f"freshly.domains.{domain}.models")
    return Base.metadata
