"""The processes that a command started: who has its mark in the environment.

A parent's death changes the parent of its children, and a process group is left by whoever wants; the environment of a
program is inherited by all that it starts. Source: proc_pid_environ(5).
"""

import os
from pathlib import Path

VARIABLE = "IPCOST_SCRIPT_FAMILY"


def members(mark):
    """Who runs with this mark: process id and command line. A zombie has no environment."""
    found, wanted = [], f"{VARIABLE}={mark}\0".encode()
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            if wanted in Path(entry.path, "environ").read_bytes():
                line = Path(entry.path, "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                found.append((int(entry.name), line))
        except OSError:
            pass
    return found
