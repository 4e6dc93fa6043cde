"""`pancode admin notify` and `config secret`: channels of notices to users, and their secrets."""

from __future__ import annotations

import os
import time
from typing import Annotated, Any

from pancode.interfaces.cli.parameters import Argument, Json, option, verb
from pancode.interfaces.cli.terminal import Columns, escape_line, escape_lines, format_rows
from pancode.interfaces.client.client import home_of
from pancode.kernel.errors import ExitCode, UsageError
from pancode.notices.answers import CHANNELS, DELIVERIES, TEST_NOTICE

PATIENCE, EVERY_S = 80, 0.5


_DELIVERIES: Columns = {
    **{"AT": "created_at", "STATE": "state", "KIND": "kind", "TRIES": "tries", "NEXT TRY": "next_at"},
    **{"ANSWER": "status", "DELIVERY": "delivery"},
}
_TESTS = "Send a notice to CHANNEL now, also in quiet hours, and show the result."


@verb("admin notify", "pancode admin notify", "pancode admin notify --test phone")
def notify(
    *,
    channel: Annotated[str | None, Argument()] = None,
    tests: Annotated[bool, option(_TESTS, "--test")] = False,
    log: Annotated[bool, option("Show what was sent to CHANNEL, newest first.", "--log")] = False,
    number: Annotated[int, option("Show at most this many rows.", "-n", "--number", min=1, max=300)] = 20,
    face: Json,
) -> int:
    """Show every channel with its kinds of notices, and the result of its last message.

    A channel is an ntfy topic, a mail address, Slack or another service of Apprise, defined in pancode.yaml.
    """
    if tests + log != (channel is not None):
        raise UsageError(
            "with CHANNEL, exactly one of --test and --log is required",
            fix="pancode admin notify --log CHANNEL",
        )
    client = face.client()
    if tests:
        now = made = face.post(TEST_NOTICE, {"channel": channel})
        for _ in range(PATIENCE):  # Wait until the first try of the delivery has ended.
            found = client.get(DELIVERIES, target=made["target"], limit=50)["deliveries"]
            now = next((one for one in found if one["delivery"] == made["delivery"]), now)
            if now["state"] != "waiting" or now["tries"]:
                break
            time.sleep(EVERY_S)
        good = now["state"] == "sent"
        status = escape_line(now["status"]) or f"no answer yet; see: pancode admin notify --log {channel}"
        words = f"{now['target']}  {'sent' if good else 'not sent'}  {status}\n"
        return face.end(ExitCode.DONE if good else ExitCode.UNAVAILABLE, now, lambda: words)
    if log:
        sent = client.get(DELIVERIES, target=f"notify:{channel}", limit=number)
        face.show(sent, lambda: format_rows(sent["deliveries"], _DELIVERIES, "nothing has been sent yet"))
        return ExitCode.DONE
    answer = client.get(CHANNELS)
    none = "no channels; add one to pancode.yaml: notify: {channels: {phone: {url: secret:phone}}}"
    unknown = (f"a notice rule names the unknown channel {one}" for one in answer["unknown_channels"])
    face.show(answer, lambda: format_rows(answer["channels"], _CHANNELS, none) + escape_lines(unknown))
    return ExitCode.DONE


def _format_state(one: dict[str, Any]) -> str:
    return "failing" if one["trouble"] else "ok" if one["last_sent_at"] else "not tried yet"


_CHANNELS: Columns = {
    **{"CHANNEL": "channel", "STATE": _format_state, "TOLD OF": "kinds", "WAITING": "waiting"},
    **{"LAST SENT": "last_sent_at", "WHY": "trouble"},
}


@verb("config secret", "pancode config secret phone < address.txt")
def secret(name: Annotated[str, Argument(metavar="NAME")], face: Json) -> None:
    """Store the Apprise URL of a channel, read from standard input or a hidden prompt.

    The secret is a file in PANCODE_HOME/secrets that only you can read; pancode.yaml refers to it as
    secret:NAME. The token of a forge is stored in the same way.
    """
    from pancode.fleet.ssh.home import Home
    from pancode.notices.delivery.sender import KeptSecrets

    home = Home(home_of(os.environ))  # Fail before the user types a secret that could not be stored.
    value = face.read_secret(f"address or token for {name}: ", 20_000)
    if len(value.split()) != 1:
        fix = f"echo ADDRESS | pancode config secret {name}"
        raise UsageError("the address or token must be one line without spaces", fix=fix)
    home.prepare()
    KeptSecrets(home.secrets).keep(name, value.strip())
    channel = f"notify: {{channels: {{{name}: {{url: secret:{name}}}}}}}"
    forge = f"forge: {{HOST: {{token: secret:{name}}}}}, for the token of a forge or tracker"
    such = channel if "://" in value else f"{forge}; the address of a channel is a URL such as ntfy://TOPIC"
    face.show(
        {"secret": name}, lambda: f"stored; refer to it in pancode.yaml as secret:{name}, as in {such}\n"
    )
