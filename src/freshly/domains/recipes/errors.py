from freshly.chassis.errors import Forbidden, NotFound


class RecipeNotFound(NotFound):
    code, detail = "recipe_not_found", "Recipe not found. It may have been deleted."


class NotRecipesKeeper(Forbidden):
    code = "not_recipes_keeper"


class DietTagNotFound(NotFound):
    code, detail = "diet_tag_not_found", "Diet tag not found. Please choose another one."
