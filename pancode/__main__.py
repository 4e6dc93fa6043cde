"""The command `pancode`, also as `python -m pancode`. Ctrl-C during startup or exit prints no traceback."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from types import FrameType
    from typing import NoReturn

    Handler = Callable[[int, FrameType | None], object] | int
else:
    import _signal as signal  # importing `signal` takes milliseconds, in which Ctrl-C would print a traceback


def main() -> NoReturn:
    """Run the command line and exit. During imports and interpreter exit nothing catches exceptions, so there
    Ctrl-C ends the process without a traceback. A shell's background job ignores Ctrl-C."""
    _on_ctrl_c(signal.SIG_DFL)
    import atexit
    import gc
    import os
    import sys
    import threading
    from contextlib import suppress

    gc.disable()  # nothing of what is imported becomes garbage, and searching it takes a tenth of the start
    _prepare_streams()
    if sys.argv[1:] in (["-h"], ["--help"]):
        from pancode.interfaces.cli.tree import format_first_screen

        with suppress(OSError):  # a closed pipe or a full disk, which the command line reports
            sys.stdout.write(f"{format_first_screen()}\n")
            sys.stdout.flush()
            os._exit(0)
    run = _load_command(sys.argv[1:], sys.stdin.isatty())
    gc.freeze()
    gc.enable()
    _on_ctrl_c(signal.default_int_handler)
    try:
        status = run(sys.argv[1:])
    finally:
        _on_ctrl_c(signal.SIG_DFL)
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):  # a closed pipe or a full disk, which the interpreter's own end reports
        sys.exit(status)
    if threading.active_count() > 1:
        sys.exit(status)
    atexit._run_exitfuncs()
    os._exit(status)  # the interpreter would first free all memory, a fifth of the time of a short command


def _load_command(args: list[str], by_user: bool) -> Callable[[list[str]], int]:
    """Return the function that runs the command in `args`. The libraries of the command line, half of the
    startup time, are not imported for `pancode mcp`."""
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
    """Open closed standard streams (`>&-`) on /dev/null; otherwise the next socket would get their number."""
    import io
    import os
    import sys

    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # os.open returns the lowest free number
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))
    # A character that the terminal's encoding lacks is printed as its code; standard error does so already.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _on_ctrl_c(handler: Handler) -> None:
    """Set the Ctrl-C handler, unless the caller ignores Ctrl-C, as shells do for `pancode ... &`."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, handler)


if __name__ == "__main__":
    main()
