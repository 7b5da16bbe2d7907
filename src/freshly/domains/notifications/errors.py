from freshly.chassis.errors import Forbidden, NotFound


class NotificationNotFound(NotFound):
    code, detail = "notification_not_found", "Notification not found"


class NotYourNotification(Forbidden):
    code, detail = "not_your_notification", "This notification is somebody else's"
