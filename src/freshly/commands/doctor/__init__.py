"""`freshly doctor`: checks the settings of an installation and the services that they point to."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from freshly.chassis.observability.logging import mask_secrets
from freshly.commands.doctor import databases, machine, services
from freshly.commands.doctor.results import CheckFailed, Result, Unwise, as_json, show, worst
from freshly.commands.failures import text_of
from freshly.settings import Settings

CHECK_TIMEOUT_SECONDS = 5
MODEL_TIMEOUT_SECONDS = 60  # a model may have to be loaded first
Check = Callable[[Settings], Awaitable[str]]

CHECKS: Mapping[str, Check] = {
    "data folder": machine.data_folder,
    "disk": machine.disk,
    "clock": machine.clock,
    "secrets": machine.secrets,
    "addresses": machine.addresses,
    "proxies": machine.proxies,
    "database": databases.connection,
    "rights": databases.rights,
    "schema": databases.schema,
    "accounts": databases.accounts,
    "jobs": databases.jobs,
    "backups": machine.backups,
    "redis": services.redis,
    "files": services.files,
    "mail": services.mail,
    "oauth": services.oauth,
    "model": services.model,
}


def examine(settings: Settings, *, in_json: bool = False, strict: bool = False) -> int:
    """Print the results of all checks.

    Return the exit status: 1 if something is bad or, with `strict`, unwise; else 0.
    """
    results = asyncio.run(_run_checks(settings))
    if in_json:
        print(as_json(results))  # noqa: T201
    else:
        show(results, settings.app_env)
    return 1 if worst(results) in ({"bad", "unwise"} if strict else {"bad"}) else 0


async def _run_checks(settings: Settings) -> list[Result]:
    checks = (_run_check(subject, check, settings) for subject, check in CHECKS.items())
    return await asyncio.gather(*checks)


async def _run_check(subject: str, check: Check, settings: Settings) -> Result:
    seconds = MODEL_TIMEOUT_SECONDS if subject == "model" else CHECK_TIMEOUT_SECONDS
    try:
        async with asyncio.timeout(seconds):
            return Result(subject, "ok", await check(settings))
    except CheckFailed as error:
        return Result(subject, "bad", str(error))
    except Unwise as error:
        return Result(subject, "unwise", str(error))
    except TimeoutError:
        return Result(subject, "bad", f"no response within {seconds} s")
    except Exception as error:  # noqa: BLE001 - every error is a result of the check
        return Result(subject, "bad", str(mask_secrets(text_of(error))))
