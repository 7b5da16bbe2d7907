from freshly.chassis.errors import BadRequest, Conflict, Forbidden, NotFound, Unprocessable


class ListNotFound(NotFound):
    code, detail = "grocery_list_not_found", "List not found"


class ItemNotFound(NotFound):
    code, detail = "grocery_item_not_found", "Item not found"


class ListAccessDenied(Forbidden):
    code, detail = "grocery_list_access_denied", "Access denied to this list"


class OnlyCreatorSyncs(Forbidden):
    code, detail = "only_creator_syncs", "Only the list creator can sync with pantry"


class MealToAddNotFound(BadRequest):
    code, detail = "meal_not_found", "Meal {id} not found"


class PlanToShopNotFound(NotFound):
    code, detail = "meal_plan_not_found", "MealPlan {id} not found"


class TooManyNeeds(Unprocessable):
    code = "too_many_needs"
    detail = (
        "The meals of this plan need {number} ingredients. A list has room for {limit}. "
        "Please plan fewer meals."
    )


class ListFull(Unprocessable):
    code = "grocery_list_full"
    detail = "This list is full. Please remove lines, shorten their notes, or start another list."


class ListHasNoPlan(NotFound):
    code = "grocery_list_has_no_plan"
    detail = "This list does not belong to a meal plan. Please choose a plan."


class ListOfAnotherPlan(Conflict):
    code = "grocery_list_of_another_plan"
    detail = "This list does not belong to that meal plan. Please choose the list of the plan."
