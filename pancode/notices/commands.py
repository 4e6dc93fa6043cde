"""`pancode admin notify` and `config secret`: channels of notices to users, and their secrets."""

from __future__ import annotations

import os
import time
from typing import Annotated, Any

from pancode.interfaces.cli.parameters import Argument, Face, Json, option, verb
from pancode.interfaces.cli.terminal import Columns, escape_line, escape_lines, format_rows
from pancode.interfaces.client.client import home_of
from pancode.kernel.errors import ExitCode, UsageError
from pancode.notices.answers import CHANNELS, TEST_NOTICE

PATIENCE, EVERY_S = 80, 0.5


_TESTS = "Send a notice to CHANNEL now, also in quiet hours, and show the result."


@verb("admin notify", "pancode admin notify", "pancode admin notify --test phone")
def notify(*, test: Annotated[str | None, option(_TESTS, "CHANNEL")] = None, face: Json) -> int:
    """Show every channel with its kinds of notices, and the result of its last message.

    A channel is an ntfy topic, a mail address, Slack or another service of Apprise, defined in pancode.yaml.
    """
    if test is not None:
        return _send_test(face, test)
    answer = face.get(CHANNELS)
    none = "no channels; add one to pancode.yaml: notify: {channels: {phone: {url: secret:phone}}}"
    unknown = (f"a notice rule names the unknown channel {one}" for one in answer["unknown_channels"])
    face.show(answer, lambda: format_rows(answer["channels"], _CHANNELS, none) + escape_lines(unknown))
    return ExitCode.DONE


def _send_test(face: Face, channel: str) -> int:
    """Send a test notice, wait until it was tried once, and show the result."""
    made, why = face.post(TEST_NOTICE, {"channel": channel}), "no answer yet; see: pancode admin notify"
    for _ in range(PATIENCE):
        now = next((one for one in face.get(CHANNELS)["channels"] if one["channel"] == channel), None)
        if now is not None and (now["last_tried_at"] or "") >= made["created_at"]:
            why = now["trouble"]
            break
        time.sleep(EVERY_S)
    shown = {**made, "sent": not why, "why": why}
    text = f"{escape_line(channel)}  {f'not sent  {escape_line(why)}' if why else 'sent'}\n"
    return face.end(ExitCode.UNAVAILABLE if why else ExitCode.DONE, shown, lambda: text)


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
    from pancode.kernel.host.secrets import KeptSecrets

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
