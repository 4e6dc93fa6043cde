"""The words of the commits that a landing makes: message and trailers."""

from __future__ import annotations

import re
import unicodedata

from pancode.domain.records import Run

RUN, RECEIPT = "Pancode-Run", "Pancode-Receipt"
_TITLE = 72
_OURS = re.compile(rf"\s*({RUN}|{RECEIPT})\s*:", re.IGNORECASE)


def message_of(run: Run, asked: str) -> str:
    """As the person wrote it, else the first line of the task."""
    lines = run.task.strip().splitlines() or [run.id]
    return asked.strip() or lines[0][:_TITLE]


def trailers_of(run: Run) -> tuple[str, ...]:
    """Which run has made the change, and the digest of the receipt that proves it."""
    receipt = run.result.get("receipt")
    proof = (f"{RECEIPT}: {receipt}",) if isinstance(receipt, str) and receipt else ()
    return (f"{RUN}: {run.id}", *proof)


def with_trailers(message: str, trailers: tuple[str, ...]) -> str:
    """The message with these trailers; lines of its own that claim to be one of ours are left out."""
    kept = [line for line in message.strip().splitlines() if not _OURS.match(line)]
    text = "".join(one for one in "\n".join(kept) if one in "\n\t" or unicodedata.category(one) != "Cc")
    text = text.strip()
    return f"{text}\n\n{chr(10).join(trailers)}\n" if trailers else f"{text}\n"
