"""`freshly demo`: creates a family's week through the public API and shows its shopping list."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from zoneinfo import ZoneInfo

import httpx2
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from freshly.commands.demo.api import TIMEOUT_SECONDS, Api, DemoFailed
from freshly.commands.demo.builder import HouseholdBuilder, PlannedWeek
from freshly.commands.demo.household import next_monday, read_household
from freshly.commands.demo.report import Report
from freshly.commands.demo.server import temporary_server
from freshly.settings import Settings

FILE_WIDTH = 100  # characters of a line when the output goes to a file
INTERRUPTED_STATUS = 130  # the exit status of a command that Ctrl-C stopped, as shells define it


def run_demo(settings: Settings, url: str | None) -> int:
    """Run the demo and return the exit status. Without a URL it starts a temporary server."""
    errors = Console(stderr=True)
    try:
        week = _build(settings, url, errors)
    except DemoFailed as error:
        errors.print(f"freshly demo: {error}", style="red", markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        errors.print("freshly demo: stopped")
        return INTERRUPTED_STATUS
    Report(_console(), week).print(show_sign_in=url is not None)
    return 0


def _build(settings: Settings, url: str | None, errors: Console) -> PlannedWeek:
    household = read_household()
    monday = next_monday(datetime.now(ZoneInfo(settings.timezone)).date())
    with _progress(errors) as progress, _server(settings, url, progress) as client:
        return HouseholdBuilder(Api(client), household, monday, progress).build()


def _progress(errors: Console) -> Progress:
    """Return a progress bar on stderr, which is shown only in a terminal."""
    columns = TextColumn("{task.description:<21}"), BarColumn(), MofNCompleteColumn()
    return Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal)


@contextmanager
def _server(settings: Settings, url: str | None, progress: Progress) -> Iterator[httpx2.Client]:
    if url is not None:
        with _client(url) as client:
            yield client
        return
    task = progress.add_task("Starting a server", total=1)
    with temporary_server(settings.timezone) as server_url:
        progress.advance(task)
        # A proxy in the environment must not be used for our own machine.
        with _client(server_url, trust_env=False) as client:
            yield client


def _client(url: str, *, trust_env: bool = True) -> httpx2.Client:
    try:
        return httpx2.Client(base_url=url.rstrip("/"), timeout=TIMEOUT_SECONDS, trust_env=trust_env)
    except httpx2.InvalidURL as error:
        raise DemoFailed(f"--url {url}: {error}") from error


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=FILE_WIDTH)
