"""`pancode api-stdio`: the end of PANCODE_COORDINATOR that runs on the coordinator's machine."""

from __future__ import annotations

from pancode.cli.parsing.lazy import Commands

app = Commands()


@app.verb("api-stdio", "pancode api-stdio", "ssh desk pancode api-stdio")
def api_stdio() -> int:
    """Carry connections with the coordinator of this machine over standard input and output.

    A command on another machine starts it through SSH where PANCODE_COORDINATOR names this one.
    """
    from pancode.offline.server.api_stdio import answer

    return answer()
