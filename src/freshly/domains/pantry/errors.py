from freshly.chassis.errors import BadRequest, Forbidden, NotFound


class PantryItemNotFound(NotFound):
    code, detail = "pantry_item_not_found", "Item not found"


class NotYourPantry(Forbidden):
    code, detail = "not_your_pantry", "Not a member of this family"


class PersonalItemsOnly(BadRequest):
    code = "personal_items_only"
    detail = "You can add only personal items here. Please leave the family out."
