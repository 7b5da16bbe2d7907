from freshly.chassis.errors import AppError, BadRequest, NotFound


class ConversationNotFound(NotFound):
    code, detail = "conversation_not_found", "Conversation not found. It may have been deleted."


class InvalidBase64(BadRequest):
    code, detail = "invalid_base64", "The picture could not be read. Please choose it again."


class NotAFoodPicture(BadRequest):
    code = "not_about_food"
    detail = "Please say what you want to know about the food in the picture."


class UnsupportedPicture(AppError):
    status, code = 415, "unsupported_picture"
    detail = "The picture must be a JPEG, PNG or WebP file."


class PictureTooLarge(AppError):
    status, code = 413, "picture_too_large"
    detail = "The picture must not be larger than {limit} MB. Please choose a smaller one."


class NotAScan(BadRequest):
    code = "not_a_picture"
    detail = "The file is not a picture. Please choose a JPEG, PNG or WebP file."


class BadScanType(BadRequest):
    code, detail = "bad_scan_type", "Scan type must be groceries or receipt."
