"""The settings of services that the installation uses: mail, sign-in, the assistant's model."""

from typing import Annotated

from pydantic import Field, SecretStr

from freshly.settings.definition import InstallationSettings
from freshly.settings.types import LARGEST_COUNT, Positive, Timeout, Tokens, Unit, WebAddress

DEFAULT_SENDER = "freshly@localhost"


class Settings(InstallationSettings):
    """All settings."""

    mail_username: str | None = Field(default=None, description="The user name at the SMTP server.")
    mail_password: SecretStr | None = Field(
        default=None, description="The password at the SMTP server."
    )
    mail_from: str | None = Field(
        default=None, description="The sender's address. Default: `MAIL_USERNAME`."
    )
    mail_port: Annotated[int, Field(gt=0, le=65535)] = Field(
        default=587, description="The port of the SMTP server."
    )
    mail_server: str | None = Field(
        default=None,
        description="The host of the SMTP server. Without it, `local` writes emails to the log "
        "and to `DATA_DIR/outbox`; elsewhere they are lost, with an error in the log.",
    )
    mail_from_name: str = Field(default="Freshly", description="The sender's name.")
    mail_starttls: bool = Field(default=True, description="Start TLS after connecting.")
    mail_ssl_tls: bool = Field(
        default=False,
        description="Connect with TLS, as on port 465. Then `MAIL_STARTTLS` has no effect.",
    )

    supabase_url: WebAddress | None = Field(
        default=None,
        description="The Supabase project that signs users in with Google and Apple. Its public "
        "keys check the tokens.",
    )
    supabase_service_role: SecretStr | None = Field(
        default=None, description="Has no effect; the existing app sets it."
    )
    supabase_jwt_secret: SecretStr | None = Field(
        default=None,
        description="The shared secret of the Supabase project, if it signs tokens with one.",
    )

    openai_api_key: SecretStr | None = Field(
        default=None,
        description="The key of the assistant's model at OpenAI. With neither a key nor "
        "`OPENAI_BASE_URL`, the assistant's routes return 503.",
    )
    openai_base_url: WebAddress | None = Field(
        default=None, description="Another server of the Chat Completions API. It may need no key."
    )
    openai_model: str = Field(default="gpt-4o-mini", description="The model for text.")
    openai_vision_model: str = Field(
        default="gpt-4o", description="The model for pictures that users send."
    )
    openai_image_model: str = Field(
        default="dall-e-3", description="The model that generates images."
    )
    openai_max_tokens: Annotated[int, Field(gt=0), Unit("tokens")] = Field(
        default=1000, description="The longest reply in a chat. Scans have their own limit."
    )
    openai_temperature: Annotated[float, Field(ge=0, le=2)] = Field(
        default=0.7, description="How random the replies in a chat are."
    )
    openai_connect_timeout: Timeout = Field(
        default=3, description="The longest wait for a connection to the model."
    )
    openai_first_byte_timeout: Timeout = Field(
        default=20,
        description="The longest silence of the model. Raise it for a model that thinks for long. "
        "It does not apply to generated images.",
    )
    openai_timeout: Timeout = Field(
        default=60, description="The longest call to the model, with its retries."
    )
    openai_retries: Annotated[int, Field(ge=0, le=5)] = Field(
        default=2,
        description="Retries after a failed connection, a 429 or a 5xx, within `OPENAI_TIMEOUT`.",
    )
    openai_max_calls: Positive = Field(
        default=100, description="Calls to the model that each process makes at once."
    )
    openai_queue_timeout: Timeout = Field(
        default=2, description="How long a further call waits before it gets 503."
    )
    openai_breaker_failures: Positive = Field(
        default=5,
        description="Failures in a row that open the circuit breaker. Text, vision and images "
        "have one each.",
    )
    openai_breaker_seconds: Timeout = Field(
        default=30,
        description="How long an open circuit breaker refuses calls with 503, until one call "
        "tries again.",
    )
    chat_tokens_per_person: Tokens = Field(
        default=300_000,
        description="Tokens that a user may use each UTC day; 0 means no limit. The default fits "
        "the free tier's fifty questions a day.",
    )
    chat_tokens_per_family: Tokens = Field(
        default=1_000_000,
        description="Tokens that the members of a family may use together each UTC day; 0 means "
        "no limit.",
    )
    chat_tokens_unconfirmed: Tokens = Field(
        default=5_000,
        description="Tokens that a user whose email address is not confirmed may use each UTC day; "
        "0 means no limit of its own.",
    )
    chat_tokens_installation: Tokens = Field(
        default=20_000_000,
        description="Tokens that all users may use together each UTC day; 0 means no limit.",
    )
    pantry_pictures_per_day: Annotated[int, Field(ge=0, le=LARGEST_COUNT)] = Field(
        default=20,
        description="Pictures of new pantry items that are generated each day for a family, or "
        "for a user's own pantry. They need `OPENAI_API_KEY` and count as tokens of the user who "
        "added the item; 0 turns them off.",
    )

    @property
    def mail_sender(self) -> str:
        return self.mail_from or self.mail_username or DEFAULT_SENDER

    @property
    def draws_pantry(self) -> bool:
        """True if pictures of pantry items are generated: a model without a key rarely can."""
        return self.openai_api_key is not None and self.pantry_pictures_per_day > 0
