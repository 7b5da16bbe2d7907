"""Settings come from the environment, and bad values stop the start with a clear message."""

import os

import pytest

from freshly.cli import main
from freshly.settings import BadSettings, driven, load


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """Clear the environment, and give the test a data folder of its own."""
    for name in list(os.environ):
        if name.isupper() and name not in ("PATH", "HOME", "LANG"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ENV_FILE", "")
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    return monkeypatch


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "eighty"),
        ("PORT", "70000"),
        ("HOST", "0.0.0.0"),  # noqa: S104 - for other machines, without APP_ENV
        ("HOST", "kitchen.example"),
        ("MAX_CONNECTIONS", "0"),
        ("WORKERS", "0"),
        ("WORKERS", "4"),  # on SQLite
        ("DATABASE_URL", "mysql://localhost/x"),
        ("DATABASE_URL", "nonsense"),
        ("TIMEZONE", "Middle/Earth"),
        ("APP_ENV", "prod"),
        ("CORS_ORIGINS", "[not json"),
        ("RATE_LIMIT_OVERRIDES", "{not json"),
        ("JWT_ALG", "none"),
        ("JWT_SECRET_FILE", "/nowhere/secret"),
        ("AVATARS_BUCKET", "exports"),  # would make exports public
        ("AVATARS_BUCKET", "pantry_items"),  # a new avatar would delete its pictures
        ("PANTRY_IMAGES_BUCKET", "exports"),
    ],
)
def test_a_bad_setting_stops_the_start_with_one_line_that_names_the_setting(
    environment, capsys, name, value
):
    environment.setenv(name, value)

    assert main(["doctor"]) == 2

    output = capsys.readouterr()
    assert output.out == ""
    assert len(output.err.splitlines()) == 1
    assert name in output.err.upper()
    assert "Traceback" not in output.err


def test_a_weak_secret_is_refused_in_production_only(environment, capsys):
    environment.setenv("JWT_SECRET", "weak-weak-weak")
    assert load().jwt_secret.get_secret_value() == "weak-weak-weak"

    environment.setenv("APP_ENV", "production")

    assert main(["doctor"]) == 2
    errors = capsys.readouterr().err
    assert "JWT_SECRET" in errors
    assert "weak-weak" not in errors


def test_an_address_for_other_machines_needs_an_environment(environment):
    for host in ("localhost", "::1", "127.0.0.2"):
        environment.setenv("HOST", host)
        assert load().host == host
    environment.setenv("HOST", "0.0.0.0")  # noqa: S104
    environment.setenv("APP_ENV", "local")
    assert load().is_local


def test_missing_secrets_are_generated_once_and_stored(tmp_path):
    first, second = load(), load()

    assert len(first.jwt_secret.get_secret_value()) >= 32
    assert first.jwt_secret == second.jwt_secret != first.secret_key
    assert (tmp_path / "data" / "jwt_secret").stat().st_mode & 0o777 == 0o600
    (tmp_path / "data" / "jwt_secret").write_text("")
    with pytest.raises(BadSettings, match="jwt_secret"):
        load()


def test_a_secret_may_come_from_a_file(environment, tmp_path):
    (tmp_path / "secret").write_text("from a file, and long enough for one\n")
    environment.setenv("JWT_SECRET_FILE", str(tmp_path / "secret"))

    assert load().jwt_secret.get_secret_value() == "from a file, and long enough for one"


def test_list_settings_are_comma_separated_or_json(environment):
    environment.setenv("CORS_ORIGINS", "https://a.example, https://b.example")
    environment.setenv("ALLOWED_HOSTS", '["a.example"]')

    settings = load()

    assert settings.cors_origins == ("https://a.example", "https://b.example")
    assert settings.allowed_hosts == ("a.example",)


@pytest.mark.parametrize("value", ["10.0.0.1/8", "10.0.0.0/33", "proxy.example", "127.0.0.1,x"])
def test_a_trusted_proxy_that_is_not_an_address_is_refused(environment, value):
    environment.setenv("TRUSTED_PROXIES", value)
    with pytest.raises(BadSettings, match=r"TRUSTED_PROXIES: .* neither an address nor a network"):
        load()


def test_trusted_proxies_are_addresses_or_networks(environment):
    environment.setenv("TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8, 2001:db8::/32")
    assert load().trusted_proxies == ("127.0.0.1", "10.0.0.0/8", "2001:db8::/32")


def test_the_memory_cache_is_allowed_only_if_one_process_writes(environment):
    assert load().cache_alone
    environment.setenv("JOBS", "worker")
    assert not load().cache_alone
    environment.setenv("CACHE", "memory")
    with pytest.raises(BadSettings, match="CACHE: memory is for a single process"):
        load()


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("postgres://u@h/d", "postgresql+asyncpg"),
        ("postgresql://u@h/d", "postgresql+asyncpg"),
        ("postgresql+psycopg://u@h/d", "postgresql+asyncpg"),
        ("sqlite:///x.db", "sqlite+aiosqlite"),
    ],
)
def test_every_spelling_of_a_database_url_selects_the_async_driver(url, driver):
    assert driven(url).drivername == driver


def test_sslmode_in_urls_and_units_in_sizes_are_understood(environment):
    assert driven("postgresql://u@h/d?sslmode=require").query == {"sslmode": "require"}
    environment.setenv("MAX_FILE_SIZE", "5MB")
    assert load().max_file_size == 5_000_000


def test_settings_show_no_secret(environment):
    environment.setenv("DATABASE_URL", "postgresql://user:hunter2@host/db")

    settings = load()

    assert "hunter2" not in repr(settings) + settings.database.render_as_string()
