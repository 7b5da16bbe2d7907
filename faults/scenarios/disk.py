"""A scenario in which the disk is full."""

import asyncio
import resource
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from httpx2 import AsyncClient

from bench.servers import Server
from faults.environment import Environment, embedded
from faults.load import UNAVAILABLE
from faults.report import Report, first_success
from faults.scenarios import scenario
from tests.support.pictures import picture

SIZE = 24  # MB
BLOCK = 4096  # bytes
FULL_FOR = 6.0  # seconds
BACK_WITHIN = 3.0
UPLOADS = 5
CREATED = 201


class SmallDisk:
    """A tmpfs of a few megabytes, or a limit on the size of files if none can be mounted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        mount = ("mount", "-t", "tmpfs", "-o", f"size={SIZE}m", "tmpfs", str(folder))
        mounted = subprocess.run(mount, capture_output=True, check=False)  # noqa: S603
        self.is_mounted = mounted.returncode == 0

    def fill(self, server: Server) -> None:
        if not self.is_mounted:
            resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (BLOCK, resource.RLIM_INFINITY))
            return
        ballast = self.folder / f"ballast{len(list(self.folder.iterdir()))}"
        with ballast.open("wb", buffering=0) as file, suppress(OSError):  # until the disk is full
            while True:
                file.write(b"x" * BLOCK)

    def free(self, server: Server) -> None:
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, unlimited)
        for file in self.folder.glob("ballast*"):
            file.unlink()

    def unmount(self) -> None:
        if self.is_mounted:
            subprocess.run(("umount", "--lazy", str(self.folder)), check=True)  # noqa: S603, S607


@asynccontextmanager
async def _small_disk() -> AsyncIterator[SmallDisk]:
    with tempfile.TemporaryDirectory(prefix="freshly-faults-") as name:
        disk = SmallDisk(Path(name))
        try:
            yield disk
        finally:
            disk.unmount()


@scenario("the disk of SQLite and of the files full for 6 s (a small tmpfs)", short=True)
async def disk_full(report: Report) -> None:
    async with _small_disk() as disk, embedded(report, disk.folder / "data") as environment:
        pictures: list[int] = []
        async with environment.under_load():
            with report.fault():
                for _ in range(UPLOADS):
                    # Fill the disk again, because SQLite may have freed space meanwhile.
                    await asyncio.to_thread(disk.fill, environment.server)
                    pictures.append(await _upload_avatar(environment))
                    await asyncio.sleep(report.scaled(FULL_FOR) / UPLOADS)
            disk.free(environment.server)
        await environment.check_promises()
        failed = [s for s in environment.load.samples if s.kind == "read" and s.failed]
        report.expect("reads that failed", len(failed), at_most=0)
        writes = [s for s in environment.load.samples if s.kind == "write"]
        refused = sum(s.failed for s in writes)
        report.expect("writes refused", refused, f"of {len(writes)}", at_least=1)
        seconds = first_success(environment.load.samples, report.ended)
        report.expect("back after", seconds, "s", at_most=BACK_WITHIN)
        wrong = sum(status not in (CREATED, UNAVAILABLE) for status in pictures)
        statuses = ", ".join(map(str, pictures))
        report.expect("pictures neither stored nor 503", wrong, at_most=0, detail=statuses)
        report.expect(
            "pictures stored again", await _upload_avatar(environment) == CREATED, at_least=1
        )


async def _upload_avatar(environment: Environment) -> int:
    """Upload an avatar, and return the status of the response."""
    headers = {"Authorization": f"Bearer {environment.load.users[0].token}"}
    url = f"http://127.0.0.1:{environment.server.port}"
    async with AsyncClient(base_url=url, headers=headers, timeout=20) as client:
        files = {"file": ("me.png", picture("PNG", (600, 600)), "image/png")}
        response = await client.post("/storage/avatar/proxy", files=files)
    return response.status_code
