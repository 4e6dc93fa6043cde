"""`python -m pancode.notices.delivery.child`: sends one notice, read from standard input, through Apprise.
Apprise loads all its services on first use, which takes 17 MiB that the coordinator's process avoids."""

from __future__ import annotations

import json
import logging
import re
import sys
from typing import Any
from urllib.parse import quote

NTFY = ("ntfy://", "ntfys://")
_LONGEST = 200
_MARKS = ",;\"'"
"""Characters that separate the actions in an ntfy URL."""
_TOKEN = re.compile(r"pct_\w+")


class _LogCollector(logging.Handler):
    """Collects the log messages of Apprise."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.words: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.words.append(record.getMessage())


def main() -> int:
    request = json.load(sys.stdin)
    sys.stdout.write(json.dumps(send_notice(str(request["address"]), request["notice"])))
    return 0


def send_notice(address: str, notice: dict[str, Any]) -> dict[str, Any]:
    """Send the notice; return `ok`, and `why` if it failed, without any part of the address."""
    import apprise

    collector = _LogCollector()
    log = logging.getLogger("apprise")
    log.handlers, log.propagate = [collector], False
    service = apprise.Apprise()
    if not service.add(with_extras(address, notice)):
        return {"ok": False, "final": True, "why": "Apprise supports no service for this address"}
    body = "\n".join(str(notice[one]) for one in ("text", "link") if notice.get(one))
    done = bool(service.notify(body=body, title="PanCode", body_format=apprise.NotifyFormat.TEXT))
    why = (
        ""
        if done
        else f"a notice to the {address.partition(':')[0]} address could not be sent: "
        + mask_address(address, "; ".join(collector.words) or ("the service rejected the notice"))
    )
    return {"ok": done, "final": False, "why": why[:_LONGEST]}


def with_extras(address: str, notice: dict[str, Any]) -> str:
    """Return the address; for ntfy, with images off, a link that opens on tap, and an answer button."""
    if not address.startswith(NTFY):
        return address
    link = str(notice.get("link") or "")
    extras = "image=no" + (f"&click={quote(link, safe='')}" if link else "")
    if notice.get("answers") and not set(link) & set(_MARKS):
        extras += f"&actions={quote(f'view, Answer, {link}', safe='')}"
    return f"{address}{'&' if '?' in address else '?'}{extras}"


def mask_address(address: str, words: str) -> str:
    """Return a service's message with tokens and parts of the address masked, which may be passwords."""
    words = _TOKEN.sub("***", words)
    parts = sorted({part for part in re.split(r"[:/@?&=]+", address) if len(part) > 3}, key=len, reverse=True)
    for part in parts:
        words = words.replace(part, "***")
    return words


if __name__ == "__main__":
    sys.exit(main())
