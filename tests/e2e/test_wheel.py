"""What is installed from a wheel has all that stands here: the page, the tables, the documentation's pages."""

import subprocess
import sys
import zipfile
from pathlib import Path

from tests.readme import ROOT

PACKAGES = ("service", "streaming", "uploads")


def test_a_wheel_holds_every_file_of_the_packages(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True, timeout=180)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file()]
    wanted = {path.relative_to(ROOT).as_posix() for path in files if "__pycache__" not in path.parts}
    assert "service/ui/vendor/manifest.json" in wanted
    assert wanted - held == set()
