"""The words of the commits that a landing makes: message and trailers."""

from __future__ import annotations

import re
import unicodedata

from pancode.core.records import Run

RUN, AGENT, RECEIPT = "Pancode-Run", "Pancode-Agent", "Pancode-Receipt"
_TITLE = 72
_OURS = re.compile(rf"\s*({RUN}|{AGENT}|{RECEIPT})\s*:", re.IGNORECASE)
_TRAILER = re.compile(r"[A-Za-z0-9-]+: \S")


def message_of(run: Run, asked: str) -> str:
    """As the person wrote it, else the first line of the task."""
    lines = run.task.strip().splitlines() or [run.id]
    return asked.strip() or lines[0][:_TITLE]


def trailers_of(run: Run) -> tuple[str, ...]:
    """Which run and agent have made the change, and the digest of the receipt that proves it."""
    receipt = run.result.get("receipt")
    proof = (f"{RECEIPT}: {receipt}",) if isinstance(receipt, str) and receipt else ()
    return (f"{RUN}: {run.id}", f"{AGENT}: {run.agent}", *proof)


def with_trailers(message: str, trailers: tuple[str, ...]) -> str:
    """The message with these trailers in one block with its own; lines that claim to be ours are left out."""
    kept = [line for line in message.strip().splitlines() if not _OURS.match(line)]
    text = "".join(one for one in "\n".join(kept) if one in "\n\t" or unicodedata.category(one) != "Cc")
    text = text.strip()
    body, _, last = text.rpartition("\n\n")
    own = bool(body) and all(_TRAILER.match(line) for line in last.splitlines())
    return f"{text}{chr(10) if own else chr(10) * 2}{chr(10).join(trailers)}\n" if trailers else f"{text}\n"
