"""The largest memory that this process held, resident, libraries included, since a given moment."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from pathlib import Path

PROCESS = Path("/proc/self")


def count_anew() -> bool:
    """Hand freed memory back and count the peak from now on; return whether the system can.

    macOS, and Linux where /proc may not be written to, keep one peak for the whole life of a process, which says nothing of what
    runs now.
    """
    with suppress(OSError, AttributeError):  # glibc alone keeps freed memory, or hands it back when asked
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    try:
        (PROCESS / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def peak_megabytes() -> float:
    """Return the peak in MiB, where `count_anew` has said that there is one."""
    lines = (PROCESS / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024
