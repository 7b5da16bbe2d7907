from freshly.chassis.errors import Conflict, NotFound


class UserNotFound(NotFound):
    code, detail = "user_not_found", "User not found"


class EmailTaken(Conflict):
    code, detail = "email_taken", "Email already registered"
