from freshly.chassis.errors import BadRequest, Conflict, Forbidden, NotFound


class MealToShareNotFound(NotFound):
    code, detail, nested = "meal_not_found", "Meal not found", True


class NotYoursToShare(Forbidden):
    code, detail, nested = "not_meals_owner", "You can only share meals you created", True


class SharedWithOneself(BadRequest):
    code, detail, nested = "shared_with_oneself", "You cannot share a meal with yourself", True


class RecipientNotFound(NotFound):
    code, detail, nested = "recipient_not_found", "Recipient not found", True


class NoCommonFamily(Forbidden):
    code, nested = "no_common_family", True
    detail = "You can share meals with members of your families only"


class AlreadyOffered(Conflict):
    code, nested = "already_offered", True
    detail = "A pending request for this meal and person already exists"


class ShareRequestNotFound(NotFound):
    code, detail = "share_request_not_found", "Share request not found"


class NotYourShareRequest(Forbidden):
    code, detail = "not_your_share_request", "This share request is not yours"


class OnlyRecipientResponds(Forbidden):
    code, detail = "only_recipient_responds", "Only the recipient can respond to this request"


class OnlySenderCancels(Forbidden):
    code, detail = "only_sender_cancels", "Only the sender can cancel this request"


class AlreadyResponded(BadRequest):
    code, detail = "already_responded", "Request has already been {status}"


class OnlyPendingIsCancelled(BadRequest):
    code, detail = "only_pending_is_cancelled", "Can only cancel pending requests"
