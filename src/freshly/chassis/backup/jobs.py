"""The daily backup: a job that runs `freshly backup` in a process of its own.

Writing and comparing an archive takes the processor for seconds, which requests must not wait for.
"""

import asyncio
import os
import sys
from datetime import timedelta
from typing import ClassVar

from freshly.chassis.jobs import Job, JobContext, PermanentFailure
from freshly.settings import ENV_FILE, environment_of

# Where the server collects the metrics of its own processes.
METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"


class MakeBackup(Job):
    kind: ClassVar[str] = "backup.make"
    time_limit: ClassVar[timedelta] = timedelta(hours=2)
    max_attempts: ClassVar[int] = 2


async def make_backup(_job: MakeBackup, context: JobContext) -> None:
    """Make a backup, if the settings want one. Raises PermanentFailure with its last line."""
    settings = context.resources.settings
    if not settings.makes_backups:
        return
    inherited = {name: value for name, value in os.environ.items() if name != METRICS_FOLDER}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "freshly", "backup", "--daily"),
        env={**inherited, **environment_of(settings), ENV_FILE: ""},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, output = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        lines = output.decode(errors="replace").splitlines()
        raise PermanentFailure(lines[-1] if lines else "the backup was ended")
