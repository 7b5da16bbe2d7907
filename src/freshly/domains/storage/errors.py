from freshly.chassis.errors import AppError, BadRequest, Forbidden, NotFound


class InvalidImageType(BadRequest):
    code, detail = "invalid_image_type", "Invalid image type"


class ImageTooLarge(AppError):
    status, code, detail = 413, "image_too_large", "The picture is larger than {limit}"


class FileMissing(NotFound):
    code, detail = "file_not_found", "No such file"


class LinkNotValid(Forbidden):
    code, detail = "link_not_valid", "This link is not valid, or not any more"
