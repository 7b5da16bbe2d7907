"""The closed table of kitchen units.

Metric factors are exact. Pound and ounce are those of the existing app. The other customary units
are those of the US nutrition label (21 CFR 101.9(b)(5)(viii): cup 240 ml, fluid ounce 30 ml,
tablespoon 15 ml, teaspoon 5 ml), so that 8 fl oz are a cup and 4 cups are a quart. Text of users
is only looked up in this table: a general unit library reads "c" as the speed of light and "EL"
as exalitres.
"""

import unicodedata
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum


class Kind(StrEnum):
    WEIGHT = "weight"
    VOLUME = "volume"
    COUNT = "count"
    # The weight depends on the food: a clove, a can, a bunch.
    HOUSEHOLD = "household"


BASE = {Kind.WEIGHT: "g", Kind.VOLUME: "ml", Kind.COUNT: "count"}


@dataclass(frozen=True)
class Unit:
    code: str
    kind: Kind
    factor: Decimal  # to g, ml or count; 1 for household units
    display_name: str
    is_metric: bool
    aliases: tuple[str, ...]

    @property
    def is_container(self) -> bool:
        """Return True if a size in brackets is the size of each, as in "2 cans (400 g)"."""
        return self.code in {"can", "jar", "package", "bottle"}


def _unit(
    code: str,
    kind: Kind,
    factor: str,
    display_name: str,
    aliases: str = "",
    *,
    metric: bool = False,
) -> Unit:
    names = tuple(alias.strip() for alias in aliases.split(",") if alias.strip())
    return Unit(code, kind, Decimal(factor), display_name, metric, names)


W, V, C, H = Kind.WEIGHT, Kind.VOLUME, Kind.COUNT, Kind.HOUSEHOLD

