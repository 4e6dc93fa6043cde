"""The command `pancode`, also as `python -m pancode`: Ctrl-C is silent from its first moment to its last."""

from __future__ import annotations

import signal

TYPE_CHECKING = False
if TYPE_CHECKING:  # the real one takes milliseconds, in which Ctrl-C would be a traceback
    from typing import NoReturn


def main() -> NoReturn:
    """Entry point; never returns.

    While modules are read and while Python ends there is nothing to detach from and nobody to catch an
    exception: a signal then just ends the process.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    import sys

    from pancode.cli.main import run

    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        status = run(sys.argv[1:])
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(status)


if __name__ == "__main__":
    main()
