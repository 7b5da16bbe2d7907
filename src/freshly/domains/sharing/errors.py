from freshly.chassis.errors import BadRequest, Conflict, Forbidden, NotFound


class MealToShareNotFound(NotFound):
    code, nested = "meal_not_found", True
    detail = "Meal not found. It may have been deleted."


class NotYoursToShare(Forbidden):
    code, nested = "not_meals_owner", True
    detail = "You can share only meals that you created."


class SharedWithOneself(BadRequest):
    code, nested = "shared_with_oneself", True
    detail = "You cannot share a meal with yourself. Please choose another person."


class RecipientNotFound(NotFound):
    code, nested = "recipient_not_found", True
    detail = "Recipient not found. Please choose a member of one of your families."


class AlreadyOffered(Conflict):
    code, nested = "already_offered", True
    detail = "You have already offered this meal to this person. Please wait for the answer."


class ShareRequestNotFound(NotFound):
    code = "share_request_not_found"
    detail = "Share request not found. It may have been cancelled."


class NotYourShareRequest(Forbidden):
    code = "not_your_share_request"
    detail = "This share request belongs to other users."


class OnlyRecipientResponds(Forbidden):
    code = "only_recipient_responds"
    detail = "Only the recipient can answer this share request."


class OnlySenderCancels(Forbidden):
    code = "only_sender_cancels"
    detail = "Only the sender can cancel this share request."


class AlreadyResponded(BadRequest):
    code, detail = "already_responded", "Request has already been {status}"


class OnlyPendingIsCancelled(BadRequest):
    code, detail = "only_pending_is_cancelled", "Can only cancel pending requests"
