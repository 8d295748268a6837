"""Why a file cannot be read. Each message is written for the client; what a library said stays in the cause.

DocumentError
├── UnsupportedDocument   a type that is not read
├── BrokenDocument        the file is damaged, or is not what its bytes begin with
├── EncryptedDocument     it asks for a password
├── EmptyDocument         no text was found in it, and an answer was to come from it
└── DocumentTooLarge      more pages, characters, rows, pixels or depth than a setting allows
"""

from uploads.errors import UploadsError


class DocumentError(UploadsError):
    """Has one argument, so that it crosses a process unchanged."""

    code = "document_error"


class UnsupportedDocument(DocumentError):
    code = "unsupported_document"


class BrokenDocument(DocumentError):
    code = "broken_document"


class EncryptedDocument(DocumentError):
    code = "encrypted_document"


class EmptyDocument(DocumentError):
    code = "empty_document"


class DocumentTooLarge(DocumentError):
    code = "document_too_large"
