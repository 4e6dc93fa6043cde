"""The resources of the MCP server: receipt, log and diff of a run, by address."""

from __future__ import annotations

import json
import re
from typing import Any

from pancode.client import Client, path_of
from pancode.mcp.protocol import ParamsError
from pancode.mcp.tool import UNTRUSTED
from pancode.plain import unhidden

Json = dict[str, Any]
MOST = 200_000
"""Characters of one resource."""
_ADDRESS = re.compile(r"pancode://runs/([A-Za-z0-9-]{1,40})/(receipt|log|diff)")
_KINDS = {
    "receipt": ("application/json", "signed proof of what the run did"),
    "log": ("text/plain", "what the agent printed"),
    "diff": ("text/x-diff", "what the run changed"),
}


def templates() -> list[Json]:
    """As `resources/templates/list` shows them."""
    return [
        {
            "uriTemplate": f"pancode://runs/{{run}}/{name}",
            "name": name,
            "mimeType": mime,
            "description": words,
        }
        for name, (mime, words) in _KINDS.items()
    ]


def read(client: Client, address: str) -> Json:
    """Result of `resources/read`. ParamsError for an address that is none of ours."""
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise ParamsError(
            f"there is no resource {address[:100]}; try pancode://runs/RUN/receipt, log or diff"
        )
    run, name = found.groups()
    text = unhidden(_text(client, run, name)[:MOST])
    mark = {"uri": address, "mimeType": "text/plain", "text": UNTRUSTED}
    return {"contents": [mark, {"uri": address, "mimeType": _KINDS[name][0], "text": text}]}


def _text(client: Client, run: str, name: str) -> str:
    if name == "receipt":
        return json.dumps(client.get(path_of("receipts", run)), indent=2)
    if name == "log":
        return client.log(run, "out", "", 0).data.decode("utf-8", "replace")
    return client.raw(path_of("runs", run, "diff")).decode("utf-8", "replace")
