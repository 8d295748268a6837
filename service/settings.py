"""Every setting of the service, frozen: from arguments, `HEADWATER_…` variables, `.env`, a TOML file, then defaults."""

import difflib
import ipaddress
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, cast, get_origin

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from service.access.settings import AccessSettings
from service.document_settings import DocumentSettings
from service.edge_settings import EdgeSettings, Names
from service.limits.settings import LimitSettings
from service.origins import is_origin
from service.prediction_settings import PredictionSettings

PREFIX = "HEADWATER_"
CONFIG_VARIABLE = "HEADWATER_CONFIG"  # names the TOML file; the one variable that is no setting
API_KEY_VARIABLE = "HEADWATER_API_KEY"  # read by the commands that ask a server; no setting of one
MIB = 1024 * 1024
GIB = 1024 * MIB


class SettingsError(Exception):
    """The service cannot start like this. `message` is one line for the operator."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


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


class UploadSettings(BaseModel):
    """Files that clients put in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_file_bytes: int = Field(default=2 * GIB, ge=1, description="The largest file.")
    max_request_bytes: int = Field(
        default=4 * GIB, ge=1024, description="The largest body of a request that brings files."
    )
    max_files_per_request: int = Field(default=32, ge=1, le=1000, description="Files in one multipart request.")
    max_owner_bytes: int = Field(default=16 * GIB, ge=1, description="What one caller may keep, in bytes.")
    max_owner_files: int = Field(
        default=10_000, ge=1, description="Files that one caller may keep, unfinished ones counted."
    )
    max_total_bytes: int = Field(
        default=64 * GIB, ge=1, description="What all callers may keep, in bytes on the store."
    )
    free_disk_reserve_bytes: int = Field(
        default=GIB // 4, ge=0, description="Room on the disk that uploads leave to others."
    )
    max_running: int = Field(default=64, ge=1, le=10_000, description="Uploads that are received at once.")
    idle_timeout_s: float = Field(
        default=30.0, gt=0, description="How long a body may bring nothing before it is given up."
    )
    part_ttl_s: float = Field(
        default=86_400.0, gt=0, description="How long an unfinished resumable upload is kept after its last byte."
    )
    file_threads: int = Field(
        default=8, ge=1, le=256, description="Threads that write, read and hash files; they mostly wait for the disk."
    )
    sweep_interval_s: float = Field(default=600.0, gt=0, description="Pause between two searches for leftovers.")
    s3_url: str = Field(
        default="",
        description="Keep files there instead of on this disk: `s3://bucket/prefix`; access as in AWS_… variables.",
    )
    s3_endpoint: str = Field(default="", description="The address of an S3-compatible store other than Amazon's.")


class JobSettings(BaseModel):
    """What is done in the background."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_here: bool = Field(
        default=True, description="Run jobs in this process too; false leaves them to `headwater worker`."
    )
    max_running: int = Field(default=4, ge=1, le=1000, description="Jobs of each kind that a process runs at once.")
    max_waiting: int = Field(default=1000, ge=1, le=1_000_000, description="Jobs that wait, of all callers together.")
    max_attempts: int = Field(default=3, ge=1, le=100, description="How often a job is tried before it has failed.")
    retry_delay_s: float = Field(
        default=5.0, ge=0, description="Pause before the second attempt; it doubles with each one after."
    )
    lease_s: float = Field(
        default=30.0, ge=0.5, description="After this long without a sign of life a job's worker counts as dead."
    )
    poll_interval_s: float = Field(
        default=1.0, gt=0, description="How often a worker looks for jobs that other processes added."
    )
    watch_interval_s: float = Field(
        default=0.5, gt=0, description="How often the jobs whose progress somebody reads are looked up."
    )
    keep_s: float = Field(default=604_800.0, ge=0, description="How long an ended job and its result are kept.")
    batch_max_rows: int = Field(default=100_000, ge=1, le=100_000_000, description="Rows of one batch.")
    batch_max_bytes: int = Field(default=100 * MIB, ge=1024, description="The largest file of rows.")
    batch_rows_in_flight: int = Field(
        default=16, ge=1, le=10_000, description="Rows of one batch that are given to the model at once."
    )


class FileChatSettings(BaseModel):
    """Answers from files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_files: int = Field(default=8, ge=1, le=100, description="Files that one answer is made from.")
    room_tokens: int = Field(
        default=2048,
        ge=64,
        le=1_048_576,
        description="Tokens of a prompt that files take at most; a longer prompt takes longer to read.",
    )
    max_citations: int = Field(default=3, ge=0, le=50, description="Pieces that an answer quotes at most.")
    max_reading: int = Field(default=4, ge=1, le=1000, description="Answers whose files are read at once.")
    max_waiting: int = Field(default=64, ge=0, le=100_000, description="Answers that wait for their files to be read.")
    read_timeout_s: float = Field(
        default=300.0, gt=0, description="How long an answer waits for its files, the time in the line counted."
    )
    cite_timeout_s: float = Field(default=5.0, gt=0, description="How long the end of an answer waits for quotes.")


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


