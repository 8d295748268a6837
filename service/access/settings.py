"""The settings of who may use the service."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from service.access.principal import DEFAULT_SCOPES, Scope
from service.access.users import NAME_RULE, is_name

SECRET_BYTES_MIN = 32
HASH_PREFIX = "$argon2id$"


class UserSettings(BaseModel):
    """Somebody who may log in. `headwater users hash` makes the hash."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    password_hash: SecretStr
    scopes: frozenset[Scope] = DEFAULT_SCOPES

    @field_validator("password_hash")
    @classmethod
    def is_argon2id(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value().startswith(HASH_PREFIX):
            raise ValueError("not an argon2id hash; `headwater users hash` makes one")
        return value


class AccessSettings(BaseModel):
    """Who may use the service."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    required: bool = Field(
        default=False,
        description="Ask everybody for a key or token, even while there is none; otherwise that begins with the first "
        "key, user, secret or JWKS file.",
    )
    refresh_s: float = Field(
        default=2.0,
        ge=0.05,
        le=60,
        description="How long a new, changed or revoked key or user may go unnoticed.",
    )
    stale_s: float = Field(
        default=30.0,
        gt=0,
        description="How long keys are believed while the database does not answer; then they are refused with 503.",
    )
    use_interval_s: float = Field(
        default=60.0, gt=0, description="How often the last uses of keys are written down, all at once."
    )
    metrics_public: bool = Field(
        default=False, description="Let anyone read /metrics; otherwise it needs the scope metrics or admin."
    )
    jwt_secret: SecretStr | None = Field(
        default=None, description="What signs the tokens of POST /login (HS256); at least 32 random bytes."
    )
    jwt_issuer: str = Field(default="headwater", min_length=1, description="The issuer in these tokens.")
    jwt_audience: str = Field(default="headwater", min_length=1, description="The audience in these tokens.")
    token_ttl_s: int = Field(default=3600, ge=1, le=31_536_000, description="How long these tokens are valid.")
    jwks_file: Path | None = Field(
        default=None, description="A JWKS with the public keys of another issuer (RS256, ES256) whose tokens are valid."
    )
    jwks_issuer: str = Field(default="", description="The issuer in those tokens.")
    jwks_audience: str = Field(default="", description="The audience in those tokens.")
    jwks_scope_claim: str = Field(
        default="scope", min_length=1, description="The claim with their scopes: a list, or words in a string."
    )
    jwt_leeway_s: float = Field(
        default=10.0, ge=0, le=300, description="How far the clocks of issuers of tokens may be apart from ours."
    )
    users: dict[str, UserSettings] = Field(
        default={},
        description="Who may log in, besides `headwater users`: "
        '`{"ann": {"password_hash": "$argon2id$…", "scopes": ["predict"]}}`.',
    )

    @field_validator("jwt_secret")
    @classmethod
    def is_long(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value().encode()) < SECRET_BYTES_MIN:
            raise ValueError(f"shorter than {SECRET_BYTES_MIN} bytes; `openssl rand -base64 32` makes one")
        return value

    @field_validator("users")
    @classmethod
    def has_names(cls, value: dict[str, UserSettings]) -> dict[str, UserSettings]:
        if not all(is_name(name) for name in value):
            raise ValueError(f"a user's name is {NAME_RULE}")
        return value

    @model_validator(mode="after")
    def is_whole(self) -> "AccessSettings":
        if self.jwks_file is not None and not (self.jwks_issuer and self.jwks_audience):
            raise ValueError("jwks_file needs jwks_issuer and jwks_audience: whose tokens, and made for whom")
        if self.stale_s < 2 * self.refresh_s:
            raise ValueError(
                "stale_s has to be twice refresh_s or more: else keys are refused between two looks at them"
            )
        return self

    @property
    def closes(self) -> bool:
        """Whether these settings alone ask everybody for a key or token."""
        return self.required or bool(self.users) or self.jwt_secret is not None or self.jwks_file is not None
