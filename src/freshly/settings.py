"""Everything that is set from outside, read once and passed down."""

import json
import os
import secrets
from collections.abc import Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ByteSize,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings.exceptions import SettingsError
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

WEAKEST_SECRET = 32  # characters; HS256 wants a key as long as its digest (RFC 7518, 3.2)
LARGEST_BODY = 1_000_000  # bytes
LARGEST_PICTURE_BODY = 8_000_000  # bytes; a picture of 5 MB in base64
LARGEST_AVATAR = 5 * 2**20  # bytes
LARGEST_SCAN = 2 * 2**20  # bytes
LARGEST_COUNT = 10**9


class BadSettings(Exception):
    """Says in one line which setting is wrong and why."""


def _words(value: object) -> object:
    """A comma list; a JSON list is left to pydantic."""
    if isinstance(value, str) and not value.lstrip().startswith("["):
        return [word.strip() for word in value.split(",") if word.strip()]
    if isinstance(value, str):
        try:
            return json.loads(value)
        except json.JSONDecodeError as error:
            raise ValueError(f"is neither a comma list nor JSON: {error}") from error
    return value


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError("is not a time zone such as Europe/Berlin") from error
    return name


def _networks(given: tuple[str, ...]) -> tuple[str, ...]:
    for one in given:
        if one == "*":
            continue
        try:
            ip_network(one)
        except ValueError as error:
            raise ValueError(
                f"{one} is neither an address nor a network such as 10.0.0.0/8, nor *"
            ) from error
    return given


Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)]
Seconds = Annotated[int, Field(gt=0)]
AwakeTimeout = Annotated[float, Field(gt=0, le=3600)]  # seconds


