from freshly.chassis.jobs import JobContext
from freshly.chassis.observability.logging import get_logger
from freshly.chassis.ports.object_storage import ObjectStore
from freshly.chassis.rate_limits.policy import RateLimited
from freshly.chassis.security.image_sanitizer import MEDIA_TYPES, sanitize_picture
from freshly.chassis.security.signed_urls import SignedUrls
from freshly.domains.pantry.jobs import DrawPicture, RemovePicture, SweepPictures
from freshly.domains.pantry.pictures import (
    SIDE_PIXELS,
    UNKNOWN_ITEM,
    item_of,
    path_in,
    path_of,
    prompt,
)
from freshly.domains.pantry.repository import PantryRepository, PictureRepository
from freshly.domains.usage.service import Assistant, PictureAllowance
from freshly.settings import Settings

logger = get_logger(__name__)
PATHS_PER_QUERY = 500


async def draw_picture(job: DrawPicture, context: JobContext) -> None:
    settings: Settings = context.resources.settings
    objects: ObjectStore = context.resources.objects
    async with context.write() as session:
        name = await PictureRepository(session).name_to_draw(job.item_id, job.person_id)
        if name is None or not settings.draws_pantry:
            return
        items = await context.service(PantryRepository, session, user_id=job.person_id)
        owner = items.access.owner((await items.get(job.item_id)).family_id)
        pictures = await context.service(PictureAllowance, session, user_id=job.person_id)
        if not await pictures.reserve(owner):
            logger.info("no more pictures of pantry items today", owner=owner.tag)
            return
        assistant = await context.service(Assistant, session, user_id=job.person_id)
    try:
        image = await assistant.generate_image(
            prompt(name),
            size=f"{SIDE_PIXELS}x{SIDE_PIXELS}",
            quality="standard",
            style="natural",
            as_bytes=True,
        )
    except RateLimited:
        logger.info("no tokens left for a picture of a pantry item", item=job.item_id)
        return
    picture = await sanitize_picture(
        image.content or b"", set(MEDIA_TYPES.values()), largest_side=SIDE_PIXELS, as_jpeg=True
    )
    bucket = settings.pantry_images_bucket
    path = path_of(owner.tag, job.item_id, name)
    await context.ensure_lease()
    await objects.put(bucket, path, picture.content)
    url = SignedUrls(job.base, context.resources.url_signer).public(bucket, path)
    async with context.complete() as session:
        is_set = await PictureRepository(session).set_picture(job.item_id, url)
    if not is_set:  # the item was deleted, or has a picture by now
        await objects.delete(bucket, [path])


async def remove_picture(job: RemovePicture, context: JobContext) -> None:
    settings: Settings = context.resources.settings
    objects: ObjectStore = context.resources.objects
    bucket = settings.pantry_images_bucket
    path = path_in(job.url, bucket)
    if path is not None:
        await objects.delete(bucket, [path])


async def sweep_pictures(_job: SweepPictures, context: JobContext) -> None:
    settings: Settings = context.resources.settings
    objects: ObjectStore = context.resources.objects
    bucket = settings.pantry_images_bucket
    all_paths = await objects.list_paths(bucket, "")
    for start in range(0, len(all_paths), PATHS_PER_QUERY):
        paths = all_paths[start : start + PATHS_PER_QUERY]
        async with context.read() as session:
            existing = await PictureRepository(session).existing({item_of(path) for path in paths})
        orphans = [path for path in paths if item_of(path) not in (UNKNOWN_ITEM, *existing)]
        await objects.delete(bucket, orphans)
