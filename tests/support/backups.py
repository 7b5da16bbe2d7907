"""Fixtures for backups: empty places to restore into, and a backup of a new installation."""

import asyncio
import uuid

import pytest

from freshly.chassis.backup.rows import checksum
from freshly.commands.backup import _restore_file, installation, make
from tests.conftest import _named, _on_server, settings_for


@pytest.fixture
def empty_places(postgres_url, tmp_path):
    """Return a function that gives settings of a place without tables, of either database."""
    made = []

    def place(kind, name, **changes):
        folder = tmp_path / name
        url = f"sqlite:///{folder / 'freshly.db'}"
        if kind == "postgresql":
            made.append(f"restored_{uuid.uuid4().hex}")
            asyncio.run(_on_server(postgres_url, f"CREATE DATABASE {made[-1]}"))
            url = _named(postgres_url, made[-1])
        return settings_for(url, folder, **changes)

    yield place
    for name in made:
        asyncio.run(_on_server(postgres_url, f"DROP DATABASE {name} WITH (FORCE)"))


async def everything(settings):
    """Return the checksum of each table."""
    async with installation(settings) as place, place.engine.connect() as connection:
        return {one.name: (await checksum(connection, one)).as_json() for one in place.tables}


async def restore(settings, path):
    return await _restore_file(settings, path, only_check=False)


@pytest.fixture
def empty_places_sqlite(tmp_path):
    return lambda name: settings_for(f"sqlite:///{tmp_path / name / 'new.db'}", tmp_path / name)


@pytest.fixture(scope="module")
def sqlite_backup(sqlite_template, tmp_path_factory):
    """A backup of a new installation."""
    folder = tmp_path_factory.mktemp("backup")
    return asyncio.run(make(settings_for(f"sqlite:///{sqlite_template}", folder), folder)).path
