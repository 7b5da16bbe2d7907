from freshly.chassis.errors import BadRequest, Forbidden, NotFound


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
