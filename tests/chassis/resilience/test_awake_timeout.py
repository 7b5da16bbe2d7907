"""What takes too long is ended, and what is here is taken, however busy this process was."""

import asyncio
import threading
import time

import pytest

from freshly.chassis.resilience.awake_timeout import AwakeTimeout

SHORT = 0.1  # seconds


async def test_what_never_comes_is_ended():
    with pytest.raises(TimeoutError):
        async with AwakeTimeout(SHORT):
            await asyncio.Event().wait()


async def test_what_came_while_this_process_was_busy_is_taken():
    loop = asyncio.get_running_loop()
    answer = loop.create_future()
    other = threading.Timer(SHORT, loop.call_soon_threadsafe, (answer.set_result, "here"))

    async with AwakeTimeout(SHORT):
        other.start()
        loop.call_soon(time.sleep, 3 * SHORT)
        assert await answer == "here"

    other.join()


async def test_what_is_done_is_not_ended_later():
    async with AwakeTimeout(SHORT):
        await asyncio.sleep(0)

    await asyncio.sleep(2 * SHORT)


async def test_it_can_be_ended_before_its_time():
    patience = AwakeTimeout(60)

    async def give_up():
        patience.end()
        patience.end()  # somebody else's, too

    with pytest.raises(TimeoutError):
        async with patience:
            await asyncio.gather(give_up(), asyncio.Event().wait())
