"""The foods that ship with Freshly. README.md in this folder names the source of each number."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path

from freshly.domains.ingredients.names import NameIndex

FOODS = Path(__file__).with_name("foods.csv")
LANGUAGES = ("en", "de", "fr", "es")
NUTRIENTS = ("kcal", "protein_g", "carbohydrate_g", "fat_g", "fibre_g", "salt_g")
PLACES = ("pantry", "fridge", "freezer")


@dataclass(frozen=True)
class CatalogueFood:
    name: str
    aisle: str
    kind: str
    unit: str
    density: float | None  # g/ml
    piece_weight: float | None  # g
    measures: Mapping[str, Decimal]  # grams by unit code
    shelf_life: Mapping[str, int | None]  # days by place
    allergens: list[str] | None  # None: unknown
    nutrition: Mapping[str, float | None]  # per 100 g
    aliases: Mapping[str, list[str]]  # by language
    source: str


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split("|") if part.strip()]


def _number(text: str) -> float | None:
    return float(text) if text.strip() else None


def _food(row: Mapping[str, str]) -> CatalogueFood:
    allergens = _parts(row["allergens"])
    return CatalogueFood(
        name=row["name"],
        aisle=row["aisle"],
        kind=row["canonical_unit_type"],
        unit=row["canonical_unit"],
        density=_number(row["density_g_per_ml"]),
        piece_weight=_number(row["piece_weight_g"]),
        measures={
            code: Decimal(grams)
            for code, _, grams in (part.partition(":") for part in _parts(row["measures"]))
        },
        shelf_life={
            place: int(days) if (days := row[f"{place}_days"].strip()) else None for place in PLACES
        },
        allergens=None if "unknown" in allergens else [a for a in allergens if a != "none"],
        nutrition={nutrient: _number(row[nutrient]) for nutrient in NUTRIENTS},
        aliases={language: _parts(row[f"aliases_{language}"]) for language in LANGUAGES},
        source=row["source"],
    )


@cache
def foods() -> tuple[CatalogueFood, ...]:
    with FOODS.open(encoding="utf-8", newline="") as file:
        return tuple(_food(row) for row in csv.DictReader(file))


@cache
def name_index() -> NameIndex:
    names = (
        (food.name, [alias for aliases in food.aliases.values() for alias in aliases])
        for food in foods()
    )
    return NameIndex.of(names)
