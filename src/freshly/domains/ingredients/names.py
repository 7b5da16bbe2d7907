"""Finds the food of the catalogue that a text names.

The index tries in this order:
1. a name or an alias, in singular or plural;
2. the same after removing amounts and descriptions ("2 large diced onions" is "onion");
3. a name at the end of the text ("boneless chicken breast"), unless the words before it make
   another food of it (hemp milk is not milk);
4. a name with a typing mistake.
It never matches a substring of a word.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from rapidfuzz import fuzz, process

IRREGULAR = {
    "leaves": "leaf", "loaves": "loaf", "halves": "half", "knives": "knife", "calves": "calf",
    "geese": "goose", "cookies": "cookie", "brownies": "brownie", "smoothies": "smoothie",
    "pies": "pie", "calories": "calorie", "anchovies": "anchovy", "chilies": "chili",
    "chillies": "chili", "chilli": "chili", "chile": "chili", "chiles": "chili", "fungi": "fungus",
    "cactuses": "cactus", "octopuses": "octopus", "molasses": "molasses", "hummus": "hummus",
    "oats": "oat", "grits": "grits",
}  # fmt: skip
SINGULAR_ENDINGS = ("ss", "us", "is")
ES_PLURAL_ENDINGS = ("oes", "ches", "shes", "xes", "sses", "zes")
DESCRIBING_WORDS = {
    "diced", "chopped", "sliced", "minced", "grated", "shredded", "cooked", "raw", "fresh",
    "frozen", "canned", "tinned", "dried", "halved", "quartered", "whole", "ground", "crushed",
    "thinly", "finely", "roughly", "coarsely", "crumbled", "freshly", "large", "medium", "small",
    "big", "ripe", "organic", "peeled", "pitted", "seeded", "cubed", "boneless", "skinless", "lean",
    "extra", "good", "quality", "unsalted", "salted", "melted", "softened", "cold", "warm", "hot",
    "room", "temperature", "packed", "heaped", "toasted", "roasted", "unsweetened", "plain", "free",
    "range", "baby", "young", "washed", "trimmed", "rinsed", "drained", "thawed", "uncooked", "of",
    "the", "a", "an", "some", "few", "for", "garnish", "serving", "optional", "low", "fat",
    "reduced", "full", "virgin", "pure", "natural", "homemade", "leftover", "thick", "thin",
    "cut", "fine", "coarse",
}  # fmt: skip
# With one of these words before its name, a food becomes another food.
CHANGING_WORDS = {
    "mock", "imitation", "vegan", "vegetarian", "plant", "based", "substitute", "alternative",
    "free", "flavored", "flavoured", "non", "dairy", "gluten", "sweetened", "condensed",
    "evaporated", "powdered", "pickled", "smoked", "candied", "cream", "ice", "hot", "sour",
}  # fmt: skip
# These foods have so many kinds that any unknown word before the name makes another food: hemp milk
# is not milk, but a roma tomato is a tomato.
FOODS_OF_MANY_KINDS = {
    "milk", "butter", "cream", "cheese", "yogurt", "oil", "vinegar", "flour", "sugar", "salt",
    "bread", "pasta", "egg", "rice", "bean", "lentil", "pea", "pepper", "juice", "water", "wine",
    "sauce", "paste", "stock", "broth", "powder", "chocolate", "sausage", "ham", "tea", "coffee",
    "seed", "nut", "berry", "jam", "mustard", "honey", "lettuce", "cabbage", "chip", "cracker",
}  # fmt: skip
MIN_SIMILARITY = 90  # of 100, rapidfuzz's ratio
MIN_TYPO_LENGTH = 5  # characters; shorter words are too similar: "mint", "mince"


def plain(text: str) -> str:
    """Return the text in lower case, without accents, with single spaces between words."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(c for c in decomposed if not unicodedata.combining(c))
    return " ".join(re.sub(r"[\W_]+", " ", bare.replace("'", "")).split())


@lru_cache(maxsize=10_000)
def singular(word: str) -> str:
    """Return the singular of an English word. Rules cover regular plurals; IRREGULAR the rest."""
    if word in IRREGULAR:
        return IRREGULAR[word]
    if len(word) <= 3 or word.endswith(SINGULAR_ENDINGS):  # noqa: PLR2004 - "gas" is not a plural
        return word
    if word.endswith("ies"):
        return word.removesuffix("ies") + "y"
    if word.endswith(ES_PLURAL_ENDINGS):
        return word.removesuffix("es")
    return word.removesuffix("s")


def singular_words(text: str) -> list[str]:
    return [singular(word) for word in plain(text).split()]


def name_key(text: str) -> str:
    """Return a key that ignores case, accents, hyphens, and singular or plural."""
    return " ".join(singular_words(text))


def cleaned(text: str) -> str:
    """Return the name without numbers, brackets, text after a comma, and describing words."""
    bare = re.sub(r"\([^)]*\)", " ", text)
    parts = (_without_descriptions(part) for part in bare.split(","))
    # "boneless, skinless chicken breasts" names the food only after its comma.
    return next((part for part in parts if part), "")


def _without_descriptions(text: str) -> str:
    words = [word for word in singular_words(text) if not any(c.isdigit() for c in word)]
    return " ".join(word for word in words if word not in DESCRIBING_WORDS)


@dataclass(frozen=True)
class NameIndex:
    """Maps the keys of the catalogue's names and aliases to the names of foods."""

    by_key: Mapping[str, str]
    by_cleaned: Mapping[str, str]
    words: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def of(cls, foods: Iterable[tuple[str, Iterable[str]]]) -> "NameIndex":
        """Build the index from names with their aliases.

        If a key occurs twice, names win over aliases, and earlier foods over later ones.
        """
        names = [(name, list(aliases)) for name, aliases in foods]
        spellings = [(name, name) for name, _ in names]
        spellings += [(alias, name) for name, aliases in names for alias in aliases]
        by_key: dict[str, str] = {}
        by_cleaned: dict[str, str] = {}
        for spelling, name in spellings:
            by_key.setdefault(name_key(spelling), name)
        for spelling, name in spellings:
            if key := cleaned(spelling):
                by_cleaned.setdefault(key, name)
        words = frozenset(key for key in by_key if " " not in key)
        return cls(by_key, by_cleaned, words)

    def same(self, text: str) -> str | None:
        """Return the food with this name or alias, or None."""
        return self.by_key.get(name_key(text))

    def find(self, text: str) -> str | None:
        """Return the food that the text names, by the steps in the module's docstring, or None."""
        if food := self.same(text):
            return food
        key = cleaned(text)
        if not key:
            return None
        return (
            self.by_key.get(key)
            or self.by_cleaned.get(key)
            or self._ending(key)
            or self._misspelled(key)
        )

    def _by_ending(self, key: str) -> str | None:
        words = key.split()
        for start in range(1, len(words)):
            food = self.by_key.get(" ".join(words[start:]))
            if food is None:
                continue
            before = set(words[:start])
            other_food = (
                before & (self.words | CHANGING_WORDS) or words[start:][0] in FOODS_OF_MANY_KINDS
            )
            return None if other_food else food
        return None

    def _misspelled(self, key: str) -> str | None:
        if len(key) < MIN_TYPO_LENGTH:
            return None
        best = process.extractOne(
            key, self.by_key.keys(), scorer=fuzz.ratio, score_cutoff=MIN_SIMILARITY
        )
        return self.by_key[best[0]] if best and best[0][0] == key[0] else None
