"""The current date in the household's time zone."""

from datetime import date, datetime
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import Depends, Request

from freshly.settings import Settings


def today_in(settings: Settings) -> date:
    return datetime.now(ZoneInfo(settings.timezone)).date()


async def _today(request: Request) -> date:
    return today_in(request.state.resources.settings)


Today = Annotated[date, Depends(_today)]
