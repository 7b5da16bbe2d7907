import pytest

from tests.conftest import client_of, settings_for
from tests.support.api import Kitchen
from tests.support.fake_services import model_server


@pytest.fixture
async def model():
    async with model_server() as server:
        yield server


@pytest.fixture
def settings(database_url, tmp_path, model):
    return settings_for(database_url, tmp_path, openai_base_url=model.url)


@pytest.fixture
async def alice(app):
    async with client_of(app) as client:
        yield await Kitchen(client).person("Alice")
