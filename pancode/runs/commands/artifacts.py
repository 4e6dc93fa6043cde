"""Writes a run's artifacts for a CI job: receipt, change, logs, JUnit, and the run as JSON."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from pancode.interfaces.client.client import Client, path_of
from pancode.kernel.errors import UsageError
from pancode.runs.answers import RECEIPT, RUN, STREAMS
from pancode.runs.junit import make_junit

KNOWN = "run.json junit.xml answer.md receipt.json change.diff out.log err.log".split()
"""The files that a later command with the same folder replaces or removes."""


def write_artifacts(client: Client, run: str, folder: Path) -> list[str]:
    """Write the run's artifacts into the folder; return the files' names. UsageError if not writable."""
    shown = client.get(RUN.at(run))
    # Here are all files except the logs.
    texts: dict[str, Callable[[], bytes]] = {
        "run.json": lambda: _dump_json(shown),
        "junit.xml": lambda: make_junit(shown),
        "answer.md": lambda: str(shown["answer"]).encode(),
    }
    if shown["receipt"]:
        texts["receipt.json"] = lambda: _dump_json(client.get(RECEIPT.at(run)))
    if shown["commit"]:
        texts["change.diff"] = lambda: client.raw(path_of("runs", run, "diff"))
    try:
        if folder.is_symlink():
            raise OSError(f"{folder} is a symbolic link, which the repository may have created")
        folder.mkdir(parents=True, exist_ok=True)
        for name in KNOWN:
            (folder / name).unlink(missing_ok=True)  # Remove the files of an earlier run.
        for name, made in texts.items():
            _write(folder / name, [made()])
        # The logs are those of the successful attempt, else of the newest one.
        attempts = client.get(STREAMS.at(run))["streams"]
        logs = [f"{stream}.log" for stream in sorted({name for names in attempts.values() for name in names})]
        for name in logs:
            _write(folder / name, _read_pieces(client, run, name.removesuffix(".log")))
    except OSError as exc:
        fix = "pass a writable directory to --artifacts"
        raise UsageError(f"cannot write to {folder}", why=str(exc), fix=fix) from exc
    return sorted([*texts, *logs])


def _write(target: Path, pieces: Iterable[bytes]) -> None:
    """Write a file and rename it to the target, so that a link at the target is replaced and not followed."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    with os.fdopen(handle, "wb") as file:
        for piece in pieces:
            file.write(piece)
    os.chmod(name, 0o644)
    os.replace(name, target)


def _read_pieces(client: Client, run: str, stream: str) -> Iterator[bytes]:
    """Yield the run's log of this stream, from its beginning to its end, in pieces."""
    offset = 0
    while True:
        part = client.log(run, stream, "", offset)
        yield part.data
        if part.state != "more" or part.next <= offset:
            return
        offset = part.next


def _dump_json(value: Any) -> bytes:
    return json.dumps(value, indent=2).encode() + b"\n"
