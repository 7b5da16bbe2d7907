from collections.abc import Sequence

from fastapi import APIRouter, Request, Response

from freshly.chassis.dependencies import Injected
from freshly.chassis.errors import problems
from freshly.chassis.web.pagination import CurrentListQuery, with_next_link
from freshly.chassis.web.schemas import Id
from freshly.domains.meals.models import Meal
from freshly.domains.meals.schemas import MealRead
from freshly.domains.sharing.errors import (
    AlreadyOffered,
    AlreadyResponded,
    MealToShareNotFound,
    NotYourShareRequest,
    NotYoursToShare,
    OnlyPendingIsCancelled,
    OnlyRecipientResponds,
    OnlySenderCancels,
    RecipientNotFound,
    SharedWithOneself,
    ShareRequestNotFound,
)
from freshly.domains.sharing.schemas import ShareCreate, ShareRead, ShareResponse
from freshly.domains.sharing.service import ShareService

router = APIRouter(prefix="/meal-share-requests", tags=["sharing"])

Shares = Injected[ShareService]


@router.post(
    "",
    status_code=201,
    responses=problems(
        *(SharedWithOneself, NotYoursToShare, MealToShareNotFound, RecipientNotFound),
        AlreadyOffered,
    ),
    summary="Offer a meal of mine to a member of my families",
)
async def create_request(shares: Shares, new: ShareCreate) -> ShareRead:
    return await shares.create(new)


@router.get("/pending", summary="List the pending offers to me, newest first")
async def list_pending(
    shares: Shares, query: CurrentListQuery, request: Request, response: Response
) -> Sequence[ShareRead]:
    return with_next_link(request, response, await shares.pending(query))


@router.get("/sent", summary="List the offers I sent, newest first")
async def list_sent(
    shares: Shares, query: CurrentListQuery, request: Request, response: Response
) -> Sequence[ShareRead]:
    return with_next_link(request, response, await shares.sent(query))


@router.get("/received", summary="List the offers I received, newest first")
async def list_received(
    shares: Shares, query: CurrentListQuery, request: Request, response: Response
) -> Sequence[ShareRead]:
    return with_next_link(request, response, await shares.received(query))


@router.get(
    "/accepted-meals", response_model=list[MealRead], summary="List my copies of accepted meals"
)
async def list_accepted_meals(
    shares: Shares, query: CurrentListQuery, request: Request, response: Response
) -> Sequence[Meal]:
    return with_next_link(request, response, await shares.accepted_meals(query))


@router.post(
    "/{id}/respond",
    responses=problems(
        *(AlreadyResponded, OnlyRecipientResponds, NotYourShareRequest, ShareRequestNotFound)
    ),
    summary="Accept an offer, which copies the meal, or decline it",
)
async def respond(shares: Shares, id: Id, answer: ShareResponse) -> ShareRead:
    return await shares.respond(id, accepted=answer.action == "accept")


@router.delete(
    "/{id}",
    status_code=204,
    responses=problems(
        *(OnlyPendingIsCancelled, OnlySenderCancels, NotYourShareRequest, ShareRequestNotFound)
    ),
    summary="Withdraw a pending offer",
)
async def cancel_request(shares: Shares, id: Id) -> None:
    await shares.cancel(id)
