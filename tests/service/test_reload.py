"""SIGHUP on a real process: what can change does, what cannot is named, and a mistake changes nothing."""

import signal
from pathlib import Path

import httpx

from service.reload import LIVE, changed_settings
from service.settings import Settings
from service.settings_load import setting_paths
from tests.server import echo_settings, server_process, wait_until

WITHIN_S = 60


def test_a_hangup_reads_the_settings_again(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    with server_process(tmp_path, log_format="json") as server:
        url = f"http://127.0.0.1:{server.port}"
        dotenv.write_text("HEADWATER_LOG_LEVEL=debug\nHEADWATER_MAX_RUNNING=7\n")
        server.process.send_signal(signal.SIGHUP)
        said = server.log.read_text
        wait_until(lambda: "changed now: log_level" in said(), WITHIN_S, "the level has changed")
        wait_until(lambda: "with the next start: max_running" in said(), WITHIN_S, "the rest is named")
        httpx.get(f"{url}/livez")
        wait_until(lambda: '"route":"/livez"' in said(), WITHIN_S, "probes are logged at debug")
        dotenv.write_text("HEADWATER_LOG_LEVEL=loud\n")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "the settings stay as they are" in said(), WITHIN_S, "the mistake is told")
        assert httpx.get(f"{url}/livez").status_code == 200
        server.process.terminate()
        assert server.process.wait(WITHIN_S) == 0


def test_changes_are_found_by_name_also_in_groups() -> None:
    old = echo_settings(echo={"tokens_per_second": 1}, log_level="info")
    new = echo_settings(echo={"tokens_per_second": 2}, log_level="debug")
    assert changed_settings(old, new) == {"echo__tokens_per_second", "log_level"}
    assert set(setting_paths(Settings)) >= LIVE
