"""`pancode admin restore`: restores a fleet on this machine from a sealed copy on a host."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

from pancode.backups.answers import RestoredAnswer, StoredCopiesAnswer, StoredCopyShape
from pancode.fleet.acts import NodeSpec
from pancode.interfaces.cli.parameters import Json, option, verb
from pancode.interfaces.cli.terminal import RowColumns, escape_line, format_rows, short_time
from pancode.interfaces.client.client import home_to_fill
from pancode.kernel.errors import UsageError
from pancode.kernel.formatting import count_noun, first_few, format_bytes

_KEY_FILE = "A file with the recovery key or passphrase (default: a hidden prompt, or standard input)."
_FROM = "The host with the copies: an SSH alias or a name."
_FOLDER = "A folder of this machine with the copies, in place of a host."
_HOST = "Its address, if HOST is not an alias of ~/.ssh/config."
_FLEET = "The fleet, if there are copies of several."
_SHOWN = 10


@verb(
    "admin restore",
    "--from gpubox",
    "--from gpubox --list",
    "--from-folder /srv/pancode --copy c-00000012-x7k2pq",
)
def restore(
    *,
    source: Annotated[str | None, option(_FROM, "--from", "HOST")] = None,
    from_folder: Annotated[Path | None, option(_FOLDER, "--from-folder", "PATH")] = None,
    host: Annotated[str | None, option(_HOST, "--host")] = None,
    user: Annotated[str | None, option("The user name for SSH.")] = None,
    port: Annotated[int | None, option("The port of its SSH server.", min=1, max=65535)] = None,
    identity: Annotated[str | None, option("Private key file.", "PATH")] = None,
    accept_fingerprint: Annotated[str | None, option("The host key that you expect.", "SHA256:...")] = None,
    fleet: Annotated[str | None, option(_FLEET, "--fleet", "ID")] = None,
    copy: Annotated[str | None, option("This copy (default: the newest).", "--copy", "NAME")] = None,
    key_file: Annotated[str | None, option(_KEY_FILE, "FILE")] = None,
    lists: Annotated[bool, option("List the copies and restore nothing.", "--list")] = False,
    face: Json,
) -> None:
    """Restore a fleet into this machine's empty home (PANCODE_HOME) from a copy on one of its nodes.

    The host is reached with your SSH configuration, like a node that you add. The copy, and those that it
    adds to, are checked completely before anything is put into the home. Until an interrupted restore was
    continued, all other commands in that home are refused (`restore_unfinished`) and print how to continue.

    The restored home only answers what reads until `pancode fleet up`. From then on the fleet belongs to this
    machine, and the earlier coordinator, if it ever runs again, is fenced off.
    """
    # Libraries for SSH and cryptography are imported only when needed.
    from pancode.backups.commands.copy import read_passphrase
    from pancode.backups.restoring import RestoreAsked, list_copies, restore_fleet

    face.acts_here("pancode admin restore")

    def accept(question: dict[str, str]) -> str:
        if accept_fingerprint is not None:
            return accept_fingerprint
        fix = f"compare the fingerprint on that host, then add --accept-fingerprint {question['value']}"
        if not face.confirm(f"{escape_line(question['text'])}. Is it correct?", fix):
            raise UsageError("nothing was restored", why="the host key was not accepted", code="not_accepted")
        return question["value"]

    def ask(kind: str) -> str:
        if key_file is not None and key_file != "-":
            return read_passphrase(face, key_file, twice=False)
        name = "Recovery key" if kind == "key" else "Passphrase"
        return face.read_secret(f"{name} (not shown): ", 4_096)

    def notify(done: int, of: int) -> None:
        if done % 500 == 0 or done == of:
            face.note(f"{done} of {count_noun(of, 'file')}")

    if (source is None) is (from_folder is None):
        raise UsageError("name one place with copies", fix="use --from HOST or --from-folder PATH")
    place = source if from_folder is None else str(from_folder.expanduser().absolute())
    spec = NodeSpec(place or "", host, user, port, identity, fingerprint=accept_fingerprint)
    home, typed = home_to_fill(os.environ), shlex.join(("pancode", *sys.argv[1:]))
    asked = RestoreAsked(home, os.environ, spec, fleet, copy, typed, accept, ask, notify)
    if lists:
        listed = list_copies(asked)
        return face.show(listed, lambda: format_copies(listed))
    answer = restore_fleet(asked)
    face.warn(answer["warnings"])
    face.show(answer, lambda: format_restored(answer))


def format_copies(listed: StoredCopiesAnswer) -> str:
    """Return the copies as a table, and why others cannot be used."""
    text = f"fleet {escape_line(listed['fleet'])}\n{format_rows(listed['copies'], _COLUMNS)}"
    for name, why in listed["refused"].items():
        text += f"not usable: {escape_line(name)}: {escape_line(why)}\n"
    return text


def format_restored(answer: RestoredAnswer) -> str:
    """Return what was restored, what is lost, and the next command."""
    taken = short_time(answer["taken_at"])
    text = f"restored fleet {answer['fleet']} from {answer['copy']}, taken {taken} ({answer['age']} ago)\n"
    text += f"  {count_noun(answer['files'], 'file')}, {format_bytes(answer['size'])}\n"
    text += f"  not in it: what happened after {taken}; the nodes are asked for the runs of that time\n"
    if answer["active"]:
        runs = first_few(answer["active"], _SHOWN)
        text += f"  waiting or at work then: {runs}; they are held until you decide\n"
    text += "  node bundles are not in it; pancode fleet up fetches them from the package index\n"
    return text + "next: pancode fleet up, then pancode fleet resume --held\n"


_COLUMNS: RowColumns[StoredCopyShape] = {
    **{"COPY": "name", "TAKEN (UTC)": lambda row: short_time(row["taken_at"])},
    **{"SIZE": lambda row: format_bytes(row["size"]), "ADDS TO": lambda row: row["base"] or ""},
    **{"FILES": "files", "PANCODE": "pancode"},
}
