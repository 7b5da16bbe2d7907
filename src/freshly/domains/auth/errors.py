from freshly.chassis.errors import (
    AppError,
    BadRequest,
    Conflict,
    Forbidden,
    NotFound,
    Unauthenticated,
    Unprocessable,
)
from freshly.chassis.ports.oauth import (
    OAuthNotConfigured,
    OAuthTokenExpired,
    OAuthTokenInvalid,
    OAuthUnreachable,
)


class InvalidToken(Unauthenticated):
    code, detail = "invalid_token", "Invalid token"


class TokenExpired(Unauthenticated):
    code, detail = "token_expired", "Token expired"
    headers = {**Unauthenticated.headers, "X-Token-Status": "expired"}


class TokenRevoked(Unauthenticated):
    code, detail = "token_revoked", "Token has been revoked"


class UserGone(Unauthenticated):
    code, detail = "user_gone", "User not found"


class AccountSuspended(Unauthenticated):
    code = "account_suspended"
    detail = "This account is suspended. Please ask the operator of this server."


class AccountClosed(Unauthenticated):
    code = "account_closed"
    detail = "This account is closed. To keep it, please open the link in our email."


class InvalidCredentials(Unauthenticated):
    code, detail = "invalid_credentials", "Invalid credentials"


class InvalidRefreshToken(Unauthenticated):
    code, detail = "invalid_refresh_token", "Invalid or expired refresh token"


class WrongTokenType(Unauthenticated):
    code, detail = "wrong_token_type", "Invalid token type"


class RefreshTokenRevoked(Unauthenticated):
    code, detail = "refresh_token_revoked", "Refresh token has been revoked"


class RefreshTokenReplayed(RefreshTokenRevoked):
    """A refresh token was used twice, so it may be stolen. The service ends its session."""

    commit_on_error = True


class SessionNotFound(NotFound):
    code, detail = "session_not_found", "Session not found. It may have ended already."


class EmailAlreadyRegistered(BadRequest):
    code, detail = "email_already_registered", "Email already registered"


class NoAddress(Unprocessable):
    code, detail = "no_address", "Email is required."


class NoActiveCode(BadRequest):
    code, detail = "no_active_code", "No active verification code."


class CodeExpired(BadRequest):
    code, detail = "code_expired", "Verification code expired."


class WrongCode(BadRequest):
    code, detail = "wrong_code", "Invalid verification code."
    commit_on_error = True  # the attempt counts


class NoActiveResetCode(BadRequest):
    code, detail = "no_active_code", "Invalid or expired code."


class ResetCodeExpired(BadRequest):
    code, detail = "code_expired", "Code expired. Request a new one."


class WrongResetCode(BadRequest):
    code, detail = "wrong_code", "Invalid code."
    commit_on_error = True


class TooManyAttempts(AppError):
    status, code = 429, "too_many_tries"
    detail = "Too many attempts. Request a new code."


class ReauthenticationRequired(Forbidden):
    code = "reauthentication_required"
    detail = (
        "Please confirm that it is you: send your password, or a code from an email, to "
        "POST /auth/reauthenticate, and its token in X-Reauth."
    )


class WrongPassword(BadRequest):
    code, detail = "wrong_password", "This password is wrong."
    commit_on_error = True  # for the activity log


class ProofMissing(Unprocessable):
    code, detail = "proof_missing", "Please send your password, or a code from an email."


class InvalidLink(BadRequest):
    code = "invalid_link"
    detail = "This link does not work any more. Please ask for a new one in the app."


class InvalidResetToken(BadRequest):
    code, detail = "invalid_reset_token", "Invalid or expired token."


class WrongTokenScope(Forbidden):
    code, detail = "wrong_token_scope", "Invalid token scope."


class PasswordTooShort(BadRequest):
    code, detail = "password_too_short", "Password must be at least 8 characters."


class PasswordTooCommon(BadRequest):
    code = "password_too_common"
    detail = (
        "This password is one of the first that a stranger would try. "
        "Please choose another one, such as four unrelated words."
    )


class PasswordIsPersonal(BadRequest):
    code = "password_is_personal"
    detail = "Please choose a password that is not your name or your email address."


class NoOAuthToken(Unauthenticated):
    code, detail = "invalid_token", "Invalid or expired token"


class OAuthWithoutEmail(BadRequest):
    code, detail = "oauth_without_email", "OAuth profile missing email"


class UnsupportedProvider(BadRequest):
    code, detail = "unsupported_provider", "Unsupported OAuth provider"


class ProviderMismatch(BadRequest):
    code, detail = "provider_mismatch", "Authentication provider mismatch."
    commit_on_error = True  # for the activity log


class NotRegistered(NotFound):
    code, detail = "not_registered", "User not registered. Please sign up first."


class OAuthEmailTaken(Conflict):
    code, detail = "email_taken", "Email already registered"


class OAuthEmailTakenByProvider(Conflict):
    code, detail = "email_taken", "Email already registered with {provider}"


class OAuthAccountTaken(Conflict):
    code, detail = "oauth_account_taken", "This account is already registered. Please sign in."


OAUTH_ERRORS = (
    *(NoOAuthToken, OAuthTokenInvalid, OAuthTokenExpired),
    *(UnsupportedProvider, OAuthNotConfigured, OAuthUnreachable),
)
