from freshly.chassis.errors import AppError, BadRequest, Forbidden, NotFound


class InvalidImageType(BadRequest):
    code, detail = "invalid_image_type", "Invalid image type"


class ImageTooLarge(AppError):
    status, code = 413, "image_too_large"
    detail = "The picture must not be larger than {limit}. Please choose a smaller one."


class FileMissing(NotFound):
    code, detail = "file_not_found", "File not found. It may have been deleted."


class LinkNotValid(Forbidden):
    code = "link_not_valid"
    detail = "This link is not valid or has expired. Please load the page again."
