from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import (
    APIRouter,
    BackgroundTasks,
    Depends,
    File,
    Form,
    Query,
    Request,
    Response,
    UploadFile,
)
from fastapi.sse import EventSourceResponse, ServerSentEvent

from freshly.chassis.dependencies import Injected
from freshly.chassis.errors import AppError, problems
from freshly.chassis.ports.llm import MODEL_ERRORS
from freshly.chassis.ports.object_storage import StorageUnavailable
from freshly.chassis.rate_limits.policy import RateLimited
from freshly.chassis.resilience.client_disconnect import cancel_on_disconnect
from freshly.chassis.resilience.graceful_shutdown import GracefulShutdown
from freshly.chassis.resources import CurrentObjectStore, CurrentSettings, Resources, resource
from freshly.chassis.web.error_responses import described
from freshly.chassis.web.etags import to_response
from freshly.chassis.web.pagination import next_link
from freshly.chassis.web.schemas import Id, Line, Message
from freshly.domains.chat import pictures
from freshly.domains.chat.asking import AskService, Turn
from freshly.domains.chat.drawing import DrawService, LegacyService
from freshly.domains.chat.errors import (
    BadScanType,
    ConversationNotFound,
    InvalidBase64,
    NotAFoodPicture,
    NotAScan,
    PictureTooLarge,
    UnsupportedPicture,
)
from freshly.domains.chat.scanning import ScanService
from freshly.domains.chat.schemas import (
    ChatReply,
    ChatRequest,
    ConversationCreate,
    ConversationRead,
    ConversationSummary,
    Delta,
    Done,
    ImageReply,
    ImageRequest,
    LegacyReply,
    LegacyRequest,
    MessageRead,
    ProposedMeal,
    ScanReply,
    ScanRequest,
    StreamProblem,
)
from freshly.domains.chat.service import ConversationListing, ConversationService
from freshly.domains.usage.schemas import UsageRead
from freshly.domains.usage.service import UsageService

router = APIRouter(prefix="/chat", tags=["chat"])

Conversations = Injected[ConversationService]
Skip = Annotated[int, Query(ge=0, le=2**31 - 1)]
CALL_ERRORS = (RateLimited, *MODEL_ERRORS)
PICTURE_ERRORS = (InvalidBase64, PictureTooLarge, UnsupportedPicture)
ASK_ERRORS = (
    *(ConversationNotFound, NotAFoodPicture, StorageUnavailable),
    *PICTURE_ERRORS,
    *CALL_ERRORS,
)
EVENTS = {Delta: "delta", ProposedMeal: "meal", Done: "done"}


@router.post("", responses=problems(*ASK_ERRORS), summary="Send a message to the assistant")
async def chat(request: Request, asking: Injected[AskService], new: ChatRequest) -> ChatReply:
    return await cancel_on_disconnect(request, asking.answer(new))


async def _begin_turn(
    asking: Injected[AskService], new: ChatRequest
) -> AsyncIterator[tuple[AskService, Turn]]:
    """Begin the turn before the stream, so that errors are responses with their own status."""
    async with asking.begin(new) as turn:
        yield asking, turn


@router.post(
    "/stream",
    response_class=EventSourceResponse,
    responses=problems(*ASK_ERRORS),
    summary="Send a message and stream the reply as server-sent events",
)
async def stream_chat(
    begun_turn: Annotated[tuple[AskService, Turn], Depends(_begin_turn)],
    stopping: Annotated[GracefulShutdown, resource(Resources.shutdown)],
) -> AsyncIterator[ServerSentEvent]:
    asking, turn = begun_turn
    try:
        async for part in stopping.until_deadline(asking.stream(turn)):
            yield ServerSentEvent(event=EVENTS[type(part)], data=part)
    except AppError as error:
        await asking.end(turn)  # store the text before the client learns that no more comes
        yield ServerSentEvent(event="error", data=StreamProblem(problem=described(error)))


@router.get("/usage", summary="Get the tokens used today by me and my families")
async def read_usage(usage: Injected[UsageService]) -> UsageRead:
    return await usage.read()


@router.get(
    "/conversations",
    response_model=list[ConversationSummary],
    summary="List my conversations, latest activity first",
)
async def list_conversations(
    conversations: Injected[ConversationListing],
    request: Request,
    skip: Skip = 0,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Response:
    return to_response(request, await conversations.page(skip, limit))


@router.post("/conversations", summary="Start a conversation")
async def create_conversation(
    conversations: Conversations, new: ConversationCreate
) -> ConversationRead:
    return await conversations.create(new)


@router.get(
    "/conversations/{id}",
    responses=problems(ConversationNotFound),
    summary="Get a conversation with its messages",
)
async def read_conversation(conversations: Conversations, id: Id) -> ConversationRead:
    return await conversations.read(id)


@router.delete(
    "/conversations/{id}",
    responses=problems(ConversationNotFound),
    summary="Delete a conversation",
)
async def delete_conversation(
    conversations: Conversations,
    files: CurrentObjectStore,
    settings: CurrentSettings,
    tasks: BackgroundTasks,
    id: Id,
) -> Message:
    if paths := await conversations.delete(id):
        tasks.add_task(pictures.remove, files, settings.chat_images_bucket, paths)
    return Message(message="Conversation deleted successfully")


@router.get(
    "/conversations/{id}/messages",
    responses=problems(ConversationNotFound),
    summary="List the messages of a conversation, oldest first",
)
async def list_messages(
    request: Request,
    response: Response,
    conversations: Conversations,
    id: Id,
    skip: Skip = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> list[MessageRead]:
    messages, has_more = await conversations.messages(id, skip, limit)
    if has_more:
        response.headers["Link"] = next_link(request, skip=skip + len(messages))
    return messages


@router.put(
    "/conversations/{id}/title",
    responses=problems(ConversationNotFound),
    summary="Rename a conversation",
)
async def rename_conversation(
    conversations: Conversations,
    id: Id,
    title: Annotated[Line, Query()],
) -> Message:
    await conversations.rename(id, title)
    return Message(message="Title updated successfully")


@router.post(
    "/legacy", responses=problems(*CALL_ERRORS), summary="Ask a single question without storing it"
)
async def ask_once(
    request: Request, legacy: Injected[LegacyService], new: LegacyRequest
) -> LegacyReply:
    return await cancel_on_disconnect(request, legacy.answer(new))


@router.post(
    "/generate-image",
    responses=problems(StorageUnavailable, *CALL_ERRORS),
    summary="Generate an image",
)
async def generate_image(
    request: Request, drawing: Injected[DrawService], new: ImageRequest
) -> ImageReply:
    return await cancel_on_disconnect(request, drawing.draw(new))


@router.post(
    "/scan-grocery",
    responses=problems(*PICTURE_ERRORS, *CALL_ERRORS),
    summary="Recognize groceries in a picture (base64)",
)
async def scan_picture(
    request: Request, scanning: Injected[ScanService], given: ScanRequest
) -> ScanReply:
    return await cancel_on_disconnect(
        request, scanning.scan_text(given.image_data, given.scan_type)
    )


@router.post(
    "/scan-grocery-proxy",
    responses=problems(BadScanType, NotAScan, PictureTooLarge, *CALL_ERRORS),
    summary="Recognize groceries or a receipt in a picture (file, 2 MB)",
)
async def scan_file(
    request: Request,
    scanning: Injected[ScanService],
    file: Annotated[UploadFile, File()],
    scan_type: Annotated[str, Form(max_length=20)] = "groceries",
) -> ScanReply:
    return await cancel_on_disconnect(request, scanning.scan_file(await file.read(), scan_type))
