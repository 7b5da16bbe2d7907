from freshly.chassis.jobs import JobContext
from freshly.chassis.ports.object_storage import ObjectStore
from freshly.chassis.security.image_sanitizer import MEDIA_TYPES, sanitize_picture
from freshly.domains.storage.jobs import MakeSmallAvatar
from freshly.domains.storage.service import small_path
from freshly.settings import Settings

SIDE_PIXELS = 96


async def make_small_avatar(job: MakeSmallAvatar, context: JobContext) -> None:
    settings: Settings = context.resources.settings
    objects: ObjectStore = context.resources.objects
    bucket, small = settings.avatars_bucket, small_path(job.path)
    content = await objects.get(bucket, job.path)
    if content is None:  # replaced by a newer avatar
        return
    picture = await sanitize_picture(
        content, set(MEDIA_TYPES.values()), largest_side=SIDE_PIXELS, as_jpeg=True
    )
    await objects.put(bucket, small, picture.content)
    if await objects.get(bucket, job.path) is None:  # replaced while this job ran
        await objects.delete(bucket, [small])
