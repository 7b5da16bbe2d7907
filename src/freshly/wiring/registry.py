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
    Domain("users", "users", "The person"),
    Domain("preferences", "preferences", "What a person eats and aims at"),
    Domain("auth", "auth", "Accounts, sign-in, codes by mail"),
    Domain("families", "families", "Who belongs together, and who may do what"),
    Domain("usage"),
    Domain("ingredients", "ingredients", "The catalogue of foods, and units"),
    Domain("storage", "storage", "Pictures"),
    Domain("pantry", "pantry", "What is in the kitchen"),
    Domain("recipes", "recipes", "How a family cooks it; diet tags"),
    Domain("meals", "meals", "Dishes that a person keeps"),
    Domain("meal_plans", "meal plans", "Meals on the days of a week"),
    Domain("grocery", "grocery lists", "What to buy"),
    Domain("notifications", "notifications", "What a person is told"),
    Domain("sharing", "sharing", "Offering a meal to somebody"),
    Domain("chat", "chat", "The assistant: conversations, scans, pictures"),
    Domain("account"),
)


def public_routers() -> Iterator[APIRouter]:
    return (domain.public for domain in DOMAINS if domain.public is not None)


def signed_in_routers() -> Iterator[APIRouter]:
    return (domain.router for domain in DOMAINS if domain.router is not None)


def tags() -> dict[str, str]:
    """Return the description of each tag of the API document, the chassis' own included."""
    return {
        "system": "Is it there, and is it well",
        **{domain.tag: domain.about for domain in DOMAINS if domain.tag},
        "jobs": "What takes longer",
    }
