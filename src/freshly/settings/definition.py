"""The settings of the installation itself. `settings/services.py` has those of its services.

Descriptions are the source of docs/reference/settings.md and .env.example.
"""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import (
    ByteSize,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from sqlalchemy.engine import URL

from freshly.settings.database_url import driven
from freshly.settings.file_secrets import FileSecrets
from freshly.settings.limits import WEAKEST_SECRET
from freshly.settings.service_urls import URL_CHECKS
from freshly.settings.types import (
    Counts,
    LimitsByTier,
    Networks,
    Port,
    Positive,
    PublicUrl,
    Seconds,
    Size,
    TimeZone,
    Unit,
    Words,
    is_loopback,
)


class InstallationSettings(BaseSettings):
    """Each field is an environment variable with the name of the field in capitals."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    app_name: str = Field(default="Freshly API", description="The title of the API.")
    app_env: Literal["local", "development", "staging", "production"] = Field(
        default="local",
        description="The environment. `staging` and `production` refuse secrets under 32 "
        "characters.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = Field(
        default="INFO",
        description="The lowest level to log. The log goes to standard error.",
    )
    log_format: Literal["auto", "json", "console"] = Field(
        default="auto",
        description="`json` writes one line of JSON each, `console` lines for people. `auto`: "
        "`console` on a terminal, else `json`.",
    )
    debug: bool = Field(default=False, description="Has no effect; the existing app sets it.")

    data_dir: Path = Field(
        default=Path("data"),
        description="The folder of the embedded database, of generated secrets and of files.",
    )
    host: str = Field(
        default="127.0.0.1",
        description="The address to listen on. One that other machines can reach needs `APP_ENV`.",
    )
    port: Port = Field(default=8000, description="The TCP port to listen on.")
    workers: Annotated[int, Field(ge=1, le=64)] = Field(
        default=1, description="The number of server processes. More than one needs PostgreSQL."
    )
    max_connections: Annotated[int, Field(ge=10, le=1_000_000)] = Field(
        default=20_000,
        description="Connections of clients that each process keeps open. One more closes those "
        "that have waited longest for a request. The system's limit of open files bounds it too.",
    )
    timezone: TimeZone = Field(
        default="UTC",
        description="The time zone of today (for expiry dates) and of 7:00 (for the morning "
        "digest).",
    )
    public_url: PublicUrl | None = Field(
        default=None,
        description="The start of links to files and in emails, such as `https://api.example.com` "
        "or `https://example.com/freshly`. Set it behind a proxy. Default: the host of the "
        "request.",
    )
    trusted_proxies: Networks = Field(
        default=(),
        description="Addresses or networks (CIDR) of proxies whose `X-Forwarded-For` is trusted. "
        "`*` trusts every peer.",
    )
    metrics_token: SecretStr | None = Field(
        default=None,
        description="The bearer token for `GET /metrics`. Without it, only requests from this "
        "machine that passed no proxy may read the metrics.",
    )
    allowed_hosts: Words = Field(
        default=("localhost", "127.0.0.1"),
        description="Values of the Host header that are accepted. `*.example.com` accepts all "
        "subdomains. `local` also accepts addresses and names of this machine.",
    )
    cors_origins: Words = Field(
        default=("http://localhost:3000", "http://127.0.0.1:3000"),
        description="Origins of browsers that may call the API. In `local`, each port of "
        "localhost may too.",
    )

    allow_signup: Literal["open", "invitation", "closed"] = Field(
        default="open",
        description="Who may create an account. `open`: everyone. `invitation`: a person with an "
        "invitation of an administrator or of a family. `closed`: only administrators whom "
        "`freshly admin create` invites.",
    )

    secret_key: SecretStr = Field(
        default=SecretStr(""),
        description="Signs links to files and encrypts stored responses. Default: the first start "
        "creates it in `DATA_DIR`.",
    )
    jwt_secret: SecretStr = Field(
        default=SecretStr(""),
        description="Signs access and refresh tokens. Default: the first start creates it in "
        "`DATA_DIR`.",
    )
    jwt_secret_previous: SecretStr = Field(
        default=SecretStr(""),
        description="The former `JWT_SECRET`, while tokens that it has signed are to stay valid. "
        "It signs none. See docs/guides/security.md.",
    )
    jwt_alg: Literal["HS256", "HS384", "HS512"] = Field(
        default="HS256", description="The algorithm that signs tokens."
    )
    access_token_expire_minutes: Annotated[int, Field(gt=0), Unit("minutes")] = Field(
        default=30, description="The lifetime of an access token."
    )
    refresh_token_expire_days: Annotated[int, Field(gt=0), Unit("days")] = Field(
        default=7, description="The lifetime of a refresh token."
    )

    # URLs may contain passwords, so they are secrets too.
    database_url: SecretStr = Field(
        default=SecretStr(""),
        description="The database: `postgresql://user:password@host/name` or `sqlite:///path`. "
        "Default: SQLite in `DATA_DIR`.",
    )
    database_url_pooler: SecretStr | None = Field(
        default=None,
        description="The address of a connection pooler such as PgBouncer. Requests use it; "
        "migrations use `DATABASE_URL`. Freshly sets nothing on its connections, so set the "
        "limits on the role: `ALTER ROLE name SET lock_timeout = '3s'`, and `statement_timeout`.",
    )
    database_pool_size: Positive = Field(
        default=20,
        description="Connections for transactions that each process keeps open. Together with "
        "DATABASE_MAX_OVERFLOW it is the most connections of a process, at least two: two fifths "
        "of them are for single reads, the others for transactions.",
    )
    database_max_overflow: Annotated[int, Field(ge=0)] = Field(
        default=30,
        description="Further connections that each process opens under load. Ten times as many "
        "requests as there are connections may wait for one.",
    )
    database_pool_timeout: Annotated[float, Field(gt=0), Unit("seconds")] = Field(
        default=2,
        description="How long a request waits for a connection before it gets 503. The existing "
        "app's 30 s would let the queue grow without bound.",
    )
    database_statement_timeout: Seconds = Field(
        default=30,
        description="PostgreSQL cancels a longer statement. Behind a pooler, Freshly stops "
        "waiting for it five seconds later.",
    )
    redis_url: SecretStr | None = Field(
        default=None,
        description="Redis, which processes use to share cached responses and rate limits. Set it "
        "if there is more than one process.",
    )
    cache: Literal["auto", "memory", "off"] = Field(
        default="auto",
        description="Where responses are cached. `auto`: in Redis; without Redis in memory on "
        "SQLite, else nowhere. `memory`: in a single process on PostgreSQL that runs its jobs "
        "itself. `off`: nowhere.",
    )
    cache_ttl_seconds: Seconds = Field(
        default=300, description="The longest time that a response stays cached."
    )
    cache_memory: Size = Field(
        default=ByteSize(32 * 1024 * 1024),
        description="The largest total of cached responses in a process.",
    )

    jobs: Literal["auto", "inside", "worker"] = Field(
        default="auto",
        description="The process that runs jobs. `auto`: the server, unless a `freshly worker` is "
        "alive. `inside`: always the server. `worker`: only `freshly worker`.",
    )
    worker_port: Port | None = Field(
        default=None,
        description="The TCP port of `HOST` on which `freshly worker` answers `/health`, `/ready` "
        "and `/metrics`. Default: none.",
    )
    jobs_at_once: Annotated[int, Field(gt=0, le=100)] = Field(
        default=4, description="Jobs that each process runs at once."
    )
    jobs_worker_silence: Annotated[float, Field(ge=1), Unit("seconds")] = Field(
        default=15,
        description="After so long without a heartbeat, a worker is dead and other workers take "
        "over its jobs.",
    )

    rate_limit_enabled: bool = Field(
        default=True,
        description="Limit the calls of each user and address. See docs/guides/operators.md.",
    )
    rate_limit_requests: Positive = Field(
        default=100, description="Calls that a user may make in each window of `RATE_LIMIT_WINDOW`."
    )
    rate_limit_window: Seconds = Field(default=60, description="The length of that window.")
    auth_rate_limit: Positive = Field(
        default=10, description="Sign-ins that an address may try each minute."
    )
    rate_limit_overrides: LimitsByTier = Field(
        default={},
        description='Other limits by group and tier, as JSON: `{"chat": {"free": '
        '"10/minute;50/day"}}`.',
    )

    quotas: Counts = Field(
        default={},
        description='Other quotas by name, as JSON: `{"pantry_items": 10000}`; 0 means no limit. '
        "See docs/guides/operators.md.",
    )

    max_file_size: Size = Field(
        default=ByteSize(10 * 1024 * 1024),
        description="The largest picture. A picture is also limited to 5 MiB, a scanned file to 2 "
        "MiB.",
    )
    allowed_file_types: Words = Field(
        default=("image/jpeg", "image/png", "image/webp"),
        description="Media types of pictures. Avatars are JPEG or PNG.",
    )
    storage_url: SecretStr | None = Field(
        default=None,
        description="Where files are stored: `file:///path`, or "
        "`s3://key:secret@host/bucket?region=` with `&tls=false` for plain HTTP. Default: "
        "`DATA_DIR/files`.",
    )
    avatars_bucket: str = Field(
        default="users",
        description="The folder of avatars. It is public, so no other bucket may have this name.",
    )
    chat_images_bucket: str = Field(
        default="chat-images", description="The folder of pictures in conversations."
    )
    exports_bucket: str = Field(default="exports", description="The folder of account exports.")
    pantry_images_bucket: str = Field(
        default="pantry_items",
        description="The folder of pictures of pantry items. It is public, so no other bucket may "
        "have this name.",
    )

    backups: Literal["auto", "daily", "off"] = Field(
        default="auto",
        description="Make a backup each day at 3:30 of `TIMEZONE`. `auto`: if the database is "
        "SQLite. The last of 7 days and of 4 weeks are kept.",
    )
    backup_dir: Path | None = Field(
        default=None,
        description="The folder of backups, best on another disk. Default: `DATA_DIR/backups`.",
    )
    backup_passphrase: SecretStr | None = Field(
        default=None,
        description="Encrypts backups, and opens them. Keep a copy elsewhere: without it an "
        "encrypted backup is lost.",
    )

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
        return init_settings, env_settings, FileSecrets(settings_cls)

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("database_url", "database_url_pooler", "redis_url", "storage_url")
    @classmethod
    def _is_usable(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is not None and value.get_secret_value():
            URL_CHECKS[info.field_name or ""](value.get_secret_value())
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if faults := [*self._weak_secrets(), *self._misfits()]:
            raise ValueError("\n".join(faults))
        return self

    def _weak_secrets(self) -> Iterator[str]:
        if self.app_env in ("staging", "production"):
            for name in ("secret_key", "jwt_secret", "jwt_secret_previous"):
                secret = getattr(self, name).get_secret_value()
                if secret and len(secret) < WEAKEST_SECRET:
                    yield (
                        f"{name.upper()}: is too weak for {self.app_env}: "
                        f"give {WEAKEST_SECRET} characters or more"
                    )

    def _misfits(self) -> Iterator[str]:
        if "app_env" not in self.model_fields_set and not is_loopback(self.host):
            yield (
                "HOST: other machines can reach this address, so give APP_ENV too: "
                "production, staging, development or local"
            )
        private = (self.chat_images_bucket, self.exports_bucket)
        if self.avatars_bucket in (*private, self.pantry_images_bucket):
            yield "AVATARS_BUCKET: is public, so it needs a name of its own"
        if self.pantry_images_bucket in private:
            yield "PANTRY_IMAGES_BUCKET: is public, so it needs a name of its own"
        if self.workers > 1 and self.database.get_backend_name() == "sqlite":
            yield "WORKERS: more than one needs PostgreSQL: give DATABASE_URL"
        if self.workers > 1 and self.cache == "memory":
            yield "CACHE: memory is for a single process: give REDIS_URL instead"

    @property
    def is_local(self) -> bool:
        return self.app_env in ("local", "development")

    @property
    def heartbeat_timeout(self) -> timedelta:
        """The time without a heartbeat after which a worker counts as dead."""
        return timedelta(seconds=self.jobs_worker_silence)

    @property
    def base_path(self) -> str:
        """The path of PUBLIC_URL, such as `/freshly`. Empty for the root of a host."""
        return urlsplit(self.public_url or "").path

    @property
    def database(self) -> URL:
        """The URL of the database for migrations, and for the app unless there is a pooler."""
        given = self.database_url.get_secret_value()
        return driven(given or f"sqlite:///{self.data_dir / 'freshly.db'}")

    @property
    def folders_written(self) -> tuple[Path, ...]:
        """The folders of the embedded database and of local files."""
        database, folders = self.database, []
        if database.get_backend_name() == "sqlite" and database.database:
            folders.append(Path(database.database).parent)
        storage = urlsplit(self.storage_url.get_secret_value() if self.storage_url else "")
        if not storage.scheme:
            folders.append(self.data_dir)
        elif storage.scheme == "file":
            folders.append(Path(unquote(storage.path)))
        return tuple(folders)

    @property
    def backup_folder(self) -> Path:
        return self.backup_dir or self.data_dir / "backups"

    @property
    def makes_backups(self) -> bool:
        """True if a job makes a backup each day."""
        is_embedded = self.database.get_backend_name() == "sqlite"
        return self.backups == "daily" or (self.backups == "auto" and is_embedded)

    @property
    def cache_alone(self) -> bool:
        """True if responses may be cached in memory: only one process writes."""
        alone = self.database.get_backend_name() == "sqlite" and self.jobs != "worker"
        return self.cache == "memory" or (self.cache == "auto" and alone)

    @property
    def pooled_database(self) -> URL:
        pooler = self.database_url_pooler
        return driven(pooler.get_secret_value(), pooler=True) if pooler else self.database
