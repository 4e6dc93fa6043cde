"""`pancode admin backup`: sealed copies of the coordinator's home on nodes of the fleet."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Any, TextIO

from node_agent.wire.clock import SystemIds
from pancode.backups.answers import BACK_UP, BACKUPS, HERE, BackupsAnswer, OutcomeShape
from pancode.interfaces.cli.parameters import Face, Json, completions, many, option, verb
from pancode.interfaces.cli.terminal import RowColumns, escape_line, format_rows, short_time
from pancode.kernel.errors import ApiError, ExitCode, UnavailableError, UsageError
from pancode.kernel.formatting import format_bytes

WAIT_S = 0.5
_TO = "A node that gets the copy; may be repeated (default: the setting backup.to)."
_FOLDER = "Make the copy in this folder of the coordinator's machine, for programs that carry it elsewhere."
_PASSPHRASE = (
    "With the first copy: open copies with the passphrase in FILE (- asks for it), not with a new key."
)


@verb(
    "admin backup", "--to gpubox", "", "--list", "--to-folder /srv/pancode", "--to gpubox --passphrase-file -"
)
def backup(
    *,
    to: Annotated[list[str], many(_TO, "--to", "NODE", complete=completions.nodes)],
    to_folder: Annotated[Path | None, option(_FOLDER, "--to-folder", "PATH")] = None,
    lists: Annotated[bool, option("List the copies instead of making one.", "--list")] = False,
    passphrase_file: Annotated[str | None, option(_PASSPHRASE, "FILE")] = None,
    face: Json,
) -> int:
    """Make a sealed, verified copy of this fleet's ledger, keys, secrets and depots on nodes of the fleet.

    The fleet continues to work meanwhile. A copy is one file. Of files and repositories it has only what has
    changed since the copy before it; each seventh is a whole one. The first copy creates a recovery key and
    prints it once: without it (or the passphrase) no copy can be opened, so store it outside this machine.
    `pancode admin restore` restores the fleet from a copy.

    The settings backup.to, backup.nightly and backup.after_landing make copies automatically.
    """
    client = face.client(works=not lists)
    state = client.get(BACKUPS)
    if lists:
        if to or to_folder or passphrase_file is not None:
            raise UsageError("--list excludes all other options", fix="pancode admin backup --list")
        face.show(state, lambda: format_copies(state))
        return ExitCode.DONE
    key, printed = None, ""
    if state["key"] is None:
        key, printed = make_key(face, passphrase_file)
    elif passphrase_file is not None:
        what = f"the fleet already has a {'recovery key' if state['key'] == 'key' else 'passphrase'}"
        raise UsageError(what, fix="omit --passphrase-file", code="recovery_key_exists")
    outcomes, begun = list[OutcomeShape](), None
    try:
        folder = "" if to_folder is None else str(to_folder.expanduser().absolute())
        begun = face.post(BACK_UP, {"to": to, "folder": folder, "key": key})
        if printed and not face.as_json:
            show_key(sys.stdout, printed)
        waiting = face.client(starts=False)
        while len(outcomes) < len(begun["to"]):
            time.sleep(WAIT_S)
            state = waiting.get(BACKUPS)
            if state["since"] > begun["number"]:
                fix = "repeat it: pancode admin backup"
                raise UnavailableError("the coordinator was restarted before the copy was complete", fix=fix)
            outcomes = [one for one in state["outcomes"] if one["number"] == begun["number"]]
    except BaseException as error:
        if begun is not None or not isinstance(error, ApiError):
            # the coordinator may have stored the new key, of which only this process has the secret half
            show_key(sys.stderr, printed if face.as_json or begun is None else "")
            face.note("the copy may continue; see: pancode admin backup --list")
        raise
    answer = {"recovery_key": printed or None, "copies": outcomes}
    status = ExitCode.DONE if all(one["ok"] for one in outcomes) else ExitCode.UNAVAILABLE
    return face.end(status, answer, lambda: "".join(format_outcome(one, state) for one in outcomes))


def show_key(stream: TextIO, printed: str) -> None:
    """Print a new recovery key, once."""
    if printed:
        stream.write(f"recovery key: {printed}\n")
        stream.flush()
        sys.stderr.write("Keep it outside this machine. It opens every copy, and is not shown again.\n")


def make_key(face: Face, passphrase_file: str | None) -> tuple[dict[str, object], str]:
    """Return the public part of a new recovery key for the coordinator, and the key as text for the user; the
    text is empty for a passphrase, which the user knows."""
    # The cryptography library is imported only when needed.
    from pancode.backups.sealing import SALT, RecoveryKey, check_passphrase

    if passphrase_file is None:
        key = RecoveryKey(bytes.fromhex(SystemIds().token(32)))
        return key.recipient().model_dump(), key.text()
    text = check_passphrase(read_passphrase(face, passphrase_file, twice=True))
    salt = bytes.fromhex(SystemIds().token(SALT))
    return RecoveryKey.of_passphrase(text, salt).recipient(salt).model_dump(), ""


def read_passphrase(face: Face, file: str, *, twice: bool) -> str:
    """Return the passphrase (or key) in the file; for `-`, from a hidden prompt or standard input."""
    if file != "-":
        try:
            return Path(file).read_text().strip("\r\n")
        except (OSError, UnicodeDecodeError) as exc:
            raise UsageError(f"cannot read {file}", why=str(exc), fix="name a readable text file") from exc
    first = face.read_secret("Passphrase (not shown): ", 4_096).strip("\r\n")
    if twice and face.can_ask() and face.read_secret("The same again: ", 4_096).strip("\r\n") != first:
        raise UsageError("the two passphrases differ", fix="type the same passphrase twice")
    return first


def format_outcome(one: OutcomeShape, state: BackupsAnswer) -> str:
    place = escape_line(one["node"])
    if not one["ok"]:
        fix = f"  fix: {escape_line(one['fix'])}\n" if one["fix"] else ""
        return f"{place}: no copy: {escape_line(one['why'])}\n{fix}"
    there = next(node for node in state["nodes"] if node["node"] == one["node"])
    made = next(copy for copy in there["copies"] if copy["name"] == one["copy"])
    text = f"{place}: {one['copy']} verified, {format_bytes(made['size'])}"
    text += f", adds to {made['base']}\n" if made["base"] else ", whole\n"
    return text + (f"  {HERE}\n" if there["here"] else "")


def format_copies(state: BackupsAnswer) -> str:
    rows = [{"node": node["node"], **copy} for node in state["nodes"] for copy in node["copies"]]
    text = format_rows(rows, _COLUMNS, "no copies; make one: pancode admin backup --to NODE")
    for node in state["nodes"]:
        if node["here"]:
            text += f"{escape_line(node['node'])}: {HERE}\n"
        if node["trouble"]:
            text += f"{escape_line(node['node'])}: the last copy failed: {escape_line(node['trouble'])}\n"
            text += f"  fix: {escape_line(node['fix'])}\n" if node["fix"] else ""
    return text


_COLUMNS: RowColumns[Any] = {
    **{"PLACE": "node", "COPY": "name", "TAKEN (UTC)": lambda row: short_time(row["taken_at"])},
    "VERIFIED (UTC)": lambda row: short_time(row["verified_at"]) if row["verified_at"] else "no",
    "SIZE": lambda row: format_bytes(row["size"]),
    "ADDS TO": lambda row: row["base"] or "",
    "FILES": "files",
}