UNITS = (
    _unit("g", W, "1", "gram", "gr, grs, gram, grams, gramm, gramme, grammes, gramo, gramos, grm",
          metric=True),
    _unit("kg", W, "1000", "kilogram", "kgs, kilo, kilos, kilogram, kilograms, kilogramm, "
          "kilogramme, kilogrammes, kilogramo, kilogramos", metric=True),
    _unit("mg", W, "0.001", "milligram", "milligram, milligrams, milligramm", metric=True),
    _unit("lb", W, "453.592", "pound", "lbs, pound, pounds, livre, livres, libra, libras"),
    _unit("oz", W, "28.3495", "ounce", "ozs, ounce, ounces, unze, unzen, once, onces, onza, onzas"),
    _unit("ml", V, "1", "milliliter", "mls, milliliter, milliliters, millilitre, millilitres, "
          "mililitro, mililitros, cc", metric=True),
    _unit("cl", V, "10", "centiliter", "centiliter, centiliters, centilitre, centilitres, "
          "centilitro, centilitros", metric=True),
    _unit("dl", V, "100", "deciliter", "deciliter, deciliters, decilitre, decilitres, decilitro, "
          "decilitros", metric=True),
    _unit("l", V, "1000", "liter", "lt, ltr, ltrs, liter, liters, litre, litres, litro, litros",
          metric=True),
    _unit("tsp", V, "5", "teaspoon", "tsps, teaspoon, teaspoons, ts, tl, teelöffel, cac, c à c, "
          "càc, cc à café, cuillère à café, cuillères à café, cuil. à café, cdta, cdtas, cdita, "
          "cditas, cucharadita, cucharaditas"),
    _unit("tbsp", V, "15", "tablespoon", "tbsps, tablespoon, tablespoons, tbs, tb, tbl, tblsp, el, "
          "esslöffel, cas, c à s, càs, cuillère à soupe, cuillères à soupe, cuil. à soupe, cda, "
          "cdas, cucharada, cucharadas"),
    _unit("fl oz", V, "30", "fluid ounce", "floz, fluid ounce, fluid ounces, fl ounce, fl ounces, "
          "fluid oz"),
    _unit("cup", V, "240", "cup", "cups, c, tasse, tassen, tasses, taza, tazas"),
    _unit("pint", V, "480", "pint", "pints, pt, pts, pinte, pintes, pinta, pintas"),
    _unit("quart", V, "960", "quart", "quarts, qt, qts"),
    _unit("gallon", V, "3840", "gallon", "gallons, gal, gals, gallone, gallonen, galón, galones"),
    _unit("dash", V, "0.625", "dash", "dashes, spritzer, trait, chorrito"),
    _unit("pinch", V, "0.3125", "pinch", "pinches, prise, prisen, msp, messerspitze, pincée, "
          "pincées, pizca, pizcas"),
    _unit("count", C, "1", "piece", "piece, pieces, pcs, pc, unit, units, each, ea, whole, stück, "
          "stücke, stk, st, pièce, pièces, unidad, unidades, ud, uds, pieza, piezas"),
    _unit("dozen", C, "12", "dozen", "dozens, doz, dutzend, douzaine, douzaines, docena, docenas"),
    _unit("clove", H, "1", "clove", "cloves, zehe, zehen, knoblauchzehe, knoblauchzehen, gousse, "
          "gousses, diente, dientes"),
    _unit("head", H, "1", "head", "heads, bulb, bulbs, kopf, köpfe, knolle, knollen, tête, têtes, "
          "cabeza, cabezas"),
    _unit("bunch", H, "1", "bunch", "bunches, bund, bunde, botte, bottes, bouquet, bouquets, "
          "manojo, manojos"),
    _unit("sprig", H, "1", "sprig", "sprigs, zweig, zweige, brin, brins, ramita, ramitas"),
    _unit("stalk", H, "1", "stalk", "stalks, rib, ribs, stange, stangen, stängel, branche, "
          "branches, tallo, tallos"),
    _unit("slice", H, "1", "slice", "slices, rasher, rashers, scheibe, scheiben, tranche, "
          "tranches, rebanada, rebanadas, loncha, lonchas, rodaja, rodajas"),
    _unit("can", H, "1", "can", "cans, tin, tins, dose, dosen, boîte, boîtes, conserve, lata, "
          "latas"),
    _unit("jar", H, "1", "jar", "jars, glas, gläser, bocal, bocaux, tarro, tarros, bote, botes"),
    _unit("package", H, "1", "package", "packages, pack, packs, packet, packets, pkg, pkgs, bag, "
          "bags, box, boxes, carton, cartons, packung, packungen, päckchen, pck, beutel, paquet, "
          "paquets, sachet, sachets, paquete, paquetes, bolsa, bolsas, sobre, sobres"),
    _unit("bottle", H, "1", "bottle", "bottles, flasche, flaschen, bouteille, bouteilles, botella, "
          "botellas"),
    _unit("stick", H, "1", "stick", "sticks, bâton, bâtons"),
    _unit("leaf", H, "1", "leaf", "leaves, blatt, blätter, feuille, feuilles, hoja, hojas"),
    _unit("handful", H, "1", "handful", "handfuls, handvoll, poignée, poignées, puñado, puñados"),
    _unit("loaf", H, "1", "loaf", "loaves, laib, laibe, miche, barra, hogaza"),
    _unit("ear", H, "1", "ear", "ears, kolben, épi, épis, mazorca, mazorcas"),
    _unit("fillet", H, "1", "fillet", "fillets, filet, filets, filete, filetes"),
    _unit("sheet", H, "1", "sheet", "sheets, platte, platten, lámina, láminas"),
    _unit("cube", H, "1", "cube", "cubes, würfel, cubo, cubos"),
)  # fmt: skip

# Units that are displayed with another text than their code.
DISPLAY_CODES = {"l": "L", "count": "pcs"}
# Abbreviations of cooks that depend on upper and lower case.
CASE_SENSITIVE = {"T": "tbsp", "t": "tsp", "C": "cup"}


def _folded(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.strip().replace(".", " ").casefold())
    bare = "".join(c for c in decomposed if not unicodedata.combining(c))
    return " ".join(bare.split())


_BY_CODE = {unit.code: unit for unit in UNITS}
_BY_NAME = {
    _folded(name): unit for unit in UNITS for name in (unit.code, unit.display_name, *unit.aliases)
}
MAX_WORDS = max(len(name.split()) for name in _BY_NAME)


def find_unit(text: str | None) -> Unit | None:
    """Return the unit for a text in any known spelling or language, or None."""
    if text is None:
        return None
    if code := CASE_SENSITIVE.get(text.strip()):
        return _BY_CODE[code]
    return _BY_NAME.get(_folded(text))


def folded(text: str | None) -> str:
    """Return the unit's code, or an unknown text in lower case, or "count" without a text."""
    if text is None or not text.strip():
        return "count"
    unit = find_unit(text)
    return unit.code if unit else _folded(text)


PLURALS = {"leaf": "leaves", "loaf": "loaves", "dozen": "dozen"}


def written_unit(code: str, quantity: Decimal) -> str:
    """Return the code of a unit as people write it after a number: "4 cups", "1 cup", "4 g"."""
    unit = _BY_CODE.get(code)
    if unit is None or unit.display_name != code or quantity <= 1:  # an abbreviation has no plural
        return code
    return PLURALS.get(code) or code + ("es" if code.endswith(("ch", "sh")) else "s")
