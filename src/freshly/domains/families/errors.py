from freshly.chassis.errors import BadRequest, Conflict, Forbidden, NotFound, Unavailable


class NotAFamilyMember(Forbidden):
    code, detail = "not_a_family_member", "Not a member of this family"


class InvalidInviteCode(NotFound):
    code, detail = "invalid_invite_code", "Invalid invite code"


class NotAMember(NotFound):
    code, detail = "not_a_member", "Not a member"


class MemberNotFound(NotFound):
    code, detail = "member_not_found", "User is not a member of this family"


class MembershipNotFound(NotFound):
    code = "membership_not_found"
    detail = "Membership not found. The member may have left the family."


class InvalidRole(BadRequest):
    code, detail = "invalid_role", "Invalid role"


class LastOwner(BadRequest):
    code, detail = "last_owner", "Family must retain at least one owner"


class NotAllowed(Forbidden):
    code, detail = "insufficient_permissions", "Insufficient permissions"


class NoFreeInviteCode(Unavailable):
    code = "no_free_invite_code"
    detail = "No invite code could be found for the family. Please try again in a moment."


class InvitationNotFound(NotFound):
    code = "invitation_not_found"
    detail = "Invitation not found. It may be used up or have ended. Please ask for a new one."


class TooManyInvitations(Conflict):
    code = "too_many_invitations"
    detail = "This family has {limit} open invitations. Please end one of them first."
