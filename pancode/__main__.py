"""The command `pancode`, also as `python -m pancode`: Ctrl-C prints no traceback while it starts or ends."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from types import FrameType
    from typing import NoReturn

    Handler = Callable[[int, FrameType | None], object] | int
else:
    import _signal as signal  # `signal` reads other modules for milliseconds, in which Ctrl-C is a traceback


def main() -> NoReturn:
    """Entry point; never returns.

    While modules are imported and while Python ends, there is nothing to detach from and nobody to catch an
    exception: a signal then just ends the process. A background job of a shell ignores Ctrl-C.
    """
    _on_ctrl_c(signal.SIG_DFL)
    import sys

    _prepare_streams()
    run = _loaded(sys.argv[1:], sys.stdin.isatty())
    _on_ctrl_c(signal.default_int_handler)
    try:
        status = run(sys.argv[1:])
    finally:
        _on_ctrl_c(signal.SIG_DFL)
    sys.exit(status)


def _loaded(args: list[str], by_user: bool) -> Callable[[list[str]], int]:
    """Return what runs these arguments. A program that starts `pancode mcp` waits for it: the libraries for a
    command line, half of the time until then, are only imported where something else may be given.
    """
    import os

    ours = {name for name in os.environ if name.lstrip("_").startswith("PANCODE_")}
    plain = args == ["mcp"] or (len(args) == 3 and args[:2] == ["mcp", "--tools"])
    if not plain or by_user or ours - {"PANCODE_HOME", "PANCODE_COORDINATOR"}:
        from pancode.interfaces.cli.main import run

        return run
    from pancode.interfaces.mcp.server import serve

    def serves(args: list[str]) -> int:
        try:
            serve([name for name in "".join(args[2:]).split(",") if name])
        except (Exception, KeyboardInterrupt) as exc:
            from pancode.interfaces.cli.main import status_of

            return status_of(exc, args, as_json=False)
        return 0

    return serves


def _prepare_streams() -> None:
    """Open a stream that the caller closed (`>&-`) on nothing; else the next socket would get its number."""
    import io
    import os
    import sys

    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))
    # Where a terminal's encoding lacks a sign, it is shown by its number; standard error does so already.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _on_ctrl_c(handler: Handler) -> None:
    """Set the handler of Ctrl-C, unless the caller wants it ignored, as shells do for `pancode ... &`."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, handler)


if __name__ == "__main__":
    main()
