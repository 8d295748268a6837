"""The event loop's thread before all others, where the system allows it: it does little, and everybody waits for it.

On a machine whose cores are all taken the loop was late because no core was free for it, not because anything held it.
"""

import os
import threading

NICENESS = -10


def raise_own() -> bool:
    """Of the calling thread alone: threads and processes that it starts have the ordinary priority.

    A system lets root do so, whoever has CAP_SYS_NICE, and whom `ulimit -e 30` or systemd's `LimitNICE=-10` allows it.
    """
    if not hasattr(os, "SCHED_RESET_ON_FORK"):
        return False
    thread = threading.get_native_id()
    try:
        os.setpriority(os.PRIO_PROCESS, thread, NICENESS)
        os.sched_setscheduler(thread, os.SCHED_OTHER | os.SCHED_RESET_ON_FORK, os.sched_param(0))
    except OSError:
        return False
    return True
