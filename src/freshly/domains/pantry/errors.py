from freshly.chassis.errors import BadRequest, Forbidden, NotFound


class PantryItemNotFound(NotFound):
    code, detail = "pantry_item_not_found", "Item not found"


class NotYourPantry(Forbidden):
    code, detail = "not_your_pantry", "Not a member of this family"


class PersonalItemsOnly(BadRequest):
    code, detail = "personal_items_only", "Only personal items can be created here"
