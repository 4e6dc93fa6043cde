#!python
"""The command `pancode` as it is installed: Ctrl-C ends it silently from its first line on, if it may."""

from __future__ import annotations

TYPE_CHECKING = False
if __name__ == "__main__":
    # Before anything is read that takes time, `typing` or `re` alone some milliseconds, in which Python would
    # answer Ctrl-C with a traceback: what an entry point's generated script does first.
    if TYPE_CHECKING:
        import signal
    else:
        import _signal as signal

    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:  # so a shell keeps Ctrl-C from its background
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    from pancode.__main__ import main

    main()
