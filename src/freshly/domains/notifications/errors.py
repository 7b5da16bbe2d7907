from freshly.chassis.errors import Conflict, Forbidden, NotFound


class NotificationNotFound(NotFound):
    code = "notification_not_found"
    detail = "Notification not found. It may have been deleted."


class NotYourNotification(Forbidden):
    code, detail = "not_your_notification", "This notification belongs to another user."


class EmailNotConfirmed(Conflict):
    code = "email_not_confirmed"
    detail = "Please confirm your email address first, so that only you receive our emails."
