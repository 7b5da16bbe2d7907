from freshly.chassis.errors import NotFound


class ExportNotFound(NotFound):
    code = "export_not_found"
    detail = "This export is not there any more. It stays for an hour. Please export again."
