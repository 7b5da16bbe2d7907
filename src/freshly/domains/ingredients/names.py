"""Whose name is this? Names of foods as people write them, and the catalogue's food they mean.

In order: the same name or an alias, in singular or plural; the same after a clean-up ("2 large
diced onions" is "onion"); a name that ends the text ("boneless chicken breast"), unless what stands
before makes another food of it (hemp milk is no milk); a slip of the pen. Never a substring.
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
STAYS = ("ss", "us", "is")
TAKES_ES = ("oes", "ches", "shes", "xes", "sses", "zes")
DESCRIPTIONS = {
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
# Before a food these make another food of it.
CHANGING = {
    "mock", "imitation", "vegan", "vegetarian", "plant", "based", "substitute", "alternative",
    "free", "flavored", "flavoured", "non", "dairy", "gluten", "sweetened", "condensed",
    "evaporated", "powdered", "pickled", "smoked", "candied", "cream", "ice", "hot", "sour",
}  # fmt: skip
# Of these there are so many kinds that an unknown word before one is taken for a kind of its own:
# hemp milk is no milk, but a roma tomato is a tomato.
OF_MANY_KINDS = {
    "milk", "butter", "cream", "cheese", "yogurt", "oil", "vinegar", "flour", "sugar", "salt",
    "bread", "pasta", "egg", "rice", "bean", "lentil", "pea", "pepper", "juice", "water", "wine",
    "sauce", "paste", "stock", "broth", "powder", "chocolate", "sausage", "ham", "tea", "coffee",
    "seed", "nut", "berry", "jam", "mustard", "honey", "lettuce", "cabbage", "chip", "cracker",
}  # fmt: skip
SLIP = 90  # of 100, by rapidfuzz's ratio
SHORTEST_SLIP = 5  # characters; "mint" is a slip of "mince" too easily


def plain(text: str) -> str:
    """Lower case, without accents, words parted by single spaces."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(c for c in decomposed if not unicodedata.combining(c))
    return " ".join(re.sub(r"[\W_]+", " ", bare.replace("'", "")).split())


@lru_cache(maxsize=10_000)
def singular(word: str) -> str:
    if word in IRREGULAR:
        return IRREGULAR[word]
    if len(word) <= 3 or word.endswith(STAYS):  # noqa: PLR2004 - "gas" is no plural
        return word
    if word.endswith("ies"):
        return word.removesuffix("ies") + "y"
    if word.endswith(TAKES_ES):
        return word.removesuffix("es")
    return word.removesuffix("s")


def singular_words(text: str) -> list[str]:
    return [singular(word) for word in plain(text).split()]


def name_key(text: str) -> str:
    """Equal for spellings of one name: case, accents, hyphens, singular and plural."""
    return " ".join(singular_words(text))


def cleaned(text: str) -> str:
    """Without numbers, brackets, what follows a comma, and how it is cut or kept."""
    bare = re.sub(r"\([^)]*\)", " ", text)
    parts = (_undescribed(part) for part in bare.split(","))
    # "boneless, skinless chicken breasts" names the food only after its comma.
    return next((part for part in parts if part), "")


def _undescribed(text: str) -> str:
    words = [word for word in singular_words(text) if not any(c.isdigit() for c in word)]
    return " ".join(word for word in words if word not in DESCRIPTIONS)


@dataclass(frozen=True)
class NameIndex:
    """Names and aliases of the catalogue, folded, each leading to one food's name."""

    by_key: Mapping[str, str]
    by_cleaned: Mapping[str, str]
    words: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def of(cls, foods: Iterable[tuple[str, Iterable[str]]]) -> "NameIndex":
        """From names with their aliases; a name goes before an alias, the first before the next."""
        listed = [(name, list(aliases)) for name, aliases in foods]
        spoken = [(name, name) for name, _ in listed]
        spoken += [(alias, name) for name, aliases in listed for alias in aliases]
        by_key: dict[str, str] = {}
        by_cleaned: dict[str, str] = {}
        for spelling, name in spoken:
            by_key.setdefault(name_key(spelling), name)
        for spelling, name in spoken:
            if key := cleaned(spelling):
                by_cleaned.setdefault(key, name)
        words = frozenset(key for key in by_key if " " not in key)
        return cls(by_key, by_cleaned, words)

    def same(self, text: str) -> str | None:
        """The food that has exactly this name, in whatever spelling."""
        return self.by_key.get(name_key(text))

    def find(self, text: str) -> str | None:
        """The food that is meant, by the means at the top of this page; None where none is."""
        if found := self.same(text):
            return found
        key = cleaned(text)
        if not key:
            return None
        return (
            self.by_key.get(key)
            or self.by_cleaned.get(key)
            or self._ending(key)
            or (self._slip(key))
        )

    def _ending(self, key: str) -> str | None:
        words = key.split()
        for start in range(1, len(words)):
            found = self.by_key.get(" ".join(words[start:]))
            if found is None:
                continue
            before = set(words[:start])
            other_food = before & (self.words | CHANGING) or words[start:][0] in OF_MANY_KINDS
            return None if other_food else found
        return None

    def _slip(self, key: str) -> str | None:
        if len(key) < SHORTEST_SLIP:
            return None
        best = process.extractOne(key, self.by_key.keys(), scorer=fuzz.ratio, score_cutoff=SLIP)
        return self.by_key[best[0]] if best and best[0][0] == key[0] else None
