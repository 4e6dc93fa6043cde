"""The tiny server as a program: `python -m tests.tinyllama`, one line of JSON when it answers."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, NoReturn

from .client import call
from .model import SCENARIOS, build
from .template import chat_template
from .wedge import Wedge, thread_times


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tinyllama", description="llama.cpp's server on a tiny model.")
    parser.add_argument("--scenarios", type=Path, help='JSON file {"name": ["turn 0", ...]}')
    parser.add_argument(
        "--layers", type=int, default=2, help="2: 10,000 tokens/s, 60: 450, 240: 100, on one core"
    )
    parser.add_argument("--weights", type=Path, help="serve this model file, and write none")
    parser.add_argument("--port", type=int, default=0, help="0: any free port")
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--ctx", type=int, default=4096, help="context of one slot")
    parser.add_argument("--alias", default="tiny-random", help="the model id that it tells")
    parser.add_argument("--api-key")
    for flag in ("tools", "metrics", "slots-endpoint"):
        parser.add_argument(f"--{flag}", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--sleep-idle", type=int, default=-1, help="seconds until the model is unloaded")
    parser.add_argument("--die-with-stdin", action="store_true")
    return parser


def parameters(asked: argparse.Namespace, model: Path) -> Any:
    """llama.cpp's own; it divides the context among the slots."""
    import xllamacpp

    p = xllamacpp.CommonParams()
    p.model.path, p.model_alias = str(model), {asked.alias}
    p.hostnames, p.port = ["127.0.0.1"], asked.port
    p.n_parallel, p.n_ctx = asked.slots, asked.ctx * asked.slots
    p.endpoint_slots, p.endpoint_metrics, p.endpoint_props = asked.slots_endpoint, asked.metrics, False
    p.use_jinja, p.warmup, p.ui, p.fit_params = True, False, False, False
    p.cache_ram_mib, p.sleep_idle_seconds, p.n_gpu_layers, p.verbosity = 0, asked.sleep_idle, 0, 2
    p.cpuparams.n_threads = p.cpuparams_batch.n_threads = 1
    p.api_keys = [asked.api_key] if asked.api_key else []
    if asked.weights:  # its own template may drop the tools
        p.chat_template = chat_template({}, asked.tools)
    return p


def decoder(url: str, key: str | None, old: dict[int, int]) -> int:
    """The thread that decodes: of those that came with the server, the one that a completion costs most."""
    before = thread_times()
    body = {"prompt": "aaaa", "n_predict": 96, "ignore_eos": True, "cache_prompt": False}
    call(f"{url}/completion", key, body)
    cost = {t: ns - before.get(t, 0) for t, ns in thread_times().items() if t not in old}
    return max(cost, key=lambda t: cost[t])


def serve(asked: argparse.Namespace, scratch: Path) -> None:
    """Until it is told to end."""
    import xllamacpp

    model = asked.weights or scratch / "tiny-random.gguf"
    if not asked.weights:
        scenarios = json.loads(asked.scenarios.read_text()) if asked.scenarios else SCENARIOS
        build(model, scenarios, asked.tools, asked.layers)
    old = thread_times()  # numpy has threads that spin for a while
    server = xllamacpp.Server(parameters(asked, model))  # returns when the model is loaded
    url = server.listening_address.rstrip("/")
    wedge, stop = Wedge(decoder(url, asked.api_key, old)), threading.Event()

    def freeze(frozen: bool) -> None:
        wedge.set(frozen)
        tell({"wedged": frozen})

    for number in (signal.SIGTERM, signal.SIGINT):  # after the server, which has handlers of its own
        signal.signal(number, lambda *_: stop.set())
    signal.signal(signal.SIGUSR1, lambda *_: freeze(True))
    signal.signal(signal.SIGUSR2, lambda *_: freeze(False))
    tell({"url": url, "port": int(url.rsplit(":", 1)[1]), "pid": os.getpid(), "scratch": str(scratch)})
    if asked.die_with_stdin:
        threading.Thread(target=_outlive, args=(stop,), daemon=True).start()
    while not stop.wait(0.05):  # a wait without end would not let signals in
        pass


def _outlive(stop: threading.Event) -> None:
    """Whoever started us is gone, or has had enough, when our input ends."""
    sys.stdin.buffer.read()
    stop.set()


def tell(value: dict[str, object]) -> None:
    """Past the buffer, which a signal's handler may not enter while we are in it."""
    os.write(1, json.dumps(value).encode() + b"\n")


def leave(scratch: Path, status: int) -> NoReturn:
    """At once: threads of C++ are not to be unwound."""
    shutil.rmtree(scratch, ignore_errors=True)
    sys.stdout.flush()
    os._exit(status)


def main() -> NoReturn:
    asked, scratch = options().parse_args(), Path(tempfile.mkdtemp(prefix="tinyllama-"))
    try:
        serve(asked, scratch)
    except Exception as exc:
        print(f"tinyllama: the server did not start: {exc!r}", file=sys.stderr)
        leave(scratch, 1)
    leave(scratch, 0)


if __name__ == "__main__":
    main()
