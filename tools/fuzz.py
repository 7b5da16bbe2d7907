"""Run Schemathesis against the app on PostgreSQL, with every check and the stateful phase.

    ./run fuzz [--examples N] [--seeds A,B,C]

It starts a database, a model server and the app, signs in a user who has a row of each kind, and
lets Schemathesis generate requests from the app's OpenAPI document.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
from httpx2 import AsyncClient
from pydantic import SecretStr

from freshly.app import create_app
from freshly.chassis.observability.logging import configure_logging
from freshly.commands.migrate import migrate
from tests.conftest import settings_for
from tests.support.fake_services import model_server, serving
from tests.support.role_world import build
from tests.support.servers import postgres

EXAMPLES = 200
SEEDS = "1,2,3"
# Checks that are left out, with the reason.
EXCLUDED_CHECKS = (
    # Unknown keys are ignored and numbers may be texts, as the existing app expects. An example
    # that breaks a rule between two fields is refused although its shape is right.
    "negative_data_rejection",
    "positive_data_acceptance",
    # POST /x/{id} for a missing id is 404, whatever else is missing.
    "missing_required_header",
)
# These end the session or the account that all other requests need.
LAST_OPERATIONS = ("auth_logout", "users_delete_me", "auth_reset_password")


@asynccontextmanager
async def running_app(server: str) -> AsyncIterator[tuple[str, str]]:
    """Yield the URL of a running app, and the access token of a user."""
    name = f"fuzz_{uuid.uuid4().hex}"
    connection = await asyncpg.connect(server)
    await connection.execute(f"CREATE DATABASE {name}")
    head, _, query = server.partition("?")
    url = f"{head.rsplit('/', 1)[0]}/{name}?{query}".rstrip("?")
    try:
        with tempfile.TemporaryDirectory() as folder:
            async with model_server() as model:
                settings = settings_for(
                    url,
                    Path(folder),
                    openai_base_url=model.url,
                    access_token_expire_minutes=600,
                    supabase_url=model.url,
                    supabase_jwt_secret=SecretStr("a secret of somebody else's, long enough"),
                )
                await migrate(settings)
                app = create_app(settings)
                async with serving(app, with_lifespan=True) as address:
                    async with AsyncClient(base_url=address, timeout=30) as client:
                        world = await build(client)
                    token = world.headers["owner"]["Authorization"]
                    yield address, token
    finally:
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await connection.close()


def command(address: str, token: str, seed: str, examples: int, report: Path) -> list[str]:
    skipped = [word for name in LAST_OPERATIONS for word in ("--exclude-operation-id", name)]
    return [
        *(str(Path(sys.executable).with_name("schemathesis")), "run"),
        *(f"{address}/openapi.json", "--header", f"Authorization: {token}"),
        *("--checks", "all", "--exclude-checks", ",".join(EXCLUDED_CHECKS)),
        *("--phases", "examples,coverage,fuzzing,stateful", "--continue-on-failure"),
        *("--max-examples", str(examples), "--seed", seed, "--no-color"),
        *("--request-timeout", "30", "--suppress-health-check", "all"),
        *("--report", "ndjson", "--report-ndjson-path", str(report), "--warnings", "off"),
        *skipped,
    ]


async def fuzz(examples: int, seeds: Sequence[str]) -> int:
    """How many runs failed."""
    failed = 0
    configure_logging("ERROR")
    with postgres() as server:
        for seed in seeds:
            async with running_app(server) as (address, token):
                with tempfile.TemporaryDirectory() as folder:
                    words = command(address, token, seed, examples, Path(folder, "report.ndjson"))
                    run = await asyncio.create_subprocess_exec(
                        *words, cwd=folder, env={**os.environ, "PYTHONWARNINGS": "ignore"}
                    )
                    status = await run.wait()
            print(f"== seed {seed}: {'failed' if status else 'nothing found'}", flush=True)
            failed += status != 0
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(prog="./run fuzz", description=__doc__)
    parser.add_argument("--examples", type=int, default=EXAMPLES, help="requests per operation")
    parser.add_argument("--seeds", default=SEEDS, help="comma list; each is a run of its own")
    given = parser.parse_args()
    return 1 if asyncio.run(fuzz(given.examples, given.seeds.split(","))) else 0


if __name__ == "__main__":
    sys.exit(main())
