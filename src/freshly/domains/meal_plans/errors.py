from freshly.chassis.errors import Forbidden, NotFound, Unprocessable


class MealPlanNotFound(NotFound):
    code, detail = "meal_plan_not_found", "Meal plan not found"


class MealPlanNotFoundOrForeign(NotFound):
    # The existing app knows this sentence, which says "Meal".
    code, detail = "meal_plan_not_found", "Meal not found or unauthorized"


class NotAllowedOnPlan(Forbidden):
    code, detail = "insufficient_permissions", "Insufficient permissions"


class SlotNotFound(NotFound):
    code, detail = "slot_not_found", "Nothing is planned for this meal of the day."


class MealPlannedTwice(Unprocessable):
    code = "meal_planned_twice"
    detail = "A meal can be planned once at each time of day. Please raise its portions instead."


class WeekEndsBeforeItStarts(Unprocessable):
    code = "week_ends_before_it_starts"
    detail = "Week end must not be before week start."
