from freshly.chassis.jobs import JobContext
from freshly.chassis.ports.object_storage import ObjectStore
from freshly.chassis.security.image_sanitizer import TYPES, rewritten
from freshly.domains.storage.jobs import MakeSmallAvatar
from freshly.domains.storage.service import small_path
from freshly.settings import Settings

SIDE = 96  # pixels


async def make_small_avatar(job: MakeSmallAvatar, run: JobContext) -> None:
    settings: Settings = run.resources.settings
    objects: ObjectStore = run.resources.objects
    bucket, small = settings.avatars_bucket, small_path(job.path)
    content = await objects.get(bucket, job.path)
    if content is None:  # there is another one by now
        return
    picture = await rewritten(content, set(TYPES.values()), largest_side=SIDE, as_jpeg=True)
    await objects.put(bucket, small, picture.content)
    if await objects.get(bucket, job.path) is None:  # since just now
        await objects.delete(bucket, [small])
