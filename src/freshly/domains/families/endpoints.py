from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Annotated

from fastapi import APIRouter, Body, Form, Header, Path, Query, Request, Response
from fastapi.responses import HTMLResponse

from freshly.chassis.data.pagination import BadCursor, Page, PageQuery, PageRows
from freshly.chassis.dependencies import Injected, direct
from freshly.chassis.errors import problems
from freshly.chassis.rate_limits.policy import RateLimited
from freshly.chassis.security.caller import CurrentCaller
from freshly.chassis.web.etags import to_response
from freshly.chassis.web.rate_limiting import CallLimits
from freshly.chassis.web.schemas import Id, Ok
from freshly.domains.administration.errors import (
    InvitationInvalid,
    InvitationRequired,
    SignUpClosed,
)
from freshly.domains.administration.invitations import PATH
from freshly.domains.auth.errors import (
    OAUTH_ERRORS,
    EmailAlreadyRegistered,
    OAuthAccountTaken,
    OAuthEmailTaken,
    OAuthWithoutEmail,
    PasswordIsPersonal,
    PasswordTooCommon,
)
from freshly.domains.auth.oauth import bearer_token
from freshly.domains.auth.pages import HEADERS
from freshly.domains.auth.schemas import (
    LinkToken,
    OAuthSignUp,
    OAuthTokens,
    Register,
    SignUpForm,
)
from freshly.domains.families import pages
from freshly.domains.families.access import CurrentAccess
from freshly.domains.families.errors import (
    InvalidInviteCode,
    InvalidRole,
    InvitationNotFound,
    LastOwner,
    MemberNotFound,
    MembershipNotFound,
    NotAFamilyMember,
    NotAllowed,
    NotAMember,
    TooManyInvitations,
)
from freshly.domains.families.invitations import (
    CodeKind,
    InvitationPreviewer,
    InvitationService,
    InviteCode,
    JoinService,
)
from freshly.domains.families.models import Invitation
from freshly.domains.families.permissions import allowed
from freshly.domains.families.schemas import (
    FamilyCreate,
    FamilyPermissions,
    FamilyRead,
    FreeRoleUpdate,
    InvitationCreate,
    InvitationCreated,
    InvitationPreview,
    InvitationRead,
    JoinFamily,
    Kicked,
    Left,
    MembershipRead,
    PermissionsRead,
    RoleUpdate,
)
from freshly.domains.families.service import FamilyListing, FamilyService
from freshly.domains.families.signing_up import OAuthSignUpService, SignUpService
from freshly.domains.preferences.errors import FoodNotFound, PreferencesNotSet
from freshly.domains.preferences.schemas import PreferenceRead
from freshly.domains.preferences.service import PreferenceService
from freshly.domains.users.models import User
from freshly.domains.users.schemas import MemberRead, UserRead

router = APIRouter(tags=["families"])
public = APIRouter()

SIGN_UP_REFUSALS = (SignUpClosed, InvitationRequired, InvitationInvalid)
Families = Injected[FamilyService]
SignUp = Injected[SignUpService]
Invitations = Injected[InvitationService]


@public.post(
    "/auth/register",
    tags=["auth"],
    response_model=UserRead,
    responses=problems(
        *(EmailAlreadyRegistered, FoodNotFound, PasswordTooCommon, PasswordIsPersonal),
        *SIGN_UP_REFUSALS,
    ),
    summary="Create an account",
)
async def register(sign_up: SignUp, new: Register) -> User:
    return await sign_up.register(new)


@public.post(
    "/auth/signup/oauth",
    tags=["auth"],
    responses=problems(
        *(OAuthWithoutEmail, OAuthEmailTaken, OAuthAccountTaken),
        *OAUTH_ERRORS,
        *SIGN_UP_REFUSALS,
    ),
    summary="Create an account with Google or Apple (bearer: Supabase token)",
)
async def sign_up_by_oauth(
    sign_up: Injected[OAuthSignUpService],
    new: Annotated[OAuthSignUp | None, Body()] = None,
    authorization: Annotated[str | None, Header(max_length=10_000)] = None,
) -> OAuthTokens:
    invitation = new.invitation if new else None
    return await sign_up.sign_up(bearer_token(authorization), invitation)


