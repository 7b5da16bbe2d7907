"""Reads amounts in recipes: "1 1/2 cups", "2 x 400 g", "½ TL", "a pinch", "juice of 1 lemon".

An unreadable text gives None, never a guess or an exception. The caller keeps the text.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from freshly.domains.ingredients.measures import fits
from freshly.domains.ingredients.names import singular_words
from freshly.domains.ingredients.units import BASE, MAX_WORDS, Unit, find_unit, written_unit

MAX_CHARACTERS = 500

FRACTIONS = {
    "½": "1/2", "⅓": "1/3", "⅔": "2/3", "¼": "1/4", "¾": "3/4", "⅕": "1/5", "⅖": "2/5",
    "⅗": "3/5", "⅘": "4/5", "⅙": "1/6", "⅚": "5/6", "⅐": "1/7", "⅛": "1/8", "⅜": "3/8",
    "⅝": "5/8", "⅞": "7/8", "⅑": "1/9", "⅒": "1/10",
}  # fmt: skip
SIGNS = {
    "⁄": "/",
    "∕": "/",
    "–": "-",
    "—": "-",
    "‐": "-",
    "‑": "-",
    "−": "-",
    "×": "x",
    "\xa0": " ",
}

NUMBER_WORDS = {
    word: Decimal(value)
    for value, words in {
        "0.5": "half halb halbe halber halbes demi demie medio media",
        "1": "a an one ein eine einen einer un une una uno",
        "2": "two couple zwei deux dos",
        "3": "three drei trois tres",
        "4": "four vier quatre cuatro",
        "5": "five fünf cinq cinco",
        "6": "six sechs seis",
        "7": "seven sieben sept siete",
        "8": "eight acht huit ocho",
        "9": "nine neun neuf nueve",
        "10": "ten zehn dix diez",
        "12": "twelve zwölf douze doce",
    }.items()
    for word in words.split()
}
RANGE = {"-", "to", "bis", "à", "a", "or", "oder", "ou", "o"}
EACH = {"each", "je", "jeweils", "chacun", "chacune"}
ABOUT = {
    "about", "approx", "approximately", "around", "roughly", "ca", "circa", "etwa", "ungefähr",
    "environ", "unos", "unas", "aprox", "scant", "up", "to", "~", "good", "generous", "another",
}  # fmt: skip
SIZES = {
    "large", "medium", "small", "big", "extra", "jumbo", "heaped", "heaping", "level", "rounded",
    "scant", "generous", "good", "full", "whole", "fresh", "ripe", "thin", "thick", "große",
    "großer", "großes", "kleine", "kleiner", "kleines", "mittlere", "mittelgroße", "gestrichene",
    "gehäufte", "gestrichener", "gehäufter", "grande", "grandes", "gros", "grosse", "petit",
    "petite", "pequeño", "pequeña", "mediano", "mediana", "of", "de", "d", "von",
}  # fmt: skip
PREPARED = {
    "chopped", "diced", "sliced", "minced", "grated", "shredded", "peeled", "crushed", "cubed",
    "halved", "quartered", "beaten", "melted", "softened", "cooked", "drained", "rinsed", "packed",
    "sifted", "toasted", "finely", "coarsely", "roughly", "thinly", "freshly", "ground", "and",
    "divided", "washed", "trimmed", "cored", "seeded", "pitted", "zested", "juiced", "separated",
    "plus", "more", "extra", "for", "serving", "garnish", "to", "taste", "optional", "each", "in",
    "total", "about", "at", "room", "temperature", "cold", "warm", "hot", "frozen", "thawed",
}  # fmt: skip
PART_OF = re.compile(
    r"^(?:the )?(?:juice|zest|rind|saft|schale|jus|zeste|zumo|ralladura)"
    r"(?: and (?:juice|zest|rind))?(?: (?:of|von|de|d))?\b",
    re.IGNORECASE,
)
# A number, maybe with a unit: "2 eggs" and "500g flour", but neither "2% milk" nor "7-up".
AMOUNT_IN_FRONT = re.compile(r"(?<!\d)(?:\d{1,7}(?:[.,/]\d{1,4})?|[½⅓⅔¼¾⅛⅜⅝⅞])(?:[^\W\d_]{1,3})?\s")
MAX_AMOUNT_WORDS = 4  # "1 1/2 fluid ounces"
TOKEN = re.compile(
    r"""
    (?P<number>
        \d{1,7}\s+\d{1,4}/\d{1,4}              # 1 1/2
      | \d{1,7}/\d{1,4}                        # 1/2
      | [1-9]\d{0,2}(?:,\d{3})+(?![\d,])(?:\.\d{1,9})?  # 1,500
      | \d{1,9}[.,]\d{1,9}                     # 1.5 or 1,5
      | [.,]\d{1,9}                            # .5
      | \d{1,9}
    )(?!\d)
  | (?P<word>[^\W\d_]+\.?)
  | (?P<sign>[-+x()~])
  | (?P<other>\S)
    """,
    re.VERBOSE,
)


@dataclass(frozen=True)
class Amount:
    quantity: Decimal
    unit: str  # a code in units.py


@dataclass(frozen=True)
class _Token:
    text: str
    number: Decimal | None = None

    @property
    def word(self) -> str:
        return self.text.casefold().rstrip(".")


def parse_amount(text: str, food: str = "") -> Amount | None:
    """Return the amount in the text, or None.

    `food` is the name of the ingredient: "2 onions" is a count of 2 for the food "onion". A range
    gives its larger number. "2 x 400 g" and "2 cans (400 g)" are 800 g.
    """
    if len(text) > MAX_CHARACTERS:
        return None
    part = PART_OF.match(text.strip())
    if part:
        text = text.strip()[part.end() :]
    try:
        amount = _Reader(_tokens(text), food, any_food=bool(part)).read()
    except (InvalidOperation, ZeroDivisionError, OverflowError):
        return None
    return amount if amount and fits(amount.quantity) else None


def split_amount(name: str, amount: str) -> tuple[str, str]:
    """Return the name and the amount of a recipe's line, which may have the amount in its name.

    Some clients send "3 cloves garlic" with the amount "1": that is "garlic" with "3 cloves". Any
    other amount is taken as it is.
    """
    words = name.split()
    if amount.strip() != "1" or not AMOUNT_IN_FRONT.match(name) or len(words) == 1:
        return name, amount
    length, read = 0, None
    for count in range(1, min(len(words), MAX_AMOUNT_WORDS + 1)):
        longer = parse_amount(" ".join(words[:count]))
        if longer is not None and longer != read:
            length, read = count, longer
    if read is None:
        return name, amount
    return " ".join(words[length:]).removeprefix("of "), " ".join(words[:length])


def scaled(text: str, factor: Decimal, food: str = "") -> str:
    """Return the text for `factor` times the amount: "2 cups" twice is "4 cups".

    A text without an amount, such as "to taste", is returned unchanged.
    """
    amount = parse_amount(text, food)
    if factor == 1 or amount is None:
        return text
    quantity = (amount.quantity * factor).quantize(Decimal("0.001")).normalize()
    if amount.unit == "count":
        return f"{quantity:f}"
    return f"{quantity:f} {written_unit(amount.unit, quantity)}"


def _tokens(text: str) -> list[_Token]:
    for sign, plain in FRACTIONS.items():
        text = text.replace(sign, f" {plain} ")
    for sign, plain in SIGNS.items():
        text = text.replace(sign, plain)
    text = re.sub(r"(?<!\s)\s*+/\s*+", "/", text)
    # Separate "400g" and "2x400 g", which have no space between number and word.
    text = re.sub(r"(?<=\d)(?=[^\W\d_])|(?<=[^\W\d_])(?=\d)", " ", text)
    return [
        _Token(match.group(), _number(match.group()) if match.lastgroup == "number" else None)
        for match in TOKEN.finditer(text)
    ]


def _number(text: str) -> Decimal:
    whole, _, fraction = text.rpartition(" ") if "/" in text else (text, "", "")
    if fraction:
        numerator, denominator = fraction.split("/")
        return Decimal(whole.strip() or 0) + Decimal(numerator) / Decimal(denominator)
    if re.fullmatch(r"[1-9]\d{0,2}(,\d{3})+(\.\d+)?", text):
        return Decimal(text.replace(",", ""))
    return Decimal(text.replace(",", "."))


class _Reader:
    """A parser that reads tokens from left to right. Each method consumes the tokens it knows."""

    def __init__(self, tokens: list[_Token], food: str, *, any_food: bool) -> None:
        self.tokens = tokens
        self.food_words = set(singular_words(food))
        self.any_food = any_food
        self.at = 0
        self.size_of_each = False  # the text in brackets has the word "each"

    def read(self) -> Amount | None:
        self._skip(ABOUT)
        total = self._term()
        while total and self._another_term_follows():
            self._take("+")
            self._take("plus")
            addend = self._term()
            if addend is None:
                break
            total = self._sum(total, addend) or total
        return total if total and self._rest_is_harmless(total) else None

    def _term(self) -> Amount | None:
        quantity = self._quantity()
        unit = None if self._peek_is_number() else self._unit()
        if quantity is None:
            return Amount(Decimal(1), unit.code) if unit else None
        if unit is None:
            return self._counted(quantity)
        if size := self._size_in_brackets():
            of_each = unit.is_container or self.size_of_each
            return Amount(size.quantity * quantity, size.unit) if of_each else size
        return Amount(quantity, unit.code)

    def _counted(self, quantity: Decimal) -> Amount | None:
        """Read what follows a number without a unit: the size of each thing, or nothing."""
        if self._take("x"):
            size = self._term()
            return Amount(size.quantity * quantity, size.unit) if size else None
        if size := self._size_in_brackets():
            container = self._unit()
            times = quantity if container and container.is_container else Decimal(1)
            return Amount(size.quantity * times, size.unit)
        self._skip_food()
        if size := self._size_in_brackets():
            return Amount(size.quantity * quantity, size.unit) if self.size_of_each else size
        return Amount(quantity, "count")

    def _quantity(self) -> Decimal | None:
        first = self._read_number()
        if first is None:
            return None
        start = self.at
        if self._skip_one(RANGE) and (last := self._read_number()) is not None:
            return max(first, last)
        self.at = start
        return first

    def _read_number(self) -> Decimal | None:
        token = self._peek()
        if token is None:
            return None
        if token.number is not None:
            self.at += 1
            return token.number
        if token.word not in NUMBER_WORDS:
            return None
        self.at += 1
        value = NUMBER_WORDS[token.word]
        if token.word in {"half", "a", "ein", "eine", "un", "une", "una"}:
            value = self._times_next_word(value)
        self._skip({"of"})
        return value

    def _times_next_word(self, value: Decimal) -> Decimal:
        """Multiply with a second number word: "half a lemon", "a half", "a couple"."""
        token = self._peek()
        if token is not None and token.number is None and token.word in NUMBER_WORDS:
            self.at += 1
            return value * NUMBER_WORDS[token.word]
        return value

    def _unit(self) -> Unit | None:
        start = self.at
        while True:
            for length in range(min(MAX_WORDS, len(self.tokens) - self.at), 0, -1):
                words = self.tokens[self.at : self.at + length]
                if any(word.number is not None for word in words):
                    continue
                unit = find_unit(" ".join(word.text for word in words))
                if unit:
                    self.at += length
                    return unit
            if not self._skip_one(SIZES):
                self.at = start
                return None

    def _size_in_brackets(self) -> Amount | None:
        start = self.at
        if self._take("("):
            self._skip(ABOUT)
            quantity = self._quantity()
            self._take("-")
            unit = self._unit() if quantity is not None else None
            if quantity is not None and unit and unit.kind in BASE:
                while (token := self._peek()) and token.text != ")":
                    self.size_of_each = self.size_of_each or token.word in EACH
                    self.at += 1
                self._take(")")
                return Amount(quantity, unit.code)
        self.at = start
        return None

    def _another_term_follows(self) -> bool:
        """Return True before the second amount of "1 cup + 2 tbsp" or "1 lb 4 oz"."""
        token = self._peek()
        if token is None:
            return False
        following = self.tokens[self.at + 1] if self.at + 1 < len(self.tokens) else None
        if token.text == "+" or token.word == "plus":
            return following is not None and following.number is not None
        return token.number is not None

    @staticmethod
    def _sum(total: Amount, addend: Amount) -> Amount | None:
        unit, other_unit = find_unit(total.unit), find_unit(addend.unit)
        if unit is None or other_unit is None or unit.kind is not other_unit.kind:
            return None
        if unit.kind not in BASE and unit is not other_unit:
            return None
        added = addend.quantity * other_unit.factor / unit.factor
        return Amount(total.quantity + added, unit.code)

    def _rest_is_harmless(self, amount: Amount) -> bool:
        """Check the rest of the text: after a bare number, only the food itself may follow."""
        rest = [token for token in self.tokens[self.at :] if token.text.isalpha()]
        unknown = [token for token in rest if not self._is_the_food(token)]
        return amount.unit != "count" or self.any_food or not unknown

    def _is_the_food(self, token: _Token) -> bool:
        if token.word in PREPARED or token.word in SIZES:
            return True
        return bool(self.food_words.intersection(singular_words(token.word)))

    def _skip_food(self) -> None:
        while (token := self._peek()) and token.text.isalpha() and self._is_the_food(token):
            self.at += 1

    def _peek(self) -> _Token | None:
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def _peek_is_number(self) -> bool:
        token = self._peek()
        return token is not None and token.number is not None

    def _take(self, text: str) -> bool:
        token = self._peek()
        if token is None or token.word != text:
            return False
        self.at += 1
        return True

    def _skip_one(self, words: Iterable[str]) -> bool:
        token = self._peek()
        if token is None or token.number is not None or token.word not in words:
            return False
        self.at += 1
        return True

    def _skip(self, words: Iterable[str]) -> None:
        while self._skip_one(words):
            pass
