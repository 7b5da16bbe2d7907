"""`freshly demo`: creates a family's week through the public API and shows its shopping list."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from zoneinfo import ZoneInfo

import httpx2
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from freshly.commands.demo.api import TIMEOUT_SECONDS, Api, DemoFailed
from freshly.commands.demo.builder import HouseholdBuilder, PlannedWeek
from freshly.commands.demo.household import next_monday, read_household
from freshly.commands.demo.next_steps import print_next_steps
from freshly.commands.demo.report import Report
from freshly.commands.demo.server import TemporaryServer, temporary_server
from freshly.settings import Settings

FILE_WIDTH = 100  # characters of a line when the output goes to a file
INTERRUPTED_STATUS = 130  # the exit status of a command that Ctrl-C stopped, as shells define it


def run_demo(settings: Settings, url: str | None, *, keep: bool) -> int:
    """Run the demo and return the exit status.

    Without a URL it starts a temporary server, which with `keep` runs until Ctrl-C.
    """
    errors = Console(stderr=True)
    try:
        if url is not None:
            _run_at(settings, url, errors)
        else:
            _run_on_temporary_server(settings, errors, keep=keep)
    except DemoFailed as error:
        errors.print(f"freshly demo: {error}", style="red", markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        errors.print("freshly demo: stopped")
        return INTERRUPTED_STATUS
    return 0


def _run_at(settings: Settings, url: str, errors: Console) -> None:
    with _progress(errors) as progress, _client(url) as client:
        week = _build(settings, client, progress)
    _show(week, url, "")


def _run_on_temporary_server(settings: Settings, errors: Console, *, keep: bool) -> None:
    with _progress(errors) as progress, _server(settings, progress) as server:
        # A proxy in the environment must not be used for our own machine.
        with _client(server.url, trust_env=False) as client:
            week = _build(settings, client, progress)
        progress.stop()
        if not keep:
            _show(week, None, "`./run demo --keep` leaves its server running, to look around.")
            return
        _show(week, server.url, "Ctrl-C here stops the server and deletes its data.")
        with suppress(KeyboardInterrupt):
            server.wait()


def _show(week: PlannedWeek, url: str | None, last_line: str) -> None:
    console = _console()
    Report(console, week).print()
    print_next_steps(console, week, url, last_line)


def _build(settings: Settings, client: httpx2.Client, progress: Progress) -> PlannedWeek:
    monday = next_monday(datetime.now(ZoneInfo(settings.timezone)).date())
    return HouseholdBuilder(Api(client), read_household(), monday, progress).build()


def _progress(errors: Console) -> Progress:
    """Return a progress bar on stderr, which is shown only in a terminal."""
    columns = TextColumn("{task.description:<21}"), BarColumn(), MofNCompleteColumn()
    return Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal)


@contextmanager
def _server(settings: Settings, progress: Progress) -> Iterator[TemporaryServer]:
    task = progress.add_task("Starting a server", total=1)
    with temporary_server(settings.timezone) as server:
        progress.advance(task)
        yield server


def _client(url: str, *, trust_env: bool = True) -> httpx2.Client:
    try:
        return httpx2.Client(base_url=url.rstrip("/"), timeout=TIMEOUT_SECONDS, trust_env=trust_env)
    except httpx2.InvalidURL as error:
        raise DemoFailed(f"--url {url}: {error}") from error


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=FILE_WIDTH)
