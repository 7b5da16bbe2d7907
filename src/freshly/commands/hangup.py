"""SIGHUP: the request to reload, or the news that the terminal was closed."""

import os
import signal
import stat
import sys
from pathlib import Path
from typing import NoReturn

STANDARD_STREAMS = (0, 1, 2)


def terminal_is_gone() -> bool:
    """Return True if a standard stream is a terminal that was closed. The process should end then.

    Such a stream still is a character device, but no longer answers as a terminal.
    """
    return any(_was_closed(descriptor) for descriptor in STANDARD_STREAMS)


def _was_closed(descriptor: int) -> bool:
    try:
        status = os.fstat(descriptor)
    except OSError:  # the stream was closed before the start
        return False
    is_device = stat.S_ISCHR(status.st_mode) and status.st_rdev != Path(os.devnull).stat().st_rdev
    return is_device and not os.isatty(descriptor)


def run_again() -> NoReturn:
    """Replace this process by a new one of the same command. It has the same process id.

    It reads the code and the files of secrets again. Its environment stays the same.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # stays so until the new process handles it
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - our own command
