"""Finds the catalogue's food for a name as users write it.

The steps, in this order:
1. the same name or alias, in singular or plural;
2. the same after a clean-up: "2 large diced onions" is "onion";
3. a name at the end of the text: "boneless chicken breast", unless the words before it name
   another food (hemp milk is not milk);
4. a spelling mistake.
A substring is never enough.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
NO_PLURAL = ("ss", "us", "is")
PLURAL_IN_ES = ("oes", "ches", "shes", "xes", "sses", "zes")
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
# Words that make another food of the food that follows.
CHANGING_WORDS = {
    "mock", "imitation", "vegan", "vegetarian", "plant", "based", "substitute", "alternative",
    "free", "flavored", "flavoured", "non", "dairy", "gluten", "sweetened", "condensed",
    "evaporated", "powdered", "pickled", "smoked", "candied", "cream", "ice", "hot", "sour",
}  # fmt: skip
# Foods of many kinds. An unknown word before one of them means a kind of its own: hemp milk is
# not milk, but a roma tomato is a tomato.
OF_MANY_KINDS = {
    "milk", "butter", "cream", "cheese", "yogurt", "oil", "vinegar", "flour", "sugar", "salt",
    "bread", "pasta", "egg", "rice", "bean", "lentil", "pea", "pepper", "juice", "water", "wine",
    "sauce", "paste", "stock", "broth", "powder", "chocolate", "sausage", "ham", "tea", "coffee",
    "seed", "nut", "berry", "jam", "mustard", "honey", "lettuce", "cabbage", "chip", "cracker",
}  # fmt: skip
MIN_SIMILARITY = 90  # of 100, by rapidfuzz's ratio
MIN_TYPO_LENGTH = 5  # characters; "mint" is too close to "mince"


def plain(text: str) -> str:
    """Return the text in lower case, without accents, with single spaces between words."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(c for c in decomposed if not unicodedata.combining(c))
    return " ".join(re.sub(r"[\W_]+", " ", bare.replace("'", "")).split())


@lru_cache(maxsize=10_000)
def singular(word: str) -> str:
    if word in IRREGULAR:
        return IRREGULAR[word]
    if len(word) <= 3 or word.endswith(NO_PLURAL):  # noqa: PLR2004 - "gas" is not a plural
        return word
    if word.endswith("ies"):
        return word.removesuffix("ies") + "y"
    if word.endswith(PLURAL_IN_ES):
        return word.removesuffix("es")
    return word.removesuffix("s")


def singular_words(text: str) -> list[str]:
    return [singular(word) for word in plain(text).split()]


@lru_cache(maxsize=10_000)
def name_key(text: str) -> str:
    """Return a key that is equal for all spellings: case, accents, hyphens, plural."""
    return " ".join(singular_words(text))


@lru_cache(maxsize=10_000)
def cleaned(text: str) -> str:
    """Drop numbers, brackets, the text after a comma, and words for size and preparation."""
    bare = re.sub(r"\([^)]*+\)?", " ", text)
    parts = (_undescribed(part) for part in bare.split(","))
    # "boneless, skinless chicken breasts" names the food only after its comma.
    return next((part for part in parts if part), "")


def _undescribed(text: str) -> str:
    words = [word for word in singular_words(text) if not any(c.isdigit() for c in word)]
    return " ".join(word for word in words if word not in DESCRIPTIONS)


def _first(names: Iterable[str | None]) -> str | None:
    return next((name for name in names if name), None)


@dataclass(frozen=True)
class NameIndex:
    """An index from the keys of names and aliases to the name of the food."""

    by_key: Mapping[str, str]
    by_cleaned: Mapping[str, str]
    words: frozenset[str] = field(default_factory=frozenset)
    by_first_letter: Mapping[str, Sequence[str]] = field(default_factory=dict)  # keys

    @classmethod
    def of(cls, foods: Iterable[tuple[str, Iterable[str]]]) -> "NameIndex":
        """Build the index. Names win over aliases, and earlier foods over later ones."""
        entries = [(name, list(aliases)) for name, aliases in foods]
        spellings = [(name, name) for name, _ in entries]
        spellings += [(alias, name) for name, aliases in entries for alias in aliases]
        by_key: dict[str, str] = {}
        by_cleaned: dict[str, str] = {}
        for spelling, name in spellings:
            by_key.setdefault(name_key(spelling), name)
        for spelling, name in spellings:
            if key := cleaned(spelling):
                by_cleaned.setdefault(key, name)
        words = frozenset(key for key in by_key if " " not in key)
        by_first_letter: dict[str, list[str]] = {}
        for key in filter(None, by_key):
            by_first_letter.setdefault(key[0], []).append(key)
        return cls(by_key, by_cleaned, words, by_first_letter)

    def same(self, text: str) -> str | None:
        """Return the food with this name or alias, in any spelling."""
        return self.by_key.get(name_key(text))

    def find(self, text: str, own: "NameIndex | None" = None) -> str | None:
        """Return the food for a text by the steps in this module's docstring, or None.

        `own` has a household's names. In each step they win over those of this index.
        """
        indexes = (self,) if own is None else (own, self)
        if name := _first(index.same(text) for index in indexes):
            return name
        key = cleaned(text)
        if not key:
            return None
        steps: tuple[Callable[[NameIndex], str | None], ...] = (
            lambda index: index.by_key.get(key),
            lambda index: index.by_cleaned.get(key),
            lambda index: index.by_ending(key),
            lambda index: index.by_similarity(key),
        )
        return _first(step(index) for step in steps for index in indexes)

    def with_words_of(self, other: "NameIndex") -> "NameIndex":
        """Return this index, which knows the words of the other one as foods, too."""
        return replace(self, words=self.words | other.words)

    def by_ending(self, key: str) -> str | None:
        words = key.split()
        for start in range(1, len(words)):
            name = self.by_key.get(" ".join(words[start:]))
            if name is None:
                continue
            before = set(words[:start])
            other_food = before & (self.words | CHANGING_WORDS) or words[start:][0] in OF_MANY_KINDS
            return None if other_food else name
        return None

    def by_similarity(self, key: str) -> str | None:
        if len(key) < MIN_TYPO_LENGTH:
            return None
        similar = self.by_first_letter.get(key[0], ())
        best = process.extractOne(key, similar, scorer=fuzz.ratio, score_cutoff=MIN_SIMILARITY)
        return self.by_key[best[0]] if best else None
