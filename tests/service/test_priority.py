import subprocess
import sys

import pytest

from service.priority import NICENESS
from tests.server import ROOT

CHILD = """
import os, subprocess, sys, threading
from service.priority import raise_own
{before}
def own():
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
usual = own()
raised = raise_own()
found = []
thread = threading.Thread(target=lambda: found.append(own()))
thread.start()
thread.join()
child = subprocess.run(["nice"], capture_output=True, text=True)
print(raised, own(), found[0], child.stdout.strip(), usual)
"""
FORBIDDEN = "import resource; resource.setrlimit(resource.RLIMIT_NICE, (0, 0)); os.geteuid() == 0 and os.setuid(65534)"


def said(before: str) -> list[str]:
    child = [sys.executable, "-c", CHILD.format(before=before)]
    return subprocess.run(child, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout.split()


def test_the_thread_goes_first_and_what_it_starts_does_not() -> None:
    found = said("")
    if found[0] == "False":
        pytest.skip("this system does not let us")
    assert found[:4] == ["True", str(NICENESS), "0", "0"]


def test_where_it_is_not_allowed_nothing_changes() -> None:
    raised, own, thread, child, usual = said(FORBIDDEN)
    assert (raised, own, thread, child) == ("False", usual, usual, usual)
