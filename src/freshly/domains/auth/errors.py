from freshly.chassis.errors import BadRequest, Unauthenticated


class InvalidToken(Unauthenticated):
    code, detail = "invalid_token", "Invalid token"


class TokenExpired(Unauthenticated):
    code, detail = "token_expired", "Token expired"
    headers = {**Unauthenticated.headers, "X-Token-Status": "expired"}


class TokenRevoked(Unauthenticated):
    code, detail = "token_revoked", "Token has been revoked"


class UserGone(Unauthenticated):
    code, detail = "user_gone", "User not found"


class InvalidCredentials(Unauthenticated):
    code, detail = "invalid_credentials", "Invalid credentials"


class InvalidRefreshToken(Unauthenticated):
    code, detail = "invalid_refresh_token", "Invalid or expired refresh token"


class WrongTokenType(Unauthenticated):
    code, detail = "wrong_token_type", "Invalid token type"


class RefreshTokenRevoked(Unauthenticated):
    code, detail = "refresh_token_revoked", "Refresh token has been revoked"


class RefreshTokenReplayed(RefreshTokenRevoked):
    """Used again after its grace: somebody has a copy, so the whole sign-in ends, for good."""

    keeps_work = True


class EmailAlreadyRegistered(BadRequest):
    code, detail = "email_already_registered", "Email already registered"
