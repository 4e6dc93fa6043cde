"""The copies of this fleet as a drill uses them: it restores the newest one into a scratch home."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pancode.backups.answers import BACKUPS
from pancode.backups.commands.copy import read_passphrase
from pancode.backups.model import is_folder
from pancode.backups.restoring import RestoreAsked, restore_fleet
from pancode.fleet.acts import NodeSpec
from pancode.fleet.answers import FLEET, NODE, NodeDetail
from pancode.fleet.ssh.home import Home
from pancode.fleet.ssh.hostkey import HostKey
from pancode.interfaces.cli.parameters import Face, fetch_page
from pancode.interfaces.client.client import Client
from pancode.kernel.errors import ConfigError, UnavailableError
from pancode.kernel.records import Run
from pancode.runs.answers import RUNS
from pancode.store.ledger import SqlLedger
from pancode.store.tables import Schema

PAGE = 1_000


@dataclass(frozen=True, slots=True)
class CopiesHere:
    """Implements pancode.drills.model.DrilledCopies. `key`: the recovery key; None: copies cannot be
    opened."""

    client: Client
    scratch: Path
    environ: Mapping[str, str]
    key: str | None

    def list_work(self) -> Mapping[str, str]:
        copies = self.client.get(BACKUPS)
        is_copying = copies["running"] is not None or copies["waiting"] > 0
        return {"a backup": "pancode admin backup --list"} if is_copying else {}

    def why_not(self) -> str:
        if self._find_copy() is None:
            return "there is no verified copy; make one: pancode admin backup --to NODE"
        return "the copy opens only with the recovery key: --key-file FILE" if self.key is None else ""

    def restore(self) -> int:
        copy, key = self._find_copy(), self.key
        assert copy is not None and key is not None  # otherwise `why_not` has a reason
        taken_at, name, copy_name = copy
        fleet, node = self.client.get(FLEET)["coordinator"]["fleet"], None
        if not is_folder(name):
            node = self.client.get(NODE.at(name))
        rows = fetch_page(self.client, RUNS, "runs", PAGE, None, whole=True)["runs"]
        before = {row["run"] for row in rows if row["created_at"] < taken_at}
        spec = NodeSpec(name) if node is None else spec_of(node)
        accept = (lambda question: "") if node is None else accept_pins(node)
        asked = RestoreAsked(
            self.scratch, self.environ, spec, fleet, copy_name, "", accept, lambda _: key, lambda *_: None
        )
        try:
            restore_fleet(asked)
            ledger = SqlLedger(Home(self.scratch).ledger, Schema((Run,)))
            try:
                with ledger.transaction() as tx:
                    there = {run.id for run in tx.find(Run)}
            finally:
                ledger.close()
        except OSError as exc:
            raise UnavailableError("the copy was not restored", why=str(exc), fix="pancode doctor") from exc
        finally:
            self.clear()
        return len(before - there)

    def clear(self) -> None:
        try:
            if self.scratch.exists():
                shutil.rmtree(self.scratch)
        except OSError as exc:
            why, fix = f"it has keys of the fleet; {exc}", shlex.join(("rm", "-rf", str(self.scratch)))
            raise ConfigError(f"cannot remove {self.scratch}", why=why, fix=fix) from exc

    def _find_copy(self) -> tuple[str, str, str] | None:
        """Return the newest verified copy: when it was taken, its node and its name."""
        nodes = self.client.get(BACKUPS)["nodes"]
        copies = [(node["node"], one) for node in nodes for one in node["copies"] if one["verified_at"]]
        return max(((one["taken_at"], node, one["name"]) for node, one in copies), default=None)


def copies_for(face: Face, client: Client, scratch: Path, key_file: str | None) -> CopiesHere:
    """Return the copies for a drill. `key_file`: the file with the key that opens them."""
    key = None if key_file is None else read_passphrase(face, key_file, twice=False)
    return CopiesHere(client, scratch, os.environ, key)


def spec_of(node: NodeDetail) -> NodeSpec:
    """Return how a restore reaches the node: as the fleet does."""
    target = node["target"]["target"]
    identity = next(iter(target["identities"]), None)
    return NodeSpec(target["alias"], target["host"], target["user"], target["port"], identity)


def accept_pins(node: NodeDetail) -> Callable[[dict[str, str]], str]:
    """Return a function that accepts a host key only if the fleet has pinned it."""
    pins = {HostKey.parse(line).fingerprint for line in node["target"]["pins"].values()}
    return lambda question: question["value"] if question["value"] in pins else ""
