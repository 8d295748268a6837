"""Every setting of the service, frozen: from arguments, `HEADWATER_…` variables, `.env`, a TOML file, then defaults."""

import ipaddress
import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from service.access.settings import AccessSettings
from service.document_settings import DocumentSettings
from service.edge_settings import EdgeSettings, Names
from service.file_settings import FileChatSettings, JobSettings, UploadSettings
from service.limits.settings import LimitSettings
from service.origins import is_origin
from service.prediction_settings import PredictionSettings

PREFIX = "HEADWATER_"
CONFIG_VARIABLE = "HEADWATER_CONFIG"  # names the TOML file; the one variable that is no setting
MIB = 1024 * 1024


def default_models_dir() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "headwater" / "models"


class EchoSettings(BaseModel):
    """The engine without a model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tokens_per_second: float = Field(
        default=50.0, ge=0, le=1_000_000, description="How fast it speaks; 0 is as fast as it goes."
    )
    may_break: bool = Field(
        default=False, description="Let prompts crash or freeze the whole engine, to see what happens then."
    )


class Settings(BaseSettings):
    """Made by `load_settings`, which turns what is wrong into one line."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_file=".env",
        extra="forbid",
        frozen=True,
        dotenv_filtering="match_prefix",
        validate_default=True,
    )

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    allow_anonymous_network: bool = Field(
        default=False, description="Listen beyond this machine although there is no key and anyone may use the service."
    )
    allowed_hosts: Names = Field(
        default=(),
        description="Names in the Host header that are answered besides this machine's own: `api.example.com`, "
        "`*.example.com`, or `*` for every name.",
    )
    trusted_proxies: Names = Field(
        default=(),
        description="Addresses and networks of the proxies in front, such as `10.0.0.7,10.1.0.0/16`. Only what these "
        "add to X-Forwarded-For is believed.",
    )
    cors_origins: Names = Field(
        default=("http://localhost:3000", "http://localhost:5173"),
        description="Origins whose pages may call the service: comma-separated or a JSON list; `null` only if listed.",
    )
    cors_credentials: bool = Field(default=True, description="Whether those pages may send cookies and access headers.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least serious lines to log."
    )
    log_format: Literal["auto", "json", "text"] = Field(
        default="auto", description="How a line looks; auto is text on a terminal and json elsewhere."
    )
    log_exception_text: bool = Field(
        default=False,
        description="Log also what exceptions say, not only their types and places; it may quote what clients sent.",
    )
    traces: Literal["off", "otlp"] = Field(
        default="off",
        description="Send traces to where OTEL_EXPORTER_OTLP_ENDPOINT says; needs the extra `headwater[otel]`.",
    )

    engine: Literal["torch", "echo"] = Field(
        default="torch", description="What runs the models; echo needs none and repeats the prompt."
    )
    models: Path | None = Field(
        default=None, description="The file that lists the models; the built-in list if not given."
    )
    models_dir: Path = Field(default_factory=default_models_dir, description="Where prepared models are kept.")
    data_dir: Path = Field(default=Path("data"), description="Where uploads, jobs and other data are kept.")
    database_url: SecretStr | None = Field(
        default=None,
        description="`postgresql://user:password@host/name` or `sqlite:////absolute/path`; a file of SQLite under the "
        "data folder if not given.",
    )
    database_connections: int = Field(default=5, ge=2, le=1000, description="Connections to the database at once.")
    database_timeout_s: float = Field(
        default=10.0, gt=0, description="How long anything waits for the database before it is told to come back."
    )
    model_patience_s: float = Field(
        default=30.0, gt=0, description="How long a request waits for a model that is being opened."
    )
    max_models_mib: int | None = Field(
        default=None,
        ge=1,
        description="Memory for all models together, about; what would pass it is refused. No limit if not given.",
    )
    retire_grace_s: float = Field(
        default=600.0, ge=0, description="How long answers may go on with a model that was replaced by a newer one."
    )
    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="What computes: auto takes a GPU where there is one; cpu, cuda or cuda:1 say it.",
    )
    threads: int | None = Field(
        default=None, ge=1, le=1024, description="Threads that compute; one for each core if not given."
    )
    max_running: int = Field(default=32, ge=1, le=100_000, description="Generations that run at once, for each model.")
    max_waiting: int = Field(
        default=256, ge=0, le=100_000, description="Generations that wait for a place, for each model."
    )
    max_background: int = Field(
        default=16,
        ge=1,
        le=100_000,
        description="Generations of background jobs that run at once, for each model; one place is left to people.",
    )
    background_share: float = Field(
        default=0.125,
        gt=0,
        le=1,
        description="Tokens computed for background jobs for each one that is computed for people, while people wait.",
    )
    batch_wait_ms: float = Field(
        default=2.0,
        ge=0,
        le=1000,
        description="How long a model that has just answered several requests together waits for the next ones.",
    )
    batch_max_items: int = Field(
        default=64, ge=1, le=10_000, description="Requests that a model other than a language model answers together."
    )
    batch_max_waiting: int = Field(
        default=1024, ge=1, le=1_000_000, description="Requests that wait for such a model, for each model."
    )
    batch_timeout_s: float = Field(
        default=60.0, gt=0, description="How long a request waits for the answer of such a model."
    )
    cache_max_mib: float = Field(
        default=64, ge=0, description="Memory for answers that are kept to be given again; 0 keeps none."
    )
    cache_ttl_s: float = Field(default=3600.0, ge=0, description="How long such an answer is kept.")
    cache_shared: bool = Field(
        default=False,
        description="Give callers each other's kept answers; else how fast one comes tells nobody what others asked.",
    )
    kv_cache_mib: int = Field(default=1024, ge=16, description="Memory for attention caches, for each model.")
    prefill_chunk_tokens: int = Field(default=128, ge=1, le=65_536, description="Prompt tokens read in one step.")
    dense_copy_max_mib: int = Field(
        default=1024,
        ge=0,
        description="The largest dense copy of a 4-bit model's weights, kept to read prompts several times as fast.",
    )
    default_max_tokens: int = Field(
        default=512, ge=1, le=1_048_576, description="The longest answer when a request does not say."
    )
    engine_hang_s: float = Field(
        default=1.3,
        gt=0,
        description="An engine that neither ends its step nor uses the processor for this long is taken for hung.",
    )
    engine_step_max_s: float = Field(
        default=120.0, gt=0, description="An engine that needs longer for one step is taken for hung, however busy."
    )
    engine_max_restarts: int = Field(
        default=5, ge=0, le=1000, description="How often a broken engine is started again within ten minutes."
    )
    echo: EchoSettings = Field(default_factory=EchoSettings, description="The engine without a model.")
    uploads: UploadSettings = Field(default_factory=UploadSettings, description="Files that clients put in.")
    jobs: JobSettings = Field(default_factory=JobSettings, description="What is done in the background.")
    documents: DocumentSettings = Field(
        default_factory=DocumentSettings, description="How files are read, cut into pieces and searched."
    )

    access: AccessSettings = Field(default_factory=AccessSettings, description="Who may use the service.")
    predictions: PredictionSettings = Field(
        default_factory=PredictionSettings, description="Predictions of models other than language models."
    )
    limits: LimitSettings = Field(default_factory=LimitSettings, description="What one caller may have.")
    edge: EdgeSettings = Field(default_factory=EdgeSettings, description="Connections and the heads of requests.")
    file_chat: FileChatSettings = Field(default_factory=FileChatSettings, description="Answers from files.")

    max_body_bytes: int = Field(default=MIB, ge=1024, description="The largest JSON body.")
    max_prompt_chars: int = Field(default=200_000, ge=1, description="The longest prompt, all messages together.")
    max_messages: int = Field(default=1000, ge=1, description="Messages in one conversation.")
    max_stop_strings: int = Field(default=16, ge=0, description="Stop strings in one request.")
    max_stop_chars: int = Field(default=256, ge=1, description="Characters in one stop string.")
    max_logit_bias: int = Field(default=300, ge=0, description="Tokens with a bias in one request.")
    max_logprobs: int = Field(
        default=20_000, ge=0, description="Log-probabilities in one answer: those of a token, times its max_tokens."
    )

    heartbeat_s: float = Field(default=15.0, gt=0, description="Silence after which a stream shows a sign of life.")
    send_timeout_s: float = Field(
        default=30.0, gt=0, description="How long a reader may take nothing before it is cut."
    )
    max_grace_s: float = Field(
        default=300.0, ge=0, description="The longest time without a reader that a request may ask for."
    )
    first_reader_grace_s: float = Field(
        default=5.0, ge=0.1, description="How long a new stream waits for its first reader at least."
    )
    metrics_timeout_s: float = Field(
        default=2.0, gt=0, description="How long a scrape waits for the database before it leaves its numbers out."
    )
    ticket_ttl_s: float = Field(default=60.0, gt=0, description="How long a ticket opens its stream.")
    finished_log_ttl_s: float = Field(default=300.0, ge=0, description="How long a finished answer can still be read.")
    finished_logs_max_mib: float = Field(default=64, ge=0, description="Memory for all finished answers together.")
    shutdown_grace_s: float = Field(default=20.0, ge=0, description="How long running answers may go on after SIGTERM.")

    @model_validator(mode="after")
    def is_safe(self) -> "Settings":
        if "*" in self.cors_origins and self.cors_credentials:
            raise ValueError(
                "HEADWATER_CORS_ORIGINS=* lets every page act for its visitor: "
                "list the origins, or set HEADWATER_CORS_CREDENTIALS=false"
            )
        return self

    @field_validator("cors_origins")
    @classmethod
    def are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for one in origins:
            if not is_origin(one):
                raise ValueError(f"{one} is no origin: write scheme, name and port, as in https://app.example.com:8443")
        return origins

    @field_validator("trusted_proxies")
    @classmethod
    def are_networks(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for one in proxies:
            ipaddress.ip_network(one)  # its own words name what is wrong
        return proxies

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        config = os.environ.get(CONFIG_VARIABLE)
        sources = (init_settings, env_settings, dotenv_settings)
        return (*sources, TomlConfigSettingsSource(settings_cls, Path(config))) if config else sources
