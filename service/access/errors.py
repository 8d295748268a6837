"""Why a caller is turned away. These errors know no HTTP; `service.errors` maps them to statuses.

AccessError
├── NotIdentified          who asks is not known
│   ├── CredentialMissing  no credential where one is needed
│   ├── CredentialInvalid  unknown, revoked, forged, or not to be read: never said which
│   ├── CredentialExpired  it was right once; its signature or its secret still is
│   └── LoginFailed        a wrong name or a wrong password: never said which
├── ScopeMissing           known, but not allowed to do this
├── LoginNotConfigured     nobody can log in at this service
├── LoginsBusy             as many passwords are checked as the machine bears
└── AccessUnavailable      the database of keys has not answered for too long
"""

from collections.abc import Sequence


class AccessError(Exception):
    """`message` is written for the client and never repeats what the client sent."""

    code = "access_error"
    told = "Who asks could not be found out."

    def __init__(self, message: str | None = None) -> None:
        self.message = message or self.told
        super().__init__(self.message)


class NotIdentified(AccessError):
    code = "not_identified"


class CredentialMissing(NotIdentified):
    code = "credential_missing"
    told = "Say who asks: with the header `X-API-Key`, or `Authorization: Bearer` and a key or a token."


class CredentialInvalid(NotIdentified):
    code = "credential_invalid"
    told = "The key or token is not valid."


class CredentialExpired(NotIdentified):
    code = "credential_expired"
    told = "The key or token has expired."


class LoginFailed(NotIdentified):
    code = "login_failed"
    told = "The user name or the password is wrong."


class ScopeMissing(AccessError):
    code = "scope_missing"

    def __init__(self, message: str | None = None, missing: Sequence[str] = ()) -> None:
        super().__init__(message or f"This needs a key or token with the scope {' and '.join(missing)}.")
        self.missing = missing


class LoginNotConfigured(AccessError):
    code = "login_not_configured"
    told = "Nobody can log in here: the service gives no tokens out."


class LoginsBusy(AccessError):
    code = "logins_busy"
    told = "Too many people log in at once; try again."


class AccessUnavailable(AccessError):
    code = "access_unavailable"
    told = "Keys cannot be checked now; try again."
