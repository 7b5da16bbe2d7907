"""`freshly demo`: a family's week, made through the public API, and what it has to buy."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from zoneinfo import ZoneInfo

import httpx2
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from freshly.commands.demo.api import PATIENCE, Api, DemoFailed
from freshly.commands.demo.household import next_monday, read_household
from freshly.commands.demo.making import HouseholdMaker, PlannedWeek
from freshly.commands.demo.server import temporary_server
from freshly.commands.demo.telling import Teller
from freshly.settings import Settings

WIDTH_OF_A_FILE = 100
INTERRUPTED = 130  # as shells have it for Ctrl-C


def run_demo(settings: Settings, url: str | None) -> int:
    """The exit status. Without a URL it runs against a server of its own."""
    errors = Console(stderr=True)
    try:
        week = _make(settings, url, errors)
    except DemoFailed as error:
        errors.print(f"freshly demo: {error}", style="red", markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        errors.print("freshly demo: stopped")
        return INTERRUPTED
    Teller(_console(), week).tell(sign_in=url is not None)
    return 0


def _make(settings: Settings, url: str | None, errors: Console) -> PlannedWeek:
    household = read_household()
    monday = next_monday(datetime.now(ZoneInfo(settings.timezone)).date())
    with _progress(errors) as progress, _server(settings, url, progress) as client:
        return HouseholdMaker(Api(client), household, monday, progress).make()


def _progress(errors: Console) -> Progress:
    """Beside the tables, not in them; and only where somebody watches."""
    columns = TextColumn("{task.description:<21}"), BarColumn(), MofNCompleteColumn()
    return Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal)


@contextmanager
def _server(settings: Settings, url: str | None, progress: Progress) -> Iterator[httpx2.Client]:
    if url is not None:
        with _client(url) as client:
            yield client
        return
    starting = progress.add_task("Starting a server", total=1)
    with temporary_server(settings.timezone) as own:
        progress.advance(starting)
        # No proxy stands between us and our own machine.
        with _client(own, trust_env=False) as client:
            yield client


def _client(url: str, *, trust_env: bool = True) -> httpx2.Client:
    try:
        return httpx2.Client(base_url=url.rstrip("/"), timeout=PATIENCE, trust_env=trust_env)
    except httpx2.InvalidURL as error:
        raise DemoFailed(f"--url {url}: {error}") from error


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDTH_OF_A_FILE)
