"""Look at processes that may end meanwhile."""

import psutil


def command_line(process):
    """Return the words of a process's command; nothing of one that has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # zombies, too
        return ""
