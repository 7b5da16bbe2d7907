from freshly.chassis.errors import Conflict, Forbidden, NotFound


class NotificationNotFound(NotFound):
    code, detail = "notification_not_found", "Notification not found"


class NotYourNotification(Forbidden):
    code, detail = "not_your_notification", "This notification is somebody else's"


class EmailNotConfirmed(Conflict):
    code = "email_not_confirmed"
    detail = "Confirm your e-mail address first, so that letters reach you and nobody else."
