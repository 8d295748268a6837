"""The public keys of another issuer are read again at each SIGHUP: they change while the service runs."""

import asyncio
import logging
from pathlib import Path

from service.access.access import Access
from service.access.tokens import InvalidJwks, read_jwks

_log = logging.getLogger("headwater.access")


class Rotation:
    """Used on one event loop. A mistake in the file leaves the keys as they are."""

    def __init__(self, file: Path, access: Access) -> None:
        self._file = file
        self._access = access
        self._is_asked = asyncio.Event()

    def read_soon(self) -> None:
        self._is_asked.set()

    async def read_forever(self) -> None:
        while True:
            await self._is_asked.wait()
            self._is_asked.clear()
            await self._read()

    async def _read(self) -> None:
        try:
            keys = await asyncio.to_thread(read_jwks, self._file)
        except InvalidJwks as error:
            _log.error("the public keys stay as they are: %s", error)
            return
        self._access.tokens = self._access.tokens.with_public_keys(keys)
        _log.info("public keys read again from the JWKS file: %d", len(keys))