@public.get(
    PATH,
    tags=["auth"],
    response_class=HTMLResponse,
    responses=problems(InvitationInvalid),
    summary="Show the form of an invitation to sign up",
)
async def show_sign_up(sign_up: SignUp, token: LinkToken) -> HTMLResponse:
    makes_administrator = await sign_up.makes_administrator(token)
    page = pages.form(token, makes_administrator=makes_administrator)
    return HTMLResponse(page, headers=HEADERS)


@public.post(
    PATH,
    tags=["auth"],
    response_class=HTMLResponse,
    responses=problems(
        *(EmailAlreadyRegistered, PasswordTooCommon, PasswordIsPersonal),
        *SIGN_UP_REFUSALS,
    ),
    summary="Create an account with the form of an invitation",
)
async def sign_up_by_form(sign_up: SignUp, form: Annotated[SignUpForm, Form()]) -> HTMLResponse:
    await sign_up.register(form.as_registration())
    return HTMLResponse(pages.created(), headers=HEADERS)


@router.get("/users/me/permissions", summary="Get what I may do, by family")
async def read_permissions(caller: CurrentCaller, access: CurrentAccess) -> PermissionsRead:
    return PermissionsRead(
        tier=caller.tier,
        administrator=caller.is_administrator,
        families=[
            FamilyPermissions(family_id=family_id, role=role, allows=allowed(role))
            for family_id, role in access.roles.items()
        ],
    )


@router.get("/families", response_model=list[FamilyRead], summary="List my families")
@direct
async def list_families(families: Injected[FamilyListing], request: Request) -> Response:
    return to_response(request, await families.page())


@router.post("/families", summary="Create a family, as its owner")
async def create_family(families: Families, new: FamilyCreate) -> FamilyRead:
    return await families.create(new)


@router.post(
    "/families/join",
    responses=problems(InvalidInviteCode, RateLimited),
    summary="Join a family with a code or with an invitation's token",
)
async def join_family(
    joining: Injected[JoinService], limits: Injected[CallLimits], given: JoinFamily
) -> MembershipRead:
    """Limit wrong codes by network, and wrong digits for all networks together.

    Each try counts until its code has turned out not to be wrong, so that many at once pass no
    limit.
    """
    code = InviteCode.parse(given.invite_code)
    counted = {
        CodeKind.DIGITS: {"invite-code": limits.networks, "invite-code-all": {"all": 1}},
        CodeKind.LETTERS: {"invite-code": limits.networks},
        CodeKind.TOKEN: {},
    }[code.kind]
    async with AsyncExitStack() as unless_wrong:
        for group, subjects in counted.items():
            await limits.count(group, subjects)
            unless_wrong.push_async_callback(limits.give_back, group, subjects)
        try:
            return await joining.join(code)
        except InvalidInviteCode:
            unless_wrong.pop_all()
            raise


@router.get(
    "/families/{family_id}", responses=problems(NotAFamilyMember), summary="Get a family of mine"
)
async def read_family(families: Families, family_id: Id) -> FamilyRead:
    return await families.read(family_id)


@router.delete(
    "/families/{family_id}",
    responses=problems(NotAllowed),
    summary="Delete a family (owner): at once with proof that it is me, else after seven days",
)
async def delete_family(families: Families, family_id: Id) -> Ok:
    await families.delete(family_id)
    return Ok()


@router.post(
    "/families/{family_id}/invite/regenerate",
    responses=problems(NotAllowed),
    summary="Replace the invite code (admin, owner)",
)
async def regenerate_code(families: Families, family_id: Annotated[Id, Path(ge=1)]) -> FamilyRead:
    return await families.regenerate_code(family_id)