class _FileSecrets(EnvSettingsSource):
    """`NAME_FILE` holds the path of a file with the value of the secret `NAME`."""

    def __call__(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, field in self.settings_cls.model_fields.items():
            path = os.environ.get(f"{name.upper()}_FILE")
            if path and "SecretStr" in str(field.annotation):
                try:
                    found[name] = Path(path).read_text(encoding="utf-8").strip()
                except (OSError, UnicodeDecodeError) as error:
                    reason = getattr(error, "strerror", None) or "not a text file"
                    raise BadSettings(f"{name.upper()}_FILE: cannot read {path}: {reason}") from (
                        error
                    )
        return found


class Settings(BaseSettings):
    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    app_name: str = "Freshly API"
    app_env: Literal["local", "development", "staging", "production"] = "local"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    debug: bool = False

    data_dir: Path = Path("data")
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    timezone: Annotated[str, AfterValidator(_known_zone)] = "UTC"
    public_url: str | None = None
    trusted_proxies: Annotated[Words, AfterValidator(_networks)] = ()
    allowed_hosts: Words = ("localhost", "127.0.0.1")
    cors_origins: Words = ("http://localhost:3000", "http://127.0.0.1:3000")

    secret_key: SecretStr = SecretStr("")
    jwt_secret: SecretStr = SecretStr("")
    jwt_alg: Literal["HS256", "HS384", "HS512"] = "HS256"
    access_token_expire_minutes: Annotated[int, Field(gt=0)] = 30
    refresh_token_expire_days: Annotated[int, Field(gt=0)] = 7

    # URLs may carry passwords, so they are secrets too.
    database_url: SecretStr = SecretStr("")
    database_url_pooler: SecretStr | None = None
    database_pool_size: Annotated[int, Field(gt=0)] = 20
    database_max_overflow: Annotated[int, Field(ge=0)] = 30
    database_pool_timeout: Annotated[float, Field(gt=0)] = 2
    database_statement_timeout: Seconds = 30
    redis_url: SecretStr | None = None
    cache: Literal["auto", "memory", "off"] = "auto"
    cache_ttl_seconds: Seconds = 300
    cache_memory: Annotated[ByteSize, Field(gt=0)] = ByteSize(32 * 1024 * 1024)

    jobs: Literal["auto", "inside", "worker"] = "auto"
    jobs_at_once: Annotated[int, Field(gt=0, le=100)] = 4
    jobs_worker_silence: Annotated[float, Field(ge=1)] = 15

    rate_limit_enabled: bool = True
    rate_limit_requests: Annotated[int, Field(gt=0)] = 100
    rate_limit_window: Seconds = 60
    auth_rate_limit: Annotated[int, Field(gt=0)] = 10
    rate_limit_overrides: dict[str, dict[str, str]] = {}

    max_file_size: Annotated[ByteSize, Field(gt=0)] = ByteSize(10 * 1024 * 1024)
    allowed_file_types: Words = ("image/jpeg", "image/png", "image/webp")
    storage_url: SecretStr | None = None
    avatars_bucket: str = "users"
    chat_images_bucket: str = "chat-images"
    exports_bucket: str = "exports"
    pantry_images_bucket: str = "pantry_items"

    mail_username: str | None = None
    mail_password: SecretStr | None = None
    mail_from: str | None = None
    mail_port: Annotated[int, Field(gt=0, le=65535)] = 587
    mail_server: str | None = None
    mail_from_name: str = "Freshly"
    mail_starttls: bool = True
    mail_ssl_tls: bool = False

    supabase_url: str | None = None
    supabase_service_role: SecretStr | None = None
    supabase_jwt_secret: SecretStr | None = None

    openai_api_key: SecretStr | None = None
    openai_base_url: str | None = None
    openai_model: str = "gpt-4o-mini"
    openai_vision_model: str = "gpt-4o"
    openai_image_model: str = "dall-e-3"
    openai_max_tokens: Annotated[int, Field(gt=0)] = 1000
    openai_temperature: Annotated[float, Field(ge=0, le=2)] = 0.7
    openai_connect_timeout: AwakeTimeout = 3
    openai_first_byte_timeout: AwakeTimeout = 20
    openai_timeout: AwakeTimeout = 60
    openai_retries: Annotated[int, Field(ge=0, le=5)] = 2
    openai_max_calls: Annotated[int, Field(gt=0)] = 100
    openai_queue_timeout: AwakeTimeout = 2
    openai_breaker_failures: Annotated[int, Field(gt=0)] = 5
    openai_breaker_seconds: AwakeTimeout = 30
    # 0 is no limit. Fits what the free tier's fifty questions a day take.
    chat_tokens_per_person: Annotated[int, Field(ge=0, le=LARGEST_COUNT)] = 300_000
    chat_tokens_per_family: Annotated[int, Field(ge=0, le=LARGEST_COUNT)] = 1_000_000
    # 0 is none at all.
    pantry_pictures_per_day: Annotated[int, Field(ge=0, le=LARGEST_COUNT)] = 20

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        del dotenv_settings, file_secret_settings
        return init_settings, env_settings, _FileSecrets(settings_cls)

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("database_url", "database_url_pooler")
    @classmethod
    def _names_a_database(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and value.get_secret_value():
            driven(value.get_secret_value())
        return value

    @model_validator(mode="after")
    def _strong_enough(self) -> Self:
        if self.app_env in ("staging", "production"):
            for name in ("secret_key", "jwt_secret"):
                secret = getattr(self, name).get_secret_value()
                if secret and len(secret) < WEAKEST_SECRET:
                    raise ValueError(
                        f"{name.upper()}: is too weak for {self.app_env}: "
                        f"give {WEAKEST_SECRET} characters or more"
                    )
        closed = (self.chat_images_bucket, self.exports_bucket)
        if self.avatars_bucket in (*closed, self.pantry_images_bucket):
            raise ValueError("AVATARS_BUCKET: is open to everybody: give it a name of its own")
        if self.pantry_images_bucket in closed:
            raise ValueError(
                "PANTRY_IMAGES_BUCKET: is open to everybody: give it a name of its own"
            )
        if self.workers > 1 and self.database.get_backend_name() == "sqlite":
            raise ValueError("WORKERS: more than one needs PostgreSQL: give DATABASE_URL")
        if self.workers > 1 and self.cache == "memory":
            raise ValueError("CACHE: memory is for a single process: give REDIS_URL instead")
        return self

    @property
    def is_local(self) -> bool:
        return self.app_env in ("local", "development")

    @property
    def database(self) -> URL:
        """Where the tables are: for migrations, and for the app unless a pooler is given."""
        given = self.database_url.get_secret_value()
        return driven(given or f"sqlite:///{self.data_dir / 'freshly.db'}")

    @property
    def cache_alone(self) -> bool:
        """May answers be kept in memory? Only by the one process that writes."""
        alone = self.database.get_backend_name() == "sqlite" and self.jobs != "worker"
        return self.cache == "memory" or (self.cache == "auto" and alone)

    @property
    def draws_pantry(self) -> bool:
        """A server without a key is one's own, and seldom draws."""
        return self.openai_api_key is not None and self.pantry_pictures_per_day > 0

    @property
    def pooled_database(self) -> URL:
        pooler = self.database_url_pooler
        return driven(pooler.get_secret_value()) if pooler else self.database


def driven(url: str) -> URL:
    """The URL with the driver that Freshly uses written in it.

    Raises ValueError on a URL of another database.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ValueError("is not a database URL such as postgresql://user@host/name") from error
    drivers = {
        "postgres": "postgresql+asyncpg",
        "postgresql": "postgresql+asyncpg",
        "sqlite": "sqlite+aiosqlite",
    }
    backend = parsed.drivername.partition("+")[0]
    if backend not in drivers:
        raise ValueError(f"{backend} is not supported: give postgresql:// or sqlite:///")
    # libpq's word for it, which hosters put into their URLs; the driver calls it ssl.
    query = {"ssl" if name == "sslmode" else name: value for name, value in parsed.query.items()}
    return parsed.set(drivername=drivers[backend], query=query)


def load(*, data: bool = True) -> Settings:
    """Settings from the environment. Raises BadSettings with one line that names the bad one.

    Without `data` nothing is made or read in DATA_DIR, and secrets that nobody gave stay empty.
    """
    try:
        settings = Settings()
    except ValidationError as error:
        raise BadSettings(_first_line(error)) from error
    except SettingsError as error:
        name = str(error).partition('"')[2].partition('"')[0].upper()
        raise BadSettings(f"{name}: is not JSON: {error.__cause__}") from error
    if settings.cache == "memory" and settings.jobs == "worker":
        raise BadSettings(
            "CACHE: memory is for a single process, and with JOBS=worker there are two:"
            " give REDIS_URL instead"
        )
    return _with_secrets(settings) if data else settings


def _first_line(error: ValidationError) -> str:
    """Never the value itself: it may be a secret."""
    first = error.errors(include_input=False, include_url=False)[0]
    reason = first["msg"].removeprefix("Value error, ")
    path: Sequence[int | str] = first["loc"]
    return f"{str(path[0]).upper()}: {reason}" if path else reason


def _with_secrets(settings: Settings) -> Settings:
    """Secrets that nobody gave are made on the first start and kept in DATA_DIR."""
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        made = {
            name: SecretStr(_kept_secret(settings.data_dir / name))
            for name in ("secret_key", "jwt_secret")
            if not getattr(settings, name).get_secret_value()
        }
    except OSError as error:
        raise BadSettings(f"DATA_DIR: {settings.data_dir}: {error.strerror}") from error
    return settings.model_copy(update=made)


def _kept_secret(path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        kept = path.read_text(encoding="ascii").strip()
        if len(kept) < WEAKEST_SECRET:
            raise BadSettings(
                f"{path}: is damaged; remove it to have a new one made (everyone signs in again)"
            ) from None
        return kept
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_urlsafe(48))
    return path.read_text(encoding="ascii")
