"""Do the migrations make what the models say, on both databases?

From empty to head, `alembic check`, down again to nothing, and up once more.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers import postgres

ALEMBIC = str(Path(sys.executable).with_name("alembic"))
FRESHLY = (sys.executable, "-m", "freshly")
STEPS = (
    (*FRESHLY, "migrate"),
    (ALEMBIC, "check"),
    (ALEMBIC, "downgrade", "base"),
    (*FRESHLY, "migrate"),
    (ALEMBIC, "check"),
)


@contextmanager
def databases() -> Iterator[dict[str, str]]:
    with tempfile.TemporaryDirectory() as folder, postgres() as server:
        yield {"sqlite": f"sqlite:///{folder}/check.db", "postgresql": server}


def differs(name: str, url: str, data_dir: str) -> bool:
    environment = {**os.environ, "DATABASE_URL": url, "DATA_DIR": data_dir, "LOG_LEVEL": "WARNING"}
    for step in STEPS:
        done = subprocess.run(  # noqa: S603 - our own commands
            step, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            print(f"{name}: `{' '.join(step[1:])}` failed\n{done.stdout}{done.stderr}")
            return True
    print(f"{name}: migrations and models agree")
    return False


def main() -> int:
    with databases() as urls, tempfile.TemporaryDirectory() as data_dir:
        found = [differs(name, url, data_dir) for name, url in urls.items()]
        return int(any(found))


if __name__ == "__main__":
    raise SystemExit(main())
