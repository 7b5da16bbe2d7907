"""The registry of domains. The app, the tables and the API's tags are built from this list."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from fastapi import APIRouter


@dataclass(frozen=True)
class Domain:
    """A folder in `freshly.domains`.

    Its `endpoints.py`, if it has one, exports `router` (for signed-in users), `public`, or both.
    """

    name: str
    tag: str = ""  # groups its routes in the API document
    about: str = ""  # describes the tag there

    @property
    def public(self) -> APIRouter | None:
        return getattr(self._module("endpoints"), "public", None)

    @property
    def router(self) -> APIRouter | None:
        return getattr(self._module("endpoints"), "router", None)

    def import_models(self) -> None:
        self._module("models")

    def _module(self, name: str) -> ModuleType | None:
        full = f"freshly.domains.{self.name}.{name}"
        return import_module(full) if find_spec(full) else None


# Ordered from the bottom up. A domain may import only those before it; import-linter checks this.
DOMAINS = (
    Domain("users", "users", "Profile and activity of the signed-in user"),
    Domain("preferences", "preferences", "Diet, allergies and targets"),
    Domain("auth", "auth", "Accounts, sign-in, sessions and email codes"),
    Domain("administration", "administration", "Accounts, for administrators"),
    Domain("families", "families", "Families, members and roles"),
    Domain("usage"),
    Domain("ingredients", "ingredients", "Foods and units"),
    Domain("storage", "storage", "Pictures and other files"),
    Domain("pantry", "pantry", "Food that a user or a family has at home"),
    Domain("recipes", "recipes", "Recipes of a family, and diet tags"),
    Domain("meals", "meals", "Dishes that a user stores"),
    Domain("meal_plans", "meal plans", "Meals planned for the days of a week"),
    Domain("grocery", "grocery lists", "What to buy"),
    Domain("notifications", "notifications", "Notifications, and which of them a user wants"),
    Domain("sharing", "sharing", "Offers of a meal to another user"),
    Domain("chat", "chat", "The assistant: conversations, scans, images"),
    Domain("account"),
)


def public_routers() -> Iterator[APIRouter]:
    return (domain.public for domain in DOMAINS if domain.public is not None)


def signed_in_routers() -> Iterator[APIRouter]:
    return (domain.router for domain in DOMAINS if domain.router is not None)


def tags() -> dict[str, str]:
    """Return the description of each tag of the API document, the chassis' own included."""
    return {
        "system": "Health and readiness",
        **{domain.tag: domain.about for domain in DOMAINS if domain.tag},
        "jobs": "Background jobs of the user",
    }
