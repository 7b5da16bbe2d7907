from freshly.chassis.errors import AppError, BadRequest, NotFound


class ConversationNotFound(NotFound):
    code, detail = "conversation_not_found", "Conversation not found"


class InvalidBase64(BadRequest):
    code, detail = "invalid_base64", "The picture is not valid base64"


class NotAFoodPicture(BadRequest):
    code = "not_about_food"
    detail = "Say what you want to know about the food in the picture"


class UnsupportedPicture(AppError):
    status, code = 415, "unsupported_picture"
    detail = "The picture must be a JPEG, PNG or WebP"


class PictureTooLarge(AppError):
    status, code, detail = 413, "picture_too_large", "The picture is larger than {limit} MB"


class NotAScan(BadRequest):
    code, detail = "not_a_picture", "The file is not a JPEG, PNG or WebP picture"


class BadScanType(BadRequest):
    code, detail = "bad_scan_type", "scan_type: is neither groceries nor receipt"
