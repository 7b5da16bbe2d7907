"""AwakeTimeout: ends what takes too long, but not because this process was busy."""

import asyncio
import threading
import time

import pytest

from freshly.chassis.resilience.awake_timeout import AwakeTimeout

SHORT_SECONDS = 0.1


async def test_a_wait_without_end_times_out():
    with pytest.raises(TimeoutError):
        async with AwakeTimeout(SHORT_SECONDS):
            await asyncio.Event().wait()


async def test_a_response_that_arrived_while_the_process_was_busy_is_received():
    loop = asyncio.get_running_loop()
    response = loop.create_future()
    server = threading.Timer(
        SHORT_SECONDS, loop.call_soon_threadsafe, (response.set_result, "here")
    )

    async with AwakeTimeout(SHORT_SECONDS):
        server.start()
        loop.call_soon(time.sleep, 3 * SHORT_SECONDS)
        assert await response == "here"

    server.join()


async def test_the_timeout_has_no_effect_after_its_context_has_ended():
    async with AwakeTimeout(SHORT_SECONDS):
        await asyncio.sleep(0)

    await asyncio.sleep(2 * SHORT_SECONDS)


async def test_the_timeout_can_be_triggered_early_and_more_than_once():
    timeout = AwakeTimeout(60)

    async def trigger():
        timeout.end()
        timeout.end()  # as when two callers give up

    with pytest.raises(TimeoutError):
        async with timeout:
            await asyncio.gather(trigger(), asyncio.Event().wait())
