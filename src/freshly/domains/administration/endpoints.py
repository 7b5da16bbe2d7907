from typing import Annotated, Any

from fastapi import APIRouter, Query

from freshly.chassis.data.pagination import BadCursor, Page, PageQuery, PageRows
from freshly.chassis.dependencies import Injected
from freshly.chassis.errors import problems
from freshly.chassis.web.schemas import Id
from freshly.domains.administration.errors import (
    AccountNotFound,
    LastAdministrator,
    NotAnAdministrator,
    SignUpInvitationNotFound,
    UnknownTier,
)
from freshly.domains.administration.invitations import InvitationsOfAdministrator
from freshly.domains.administration.models import AdministratorAct, SignUpInvitation
from freshly.domains.administration.schemas import (
    AccountQuery,
    AccountRead,
    ActQuery,
    ActRead,
    SignUpInvitationCreate,
    SignUpInvitationCreated,
    SignUpInvitationId,
    SignUpInvitationRead,
    TierUpdate,
)
from freshly.domains.administration.service import AdministratorService, require_administrator
from freshly.domains.auth.errors import ReauthenticationRequired

router = APIRouter(prefix="/admin", tags=["administration"], dependencies=[require_administrator])

Administrator = Injected[AdministratorService]
Invitations = Injected[InvitationsOfAdministrator]


@router.get(
    "/accounts",
    response_model=Page[AccountRead],
    responses=problems(BadCursor, NotAnAdministrator),
    summary="List or search accounts, newest first",
)
async def list_accounts(
    administrator: Administrator, query: Annotated[AccountQuery, Query()]
) -> PageRows[Any]:
    return await administrator.page(query)


@router.get(
    "/accounts/{id}",
    responses=problems(NotAnAdministrator, AccountNotFound),
    summary="Get an account, without what its user keeps",
)
async def read_account(administrator: Administrator, id: Id) -> AccountRead:
    return await administrator.read(id)


@router.post(
    "/accounts/{id}/suspend",
    responses=problems(
        NotAnAdministrator, ReauthenticationRequired, AccountNotFound, LastAdministrator
    ),
    summary="Sign a user out, and let them in no more",
)
async def suspend_account(administrator: Administrator, id: Id) -> AccountRead:
    return await administrator.suspend(id)


@router.post(
    "/accounts/{id}/restore",
    responses=problems(NotAnAdministrator, ReauthenticationRequired, AccountNotFound),
    summary="Let the user of a suspended or closed account in again",
)
async def restore_account(administrator: Administrator, id: Id) -> AccountRead:
    return await administrator.restore(id)


@router.post(
    "/accounts/{id}/sign-out",
    responses=problems(NotAnAdministrator, ReauthenticationRequired, AccountNotFound),
    summary="End all sessions of an account",
)
async def sign_out_account(administrator: Administrator, id: Id) -> AccountRead:
    return await administrator.sign_out(id)


@router.post(
    "/accounts/{id}/tier",
    responses=problems(NotAnAdministrator, ReauthenticationRequired, AccountNotFound, UnknownTier),
    summary="Set the tier of an account",
)
async def set_tier(administrator: Administrator, id: Id, update: TierUpdate) -> AccountRead:
    return await administrator.set_tier(id, update.tier)


@router.get(
    "/acts",
    response_model=Page[ActRead],
    responses=problems(BadCursor, NotAnAdministrator),
    summary="List what administrators did, newest first",
)
async def list_acts(
    administrator: Administrator, query: Annotated[ActQuery, Query()]
) -> PageRows[AdministratorAct]:
    return await administrator.page_of_acts(query)


@router.get(
    "/invitations",
    response_model=Page[SignUpInvitationRead],
    responses=problems(BadCursor, NotAnAdministrator),
    summary="List the open invitations to sign up, newest first",
)
async def list_invitations(
    invitations: Invitations, query: Annotated[PageQuery, Query()]
) -> PageRows[SignUpInvitation]:
    return await invitations.page(query)


@router.post(
    "/invitations",
    status_code=201,
    responses=problems(NotAnAdministrator, ReauthenticationRequired),
    summary="Invite a person to create an account",
)
async def create_invitation(
    invitations: Invitations, new: SignUpInvitationCreate
) -> SignUpInvitationCreated:
    return await invitations.create(new)


@router.delete(
    "/invitations/{id}",
    status_code=204,
    responses=problems(NotAnAdministrator, ReauthenticationRequired, SignUpInvitationNotFound),
    summary="End an invitation to sign up",
)
async def end_invitation(invitations: Invitations, id: SignUpInvitationId) -> None:
    await invitations.end(id)
