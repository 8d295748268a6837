"""What can go wrong with files, documents and jobs. These errors know no HTTP; `service.errors` maps them to statuses.

UploadsError
├── UploadRefused          what was sent cannot be taken like this
│   ├── InvalidFilename    a label with NUL or a lone surrogate in it
│   ├── BrokenMultipart    a multipart body that does not follow its own boundary
│   ├── NoFile             a multipart body without a file
│   ├── NotAnImage         a file that is no picture, where one was asked for
│   └── BodyIncomplete     the client went away before the end of its body
├── TooLarge               more than a limit allows
│   ├── FileTooLarge       one file
│   └── TooManyFiles       files in one request
├── BodyStalled            nothing came for too long
├── UnknownUpload          no upload of this id, or somebody else's
├── ContentUnavailable     the upload is known, its bytes cannot be read
├── TooManyUploads         as many are being received as the service takes at once
├── UploadsClosing         no new uploads, the service is leaving
├── QuotaExceeded          this caller keeps as much as it may
├── StoreFailed            the disk or the object store broke while something was kept
├── StoreUnavailable       a store does not answer, or is too busy: come back later
│   └── StoreFull          there is no room for what should be kept
├── ModelUnavailable       a model that reads or finds documents, or a job's, is not loaded or has failed
├── JobRefused             a background job cannot be made or shown like this
│   ├── UnknownJob         no job of this id, or somebody else's, or no longer kept
│   ├── JobNotDone         its result was asked for before it has one
│   ├── JobEnded           it had ended already when it was to be cancelled
│   ├── NoResult           it ended without a result
│   └── InvalidBatch       a file of rows that cannot be read as what it says it is
├── TooManyJobs            as many wait as the service keeps
├── ProcessingFailed       a file broke, or would have broken, the process that reads it
│   ├── ProcessingTimedOut      it took longer than is allowed
│   ├── ProcessingOutOfMemory   it needs more memory than is allowed
│   └── ProcessingCrashed       the process ended without an answer
└── TusRefused             the resumable protocol was not followed
    ├── TusVersion         another version than 1.0.0
    ├── TusContentType     a PATCH that is not application/offset+octet-stream
    ├── OffsetMismatch     the bytes do not belong where the upload stands
    ├── ChecksumMismatch   the bytes are not those that the client summed up
    ├── PartLocked         another request writes to this upload
    ├── PartExpired        it was not finished in time
    └── UnknownPart        no resumable upload of this id, or somebody else's
"""


class UploadsError(Exception):
    """`message` is written for the client; a cause from a library goes into the log, never into `message`."""

    code = "uploads_error"
    retryable = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class UploadRefused(UploadsError):
    code = "upload_refused"


class InvalidFilename(UploadRefused):
    code = "invalid_filename"


class BrokenMultipart(UploadRefused):
    code = "broken_multipart"


class NoFile(UploadRefused):
    code = "no_file"


class NotAnImage(UploadRefused):
    code = "not_an_image"


class BodyIncomplete(UploadRefused):
    code = "body_incomplete"
    retryable = True


class TooLarge(UploadsError):
    code = "too_large"


class FileTooLarge(TooLarge):
    code = "file_too_large"


class TooManyFiles(TooLarge):
    code = "too_many_files"


class BodyStalled(UploadsError):
    code = "body_stalled"
    retryable = True


class UnknownUpload(UploadsError):
    code = "unknown_upload"


class ContentUnavailable(UploadsError):
    code = "content_unavailable"


class TooManyUploads(UploadsError):
    code = "too_many_uploads"
    retryable = True


class UploadsClosing(UploadsError):
    code = "uploads_closing"
    retryable = True


class QuotaExceeded(UploadsError):
    code = "quota_exceeded"


class StoreFailed(UploadsError):
    code = "store_failed"


class StoreUnavailable(UploadsError):
    code = "store_unavailable"
    retryable = True


class StoreFull(StoreUnavailable):
    code = "store_full"


class ModelUnavailable(UploadsError):
    code = "model_unavailable"
    retryable = True


class TusRefused(UploadsError):
    code = "tus_refused"


class TusVersion(TusRefused):
    code = "tus_version"


class TusContentType(TusRefused):
    code = "tus_content_type"


class OffsetMismatch(TusRefused):
    code = "offset_mismatch"


class ChecksumMismatch(TusRefused):
    code = "checksum_mismatch"
    retryable = True


class PartLocked(TusRefused):
    code = "part_locked"
    retryable = True


class PartExpired(TusRefused):
    code = "part_expired"


class UnknownPart(TusRefused):
    code = "unknown_part"


class ProcessingFailed(UploadsError):
    code = "processing_failed"


class ProcessingTimedOut(ProcessingFailed):
    code = "processing_timed_out"


class ProcessingOutOfMemory(ProcessingFailed):
    code = "processing_out_of_memory"


class ProcessingCrashed(ProcessingFailed):
    code = "processing_crashed"


class JobRefused(UploadsError):
    code = "job_refused"


class UnknownJob(JobRefused):
    code = "unknown_job"


class JobNotDone(JobRefused):
    code = "job_not_done"
    retryable = True


class JobEnded(JobRefused):
    code = "job_ended"


class NoResult(JobRefused):
    code = "no_result"


class InvalidBatch(JobRefused):
    code = "invalid_batch"


class TooManyJobs(UploadsError):
    code = "too_many_jobs"
    retryable = True
