"""Implements the delivery port: Apprise in a child process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

from node_agent.wire.proxies import rename_schemes
from pancode.config.notify import NotifyRules
from pancode.kernel.errors import RefusedError, UnavailableError

CHILD = ("-I", "-m", "pancode.notices.delivery.child")
CHILD_S = 30.0
"""Seconds allowed for sending a notice."""
_OURS = "PANCODE_"


class Sender:
    """Sends notices; implements `OutgoingPort` of pancode.notices.store."""

    def __init__(self, rules: Callable[[], NotifyRules], secret: Callable[[str], str]) -> None:
        self.rules, self.secret = rules, secret

    def notify(self, address: str, notice: Mapping[str, Any]) -> None:
        environ = {
            name: value for name, value in rename_schemes(os.environ).items() if not name.startswith(_OURS)
        }
        request = json.dumps({"address": address, "notice": dict(notice)})
        try:
            done = subprocess.run(
                [sys.executable, *CHILD],
                input=request.encode(),
                capture_output=True,
                timeout=CHILD_S,
                env=environ,
                check=False,
                start_new_session=True,
            )
            answer = json.loads(done.stdout)
        except subprocess.TimeoutExpired as exc:
            raise UnavailableError(
                "the service did not answer", why=f"Apprise did not finish within {CHILD_S:g} s"
            ) from exc
        except (OSError, ValueError) as exc:
            raise UnavailableError(
                "Apprise failed to run", why="the Apprise process did not start, or exited without an answer"
            ) from exc
        if not answer["ok"]:
            kind = RefusedError if answer["final"] else UnavailableError
            raise kind(str(answer["why"]))
