"""SIGHUP: settings are read again, what can change while the service runs does, and the rest is named."""

import logging
from collections.abc import Callable

from service.settings import Settings
from service.settings_load import SettingsError, setting_paths
from service.telemetry import set_log_level

LIVE = frozenset({"log_level"})
"""Settings that change at once. All others belong to objects that requests hold, and wait for the next start."""
FIXED = frozenset({"host", "port"})
"""Of a listening socket: `headwater serve` may have chosen them itself."""
_log = logging.getLogger("headwater.settings")


class SettingsReload:
    """Called on the event loop for each SIGHUP. A mistake in the new settings leaves the old ones as they are."""

    def __init__(self, settings: Settings, reread: Callable[[], Settings]) -> None:
        self._settings = settings
        self._reread = reread

    def __call__(self) -> None:
        try:
            wanted = self._reread()
        except SettingsError as error:
            _log.error("the settings stay as they are: %s", error.message)
            return
        changed = changed_settings(self._settings, wanted)
        set_log_level(wanted.log_level)
        later = sorted(changed - LIVE - FIXED)
        _log.info("settings read again; changed now: %s", ", ".join(sorted(changed & LIVE)) or "none")
        if later:
            _log.warning("these settings change with the next start: %s", ", ".join(later))
        self._settings = self._settings.model_copy(update={name: getattr(wanted, name) for name in LIVE})


def changed_settings(old: Settings, new: Settings) -> set[str]:
    """Their names, nested ones as `group__name`; values may be secrets."""
    return {path for path in setting_paths(Settings) if value_at(old, path) != value_at(new, path)}


def value_at(settings: Settings, path: str) -> object:
    found: object = settings
    for name in path.split("__"):
        found = getattr(found, name)
    return found
