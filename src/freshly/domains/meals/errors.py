from freshly.chassis.errors import Forbidden, NotFound


class MealNotFound(NotFound):
    code, detail = "meal_not_found", "Meal not found. It may have been deleted."


class MealNotFoundOrForeign(NotFound):
    code, detail = "meal_not_found", "Meal not found or unauthorized"


class NotMealsOwner(Forbidden):
    code, detail = "not_meals_owner", "You can change only meals that you created."


class NotInMealsFamily(Forbidden):
    code, detail = "not_a_family_member", "Not a member of this family"
    nested = True


class MealToAttachNotFound(MealNotFound):
    nested = True


class NotYoursToAttach(NotMealsOwner):
    nested = True
