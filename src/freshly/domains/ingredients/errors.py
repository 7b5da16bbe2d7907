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
    detail = (
        "This food is in use in {places}. Remove it there first, or merge it into another food."
    )


class CatalogueIsReadOnly(Forbidden):
    code = "catalogue_is_read_only"
    detail = (
        "This food belongs to Freshly's catalogue. To correct it for yourself, add a food of your"
        " own with the same name."
    )


class IngredientsOfTwoOwners(Conflict):
    code = "ingredients_of_two_owners"
    detail = "These foods belong to different households. Please merge foods of one household."


class MergedIntoItself(Unprocessable):
    code = "merged_into_itself"
    detail = "A food cannot be merged into itself. Please choose another food."


class QuantityTooLarge(Unprocessable):
    code = "quantity_too_large"
    detail = "Quantity is too large. It must be less than 10,000,000 {canonical}."
