"""Rate limits: the group of each route, and the limits of each group."""

from freshly.chassis.rate_limits.policy import Group, Per, with_overrides
from freshly.settings import Settings

GROUPS_BY_ROUTE = {
    "POST /auth/login": "auth-login",
    "POST /auth/refresh": "auth-refresh",
    "POST /auth/register": "auth-register",
    "POST /auth/sign-up": "auth-register",
    "POST /auth/forgot-password": "auth-password-reset",
    "POST /auth/forgot-password/verify": "auth-password-reset",
    "POST /auth/reset-password": "auth-password-reset",
    "POST /auth/login/oauth": "auth-oauth",
    "POST /auth/signup/oauth": "auth-oauth",
    "POST /auth/send-code": "auth-code",
    "POST /auth/verify-code": "auth-code",
    "POST /auth/change-password": "auth-proof",
    "POST /auth/reauthenticate": "auth-proof",
    "POST /auth/reauthenticate/send-code": "auth-proof",
    "POST /auth/confirm-email": "auth-proof",
    "POST /auth/confirm-email/send-code": "auth-proof",
    "POST /chat": "chat",
    "POST /chat/stream": "chat",
    "POST /chat/scan-grocery": "chat",
    "POST /chat/scan-grocery-proxy": "chat",
    "POST /grocery-lists/ingredients/normalize": "chat",
    "POST /chat/legacy": "chat-legacy",
    "POST /chat/generate-image": "chat-image",
    "GET /notifications": "notifications",
    "GET /notifications/unread-count": "notifications",
    "POST /families/join": "join",
    "POST /users/me/export": "export",
}
# By the first word of the path, and whether the request only reads.
GROUPS_BY_SECTION = {
    ("pantry-items", True): "pantry-read",
    ("pantry-items", False): "pantry-write",
    ("grocery-lists", True): "grocery-read",
    ("grocery-lists", False): "grocery-write",
    ("families", True): "families-read",
    ("chat", True): "chat-read",
    ("files", True): "files",
    ("files", False): "files",
}


def groups(settings: Settings) -> dict[str, Group]:
    """Return the groups by name, with the overrides of the settings. Raises BadSettings."""
    general = f"{settings.rate_limit_requests}/{settings.rate_limit_window} second"
    return with_overrides(
        (
            _group("api", general),
            _group("anonymous", "200/minute", "address"),
            _group("files", "1200/minute", "address"),
            _group("avatar-upload", "20/minute"),
            _group("auth-login", f"{settings.auth_rate_limit}/minute;50/day", "address"),
            _group("auth-refresh", "60/minute", "address"),
            _group("auth-register", "5/minute;20/day", "address"),
            _group("auth-password-reset", "3/minute;10/day", "address"),
            _group("auth-oauth", "5/minute;20/hour", "address"),
            _group("auth-code", "5/minute;20/day", "address"),
            _group("auth-attempts", "10/minute;15/hour;20/day"),
            _group("auth-emails", "1/minute;5/day"),
            _group("auth-proof", "5/minute;20/day"),
            _group("email-change", "1/minute;5/day"),
            Group("chat", {"free": "10/minute;50/day", "pro": "30/minute;200/day"}),
            Group(
                "chat-legacy",
                {"free": "10/minute;50/day", "pro": "30/minute;200/day"},
                ("address",),
            ),
            Group("chat-image", {"free": "2/minute;10/day", "pro": "5/minute;50/day"}),
            _group("pantry-write", "60/minute"),
            _group("pantry-read", "120/minute"),
            _group("grocery-write", "60/minute"),
            _group("grocery-read", "120/minute"),
            _group("families-read", "600/minute"),
            Group("join", {"default": "20/hour"}, ("user", "address")),
            # Wrong invite codes. A wrong code names no family, so the second counts for all.
            _group("invite-code", "10/hour;30/day", "address"),
            _group("invite-code-all", "50/hour;200/day", "address"),
            _group("chat-read", "600/minute"),
            _group("notifications", "20/minute"),
            _group("export", "5/day"),
        ),
        settings.rate_limit_overrides,
    )


def _group(name: str, limits: str, per: Per = "user") -> Group:
    return Group(name, {"default": limits}, (per,))


def group_of(method: str, path: str, route_group: str) -> str | None:
    """Return the group of limits that counts a request.

    Return None for what a signed-in user may always do.
    """
    if (method, path) == ("POST", "/auth/logout"):
        return None
    group = GROUPS_BY_ROUTE.get(f"{'GET' if method == 'HEAD' else method} {path}")
    if group is not None:
        return group
    return GROUPS_BY_SECTION.get((route_group, method in ("GET", "HEAD")), "api")
