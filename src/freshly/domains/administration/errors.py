from freshly.chassis.errors import BadRequest, Conflict, Forbidden, NotFound


class NotAnAdministrator(Forbidden):
    code = "not_an_administrator"
    detail = "Only administrators of this server may do this."


class AccountNotFound(NotFound):
    code, detail = "account_not_found", "Account not found. It may have been deleted."


class LastAdministrator(Conflict):
    code = "last_administrator"
    detail = "This is the only active administrator. Please make another account one first."


class UnknownTier(BadRequest):
    code, detail = "unknown_tier", "There is no such tier. Please give one of: {tiers}."


class SignUpInvitationNotFound(NotFound):
    code = "sign_up_invitation_not_found"
    detail = "Invitation not found. It was used or has ended."


class SignUpClosed(Forbidden):
    code, detail = "sign_up_closed", "This server takes no new accounts."


class InvitationRequired(Forbidden):
    code = "invitation_required"
    detail = "A new account on this server needs an invitation: please open its link."


class InvitationInvalid(Forbidden):
    code = "invitation_invalid"
    detail = "This invitation does not work any more. Please ask for a new one."
