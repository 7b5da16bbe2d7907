"""Creates the household and its week with calls of the API, as an app would."""

import secrets
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import cycle

from pydantic import BaseModel
from rich.progress import Progress

from freshly.commands.demo.api import Api
from freshly.commands.demo.household import DAYS, Household, PlannedSlot
from freshly.domains.auth.schemas import Tokens
from freshly.domains.families.schemas import FamilyRead, MembershipRead
from freshly.domains.grocery.schemas import Explanation, GroceryListRead, Rebuilt
from freshly.domains.ingredients.schemas import IngredientRead
from freshly.domains.meal_plans.schemas import MealPlanRead, SlotRead
from freshly.domains.pantry.schemas import PantryItemRead
from freshly.domains.users.schemas import UserRead

COOKS = 2  # members who keep meals: the parents


class _CreatedMeal(BaseModel):
    """The only member of a created meal that the demo reads."""

    id: int


@dataclass(frozen=True)
class Member:
    user: UserRead
    password: str
    api: Api


@dataclass(frozen=True)
class Shopping:
    """A shopping list, its explanation, and the ingredients by id."""

    to_buy: GroceryListRead
    explanation: Explanation
    foods: dict[int, IngredientRead]


@dataclass(frozen=True)
class PlannedWeek:
    """The created household, as the server returned it. `meals` is their number."""

    members: list[Member]
    family: FamilyRead
    pantry: list[PantryItemRead]
    meals: int
    plan: MealPlanRead
    slots: list[SlotRead]
    shopping: Shopping


@dataclass
class HouseholdBuilder:
    anonymous: Api
    household: Household
    monday: date
    progress: Progress

    def build(self) -> PlannedWeek:
        members = self._create_accounts()
        family = self._create_family(members)
        founder = members[0].api
        pantry = self._fill_pantry(founder, family)
        meals = self._create_meals([member.api for member in members[:COOKS]], family)
        plan = self._create_plan(founder, family)
        return PlannedWeek(
            members=members,
            family=founder.get(f"/families/{family.id}", FamilyRead),
            pantry=pantry,
            meals=len(meals),
            plan=plan,
            slots=self._plan_meals(founder, plan, meals),
            shopping=self._create_list(founder, plan),
        )

    def _create_accounts(self) -> list[Member]:
        suffix = secrets.token_hex(4)  # so that the demo can run again on the same server
        people = self.progress.track(self.household.people, description="Opening accounts")
        return [self._create_account(name, suffix) for name in people]

    def _create_account(self, name: str, suffix: str) -> Member:
        password = secrets.token_urlsafe(12)
        credentials = {"email": f"{name.lower()}.{suffix}@example.com", "password": password}
        user = self.anonymous.post("/auth/register", UserRead, {**credentials, "name": name})
        tokens = self.anonymous.post("/auth/login", Tokens, credentials)
        return Member(user, password, self.anonymous.signed_in(tokens.access_token))

    def _create_family(self, members: list[Member]) -> FamilyRead:
        founder, *others = members
        name = {"display_name": self.household.family}
        family = founder.api.post("/families", FamilyRead, name)
        for member in self.progress.track(others, description="Joining the family"):
            code = {"invite_code": family.invite_code}
            member.api.post("/families/join", MembershipRead, code)
        return family

    def _fill_pantry(self, api: Api, family: FamilyRead) -> list[PantryItemRead]:
        return [
            api.post(
                "/pantry-items",
                PantryItemRead,
                {
                    "name": stock.name,
                    "quantity": str(stock.quantity),
                    "unit": stock.unit,
                    "expires_at": expires.isoformat() if expires else None,
                    "family_id": family.id,
                },
            )
            for stock in self.progress.track(
                self.household.pantry, description="Filling the pantry"
            )
            for expires in [stock.expires_on(self.monday)]
        ]

    def _create_meals(self, cooks: list[Api], family: FamilyRead) -> dict[str, int]:
        """Create the meals of the family, and return their ids by name. The cooks take turns."""
        dishes = self.progress.track(self.household.meals, description="Writing down meals")
        return {
            dish.name: cook.post("/meals/me", _CreatedMeal, dish.request_body(family.id)).id
            for dish, cook in zip(dishes, cycle(cooks), strict=False)
        }

    def _create_plan(self, api: Api, family: FamilyRead) -> MealPlanRead:
        sunday = self.monday + timedelta(days=len(DAYS) - 1)
        week = {"week_start": self.monday.isoformat(), "week_end": sunday.isoformat()}
        title = self.household.plan
        return api.post(
            "/meal-plans", MealPlanRead, {"family_id": family.id, "title": title, **week}
        )

    def _plan_meals(self, api: Api, plan: MealPlanRead, meals: dict[str, int]) -> list[SlotRead]:
        for slot in self.progress.track(self.household.week, description="Planning the week"):
            path = f"/meal-plans/{plan.id}/slots/{slot.day_number}/{slot.slot}"
            api.put(path, SlotRead, _slot_body(slot, meals))
        return api.get(f"/meal-plans/{plan.id}/slots", list[SlotRead])

    def _create_list(self, api: Api, plan: MealPlanRead) -> Shopping:
        task = self.progress.add_task("Writing the list", total=4)
        rebuilt = api.post(f"/grocery-lists/rebuild-from-meal-plan/{plan.id}", Rebuilt)
        self.progress.advance(task)
        path = f"/grocery-lists/{rebuilt.grocery_list.id}"
        to_buy = api.get(path, GroceryListRead)
        self.progress.advance(task)
        explanation = api.get(f"{path}/explanation", Explanation)
        self.progress.advance(task)
        foods = api.get("/ingredients", list[IngredientRead])
        self.progress.advance(task)
        return Shopping(to_buy, explanation, {food.id: food for food in foods})


def _slot_body(slot: PlannedSlot, meals: dict[str, int]) -> dict[str, object]:
    return {
        "servings": slot.servings,
        "meals": [
            {"meal_id": meals[name], "portions": slot.portions.get(name)} for name in slot.meals
        ],
    }
