"""The command line: python3 -m tests.fakemodel (see README.md)."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from pathlib import Path

from .plumbing import VERSION
from .presets import PRESETS, preset
from .script import PERSONAS, ScriptError
from .server import FakeModel
from .state import Log


def main(argv: list[str] | None = None) -> int:
    ap = argparse.ArgumentParser(prog="fakemodel", description="A scripted model server.")
    ap.add_argument("--host", default="127.0.0.1")
    ap.add_argument("--port", type=int, default=0, help="0 picks a free port; the port is printed on stdout")
    ap.add_argument(
        "--script", help="a preset, a JSON file, or '-' for stdin; without it every answer is 'ok'"
    )
    ap.add_argument("--list", action="store_true", help="name the presets and exit")
    ap.add_argument("--persona", default="all", choices=sorted(PERSONAS), help="which endpoint to look like")
    ap.add_argument("--log", help="append one JSON line per request to this file")
    ap.add_argument("--dump", help="write request bodies into this folder")
    ap.add_argument("--port-file", help="also write the port into this file")
    ap.add_argument("--verbose", action="store_true", help="one line per request on stderr")
    ap.add_argument("--version", action="version", version="fakemodel " + VERSION)
    a = ap.parse_args(argv)
    if a.list:
        print("\n".join(f"{k:14} {v[0]}" for k, v in PRESETS.items()))
        return 0
    data = None
    if a.script:
        if a.script in PRESETS:
            data = preset(a.script)
        else:
            data = json.loads(sys.stdin.read() if a.script == "-" else Path(a.script).read_text("utf-8"))
    try:
        fm = FakeModel(data, a.persona, a.host, a.port, Log(a.log, a.dump, not a.verbose))
    except ScriptError as e:
        print(f"fakemodel: bad script: {e}", file=sys.stderr)
        return 2
    done = threading.Event()
    for s in (signal.SIGTERM, signal.SIGINT):
        signal.signal(s, lambda *_: done.set())
    fm.start()
    if a.port_file:
        with open(a.port_file + ".tmp", "w", encoding="utf-8") as f:
            f.write(str(fm.port))
        os.replace(a.port_file + ".tmp", a.port_file)
    print(fm.port, flush=True)
    done.wait()
    fm.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
