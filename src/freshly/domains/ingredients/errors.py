from freshly.chassis.errors import Conflict, Forbidden, NotFound, Unprocessable


class IngredientNotFound(NotFound):
    code, detail = "ingredient_not_found", "Ingredient not found. Please choose another one."


class UnitNotFound(NotFound):
    code, detail = "unit_not_found", "Unit not found. Please choose another one."


class IngredientExists(Conflict):
    code = "ingredient_exists"
    detail = "An ingredient with this name already exists. Please choose another name."


class IngredientInUse(Conflict):
    code = "ingredient_in_use"
    detail = "This food is in use. Remove it from pantries, lists and recipes first."


class NotYourIngredient(Forbidden):
    code = "not_your_ingredient"
    detail = "You can change only ingredients that you added and that no other user has used."


class QuantityTooLarge(Unprocessable):
    code = "quantity_too_large"
    detail = "Quantity is too large. It must be less than 10,000,000 {canonical}."
