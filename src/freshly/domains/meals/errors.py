from freshly.chassis.errors import Forbidden, NotFound


class MealNotFound(NotFound):
    code, detail = "meal_not_found", "Meal not found"


class MealNotFoundOrForeign(NotFound):
    code, detail = "meal_not_found", "Meal not found or unauthorized"


class NotMealsOwner(Forbidden):
    code, detail = "not_meals_owner", "Only who created a meal may change it"


class NotInMealsFamily(Forbidden):
    code, detail = "not_a_family_member", "Not a member of this family"
    nested = True


class MealToAttachNotFound(MealNotFound):
    nested = True


class NotYoursToAttach(NotMealsOwner):
    nested = True
