"""Settings of what is done with files: how they come in, what jobs make of them, and answers from them."""

from pydantic import BaseModel, ConfigDict, Field

MIB = 1024 * 1024
GIB = 1024 * MIB


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