@router.post(
    "/families/{family_id}/invitations",
    status_code=201,
    responses=problems(NotAllowed, TooManyInvitations),
    summary="Invite to a family by a link or a short code (admin, owner)",
)
async def create_invitation(
    invitations: Invitations, family_id: Id, new: InvitationCreate
) -> InvitationCreated:
    return await invitations.create(family_id, new)


@router.get(
    "/families/{family_id}/invitations",
    response_model=Page[InvitationRead],
    responses=problems(NotAllowed, BadCursor),
    summary="List the open invitations of a family (admin, owner)",
)
async def list_invitations(
    invitations: Invitations, family_id: Id, query: Annotated[PageQuery, Query()]
) -> PageRows[Invitation]:
    return await invitations.page(family_id, query)


@router.delete(
    "/families/{family_id}/invitations/{invitation_id}",
    status_code=204,
    responses=problems(NotAllowed, InvitationNotFound),
    summary="End an invitation (admin, owner)",
)
async def end_invitation(invitations: Invitations, family_id: Id, invitation_id: Id) -> None:
    await invitations.end(family_id, invitation_id)


@public.get(
    "/invitations",
    tags=["families"],
    responses=problems(InvitationNotFound),
    summary="Show what a link invites to",
)
async def preview_invitation(
    invitations: Injected[InvitationPreviewer],
    token: Annotated[str, Query(max_length=64, pattern=r"^[\w-]*$")],
) -> InvitationPreview:
    return await invitations.preview(token)


@router.get(
    "/families/{family_id}/members",
    responses=problems(NotAFamilyMember),
    summary="List the members of a family",
)
async def list_members(families: Families, family_id: Id) -> Sequence[MembershipRead]:
    return await families.members(family_id)


@router.delete(
    "/families/{family_id}/members/{user_id}",
    responses=problems(LastOwner, NotAllowed, NotAMember),
    summary="Leave, or remove a member (admin, owner)",
)
async def remove_member(families: Families, family_id: Id, user_id: Id) -> Ok:
    await families.remove_member(family_id, user_id)
    return Ok()


@router.patch(
    "/families/{family_id}/members/{user_id}/role",
    responses=problems(LastOwner, NotAllowed, MemberNotFound),
    summary="Change a member's role (admin, owner)",
)
async def change_role(
    families: Families, family_id: Id, user_id: Id, update: RoleUpdate
) -> MembershipRead:
    return await families.change_role(family_id, user_id, update.role)


@router.get(
    "/families/{family_id}/members/{user_id}/preferences",
    responses=problems(NotAllowed, MemberNotFound, PreferencesNotSet),
    summary="Get a member's preferences (owner)",
)
async def read_members_preferences(
    families: Families, preferences: Injected[PreferenceService], family_id: Id, user_id: Id
) -> PreferenceRead:
    member = await families.member_of_owned_family(family_id, user_id)
    read = PreferenceRead.model_validate(await preferences.of(member.user_id))
    return read if member.user.shares_profile else read.without_body()


@router.get(
    "/families/{family_id}/members/{user_id}/profile",
    responses=problems(NotAllowed, MemberNotFound),
    summary="Get what a member shares of their profile (owner)",
)
async def read_members_profile(families: Families, family_id: Id, user_id: Id) -> MemberRead:
    return await families.profile(family_id, user_id)


@router.patch(
    "/memberships/{id}/role",
    responses=problems(InvalidRole, LastOwner, NotAllowed, MembershipNotFound),
    summary="Change the role of a membership (owner)",
)
async def change_membership_role(
    families: Families, id: Id, update: FreeRoleUpdate, family_id: Id | None = None
) -> Ok:
    await families.change_role_of(id, family_id, update.role)
    return Ok()


@router.delete(
    "/memberships/{id}",
    responses=problems(LastOwner, NotAllowed, MembershipNotFound),
    summary="Leave, or remove a member (admin, owner), by membership",
)
async def remove_membership(families: Families, id: Id) -> Left | Kicked:
    return await families.remove_membership(id)
