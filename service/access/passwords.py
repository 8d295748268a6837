"""Argon2id, in threads of its own: a hash takes 64 MiB and tens of milliseconds, so few are made at once."""

import asyncio
import secrets
from concurrent.futures import ThreadPoolExecutor

from pwdlib.hashers.argon2 import Argon2Hasher

from service.access.errors import LoginsBusy

HASHED_AT_ONCE = 2
WAITING_MAX = 32
PASSWORD_CHARS_MIN = 8
PASSWORD_BYTES_MAX = 1024


class Passwords:
    """Used on one event loop. `close` waits for what runs."""

    def __init__(self) -> None:
        self._hasher = Argon2Hasher()
        self._threads = ThreadPoolExecutor(HASHED_AT_ONCE, "passwords")
        self._asked = 0
        self._nobodys: str | None = None

    async def is_right(self, password: str, password_hash: str | None) -> bool:
        """The same work without a hash, for a user that is not there. Raises `LoginsBusy`."""
        if self._asked >= HASHED_AT_ONCE + WAITING_MAX:
            raise LoginsBusy
        self._asked += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, self._verify, password, password_hash
            )
        finally:
            self._asked -= 1

    def _verify(self, password: str, password_hash: str | None) -> bool:
        if self._nobodys is None:  # made at the first login, whoever's it is; two threads may both make one
            self._nobodys = self._hasher.hash(secrets.token_urlsafe())
        is_right = self._hasher.verify(password, password_hash or self._nobodys)
        return is_right and password_hash is not None

    def close(self) -> None:
        self._threads.shutdown()


def hash_password(password: str) -> str:
    """Blocks; for commands."""
    return Argon2Hasher().hash(password)


def fault_of(password: str) -> str | None:
    """Why it is not taken, None when it is."""
    if len(password) < PASSWORD_CHARS_MIN:
        return f"a password has at least {PASSWORD_CHARS_MIN} characters"
    if len(password.encode(errors="replace")) > PASSWORD_BYTES_MAX:
        return f"a password has at most {PASSWORD_BYTES_MAX} bytes"
    return None
