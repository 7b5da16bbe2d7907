from freshly.chassis.errors import Forbidden, NotFound, Unprocessable


class MealPlanNotFound(NotFound):
    code, detail = "meal_plan_not_found", "Meal plan not found"


class MealPlanNotFoundOrForeign(NotFound):
    # "Meal": the sentence that the existing app knows.
    code, detail = "meal_plan_not_found", "Meal not found or unauthorized"


class NotAllowedOnPlan(Forbidden):
    code, detail = "insufficient_permissions", "Insufficient permissions"


class SlotNotFound(NotFound):
    code, detail = "slot_not_found", "Nothing is planned there"


class WeekEndsBeforeItStarts(Unprocessable):
    code, detail = "week_ends_before_it_starts", "week_end must not be before week_start"
