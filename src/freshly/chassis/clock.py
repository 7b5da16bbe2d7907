"""What day it is in the household's time zone."""

from datetime import date, datetime
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import Depends, Request

from freshly.settings import Settings


async def _today(request: Request) -> date:
    settings: Settings = request.state.settings
    return datetime.now(ZoneInfo(settings.timezone)).date()


Today = Annotated[date, Depends(_today)]
