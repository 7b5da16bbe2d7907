"""A disk that is full."""

import asyncio
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from httpx2 import AsyncClient

from faults.load import UNAVAILABLE
from faults.report import Report, first_success
from faults.scenarios import CannotRun, scenario
from faults.stage import Stage, embedded
from tests.pictures import picture

SIZE = 24  # MB
FULL_FOR = 6.0  # seconds
BACK_WITHIN = 3.0
TRIES = 5
CREATED = 201


@asynccontextmanager
async def _small_disk() -> AsyncIterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="freshly-faults-"))
    mount = ("mount", "-t", "tmpfs", "-o", f"size={SIZE}m", "tmpfs", str(folder))
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)  # noqa: S603, ASYNC221
    try:
        if mounted.returncode:
            raise CannotRun(f"no small disk can be mounted here: {mounted.stderr.strip()}")
        yield folder
    finally:
        _let_go(folder, mounted.returncode == 0)


def _let_go(folder: Path, is_mounted: bool) -> None:
    if is_mounted:
        subprocess.run(("umount", "--lazy", str(folder)), check=True)  # noqa: S603, S607
    folder.rmdir()


def _fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            return  # as intended


@scenario("the disk of SQLite and of the files full for 6 s (a small tmpfs)", short=True)
async def disk_full(report: Report) -> None:
    async with _small_disk() as disk, embedded(report, disk / "data") as stage:
        ballast = disk / "ballast"
        pictures: list[int] = []
        async with stage.busy():
            with report.fault():
                await asyncio.to_thread(_fill, ballast)
                for _ in range(TRIES):
                    # What the WAL has given back meanwhile.
                    await asyncio.to_thread(_fill, disk / f"ballast{len(pictures)}")
                    pictures.append(await _avatar(stage))
                    await asyncio.sleep(FULL_FOR / TRIES)
            for file in disk.glob("ballast*"):
                os.truncate(file, 0)
        await stage.judge()
        failed = [s for s in stage.load.samples if s.what == "read" and s.failed]
        report.expect("reads that failed", len(failed), at_most=0)
        writes = [s for s in stage.load.samples if s.what == "write"]
        refused = sum(s.failed for s in writes)
        report.expect("writes refused", refused, f"of {len(writes)}", at_least=1)
        report.expect(
            "back after", first_success(stage.load.samples, report.ended), "s", at_most=BACK_WITHIN
        )
        wrong = sum(status not in (CREATED, UNAVAILABLE) for status in pictures)
        told = ", ".join(map(str, pictures))
        report.expect("pictures neither kept nor 503", wrong, at_most=0, detail=told)
        report.expect("pictures kept again", await _avatar(stage) == CREATED, at_least=1)


async def _avatar(stage: Stage) -> int:
    headers = {"Authorization": f"Bearer {stage.load.cooks[0].token}"}
    url = f"http://127.0.0.1:{stage.server.port}"
    async with AsyncClient(base_url=url, headers=headers, timeout=20) as client:
        files = {"file": ("me.png", picture("PNG", (600, 600)), "image/png")}
        answer = await client.post("/storage/avatar/proxy", files=files)
    return answer.status_code
