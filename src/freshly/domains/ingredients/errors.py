from freshly.chassis.errors import Conflict, Forbidden, NotFound, Unprocessable


class IngredientNotFound(NotFound):
    code, detail = "ingredient_not_found", "Ingredient not found"


class UnitNotFound(NotFound):
    code, detail = "unit_not_found", "Unit not found"


class IngredientExists(Conflict):
    code, detail = "ingredient_exists", "Ingredient already exists"


class NotYourIngredient(Forbidden):
    code = "not_your_ingredient"
    detail = "Only who added an ingredient may change it, and only while nobody else uses it"


class QuantityTooLarge(Unprocessable):
    code = "quantity_too_large"
    detail = "quantity: {quantity} {unit} is more than can be kept (less than 10000000 {canonical})"