class FileSettings(Settings):
    """The TOML file alone: what is wrong in it is then told with its name."""

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], *_: PydanticBaseSettingsSource, **__: PydanticBaseSettingsSource
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (TomlConfigSettingsSource(settings_cls, Path(os.environ[CONFIG_VARIABLE])),)


def load_settings(**given: Any) -> Settings:
    """`given` goes before everything else; None means not given. Raises `SettingsError`."""
    refuse_unknown(key for key in os.environ if key.startswith(PREFIX))
    if config := os.environ.get(CONFIG_VARIABLE):
        check_file(config)
    try:
        return Settings(**{key: value for key, value in given.items() if value is not None})
    except ValidationError as error:
        raise SettingsError(first_problem(error)) from None
    except ValueError as error:
        raise SettingsError(unparsed(error)) from None


def check_file(path: str) -> None:
    """Raises `SettingsError` with the file's name. How its values go with those of other sources is seen later."""
    if not Path(path).is_file():
        raise SettingsError(f"{CONFIG_VARIABLE}: there is no file {path}")
    try:
        FileSettings()
    except ValidationError as error:
        if error.errors()[0]["loc"]:
            raise SettingsError(f"{path}: {first_problem(error, lambda name: name.replace('__', '.'))}") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"is not TOML: {error}"
        raise SettingsError(f"{path}: {reason}") from None


def refuse_unknown(variables: Iterable[str]) -> None:
    known = [CONFIG_VARIABLE, API_KEY_VARIABLE, *(variable_of(path) for path in setting_paths(Settings))]
    groups = {variable_of(name) for name in Settings.model_fields}
    for variable in sorted(variables):
        if variable.upper() not in {*known, *groups}:
            raise SettingsError(f"{variable} is no setting{suggestion(variable.upper(), known)}")


def setting_paths(model: type[BaseModel]) -> Iterable[str]:
    """The names of all settings, nested ones as `group__name`."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from (f"{name}__{inner}" for inner in setting_paths(field.annotation))
        else:
            yield name


def variable_of(path: str) -> str:
    return PREFIX + path.upper()


def suggestion(name: str, known: Iterable[str]) -> str:
    nearest = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {nearest[0]}?" if nearest else ""


def first_problem(error: ValidationError, named: Callable[[str], str] = variable_of) -> str:
    problem = error.errors(include_url=False, include_input=False)[0]
    place = place_of([str(part) for part in problem["loc"]], named)
    if problem["type"] == "extra_forbidden":
        return f"{place} is no setting{suggestion(place, map(named, setting_paths(Settings)))}"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message


def place_of(parts: Sequence[str], named: Callable[[str], str]) -> str:
    """The setting, and where in its value: keys of a mapping are not part of a variable's name."""
    known = set(setting_paths(Settings))
    for length in range(1, len(parts)):
        if (path := "__".join(parts[:length])) in known:
            return f"{named(path)} at {'.'.join(parts[length:])}"
    return named("__".join(parts)) if parts else ""


def unparsed(error: ValueError) -> str:
    """The library names the group of the variable whose value is to be JSON and is none."""
    group = re.search(r'field "(\w+)"', str(error))
    paths = [path for path in setting_paths(Settings) if group and path.partition("__")[0] == group[1]]
    variables = [variable_of(path) for path in paths if is_json(path)]
    return f"{' or '.join(variables)}: not JSON" if variables else " ".join(str(error).split())


def is_json(path: str) -> bool:
    model: type[BaseModel] = Settings
    *groups, name = path.split("__")
    for group in groups:
        model = cast(type[BaseModel], model.model_fields[group].annotation)
    return get_origin(model.model_fields[name].annotation) in (dict, list, tuple, frozenset)
