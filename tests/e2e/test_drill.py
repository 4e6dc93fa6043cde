"""`pancode fleet drill` on two real SSH hosts: every fault, the signed report, and one that was changed."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from tests.e2e.fleets import own_fleet, up
from tests.e2e.owner import Owner, until
from tests.lab import Lab

pytestmark = pytest.mark.slow

SHELL = ("--runtime", "shell", "--workspace", "none")
OF_A_NODE = ("link", "node agent", "shim")
WHOLE = ("coordinator", "redis", "restore")


def test_a_fleet_is_drilled_and_the_report_is_signed(healed: Lab) -> None:
    """Over 30 s: eight faults, after each of which runs of seconds end."""
    with own_fleet(healed, [1, 2]) as owner:
        up(owner, 1, 2)
        made = owner.ask("admin", "backup", "--to", "node2", timeout_s=240)
        key = owner.home / "recovery-key"
        key.write_text(f"{made['recovery_key']}\n")
        try:
            busy = owner.dispatch("--node", "node1", *SHELL, "sleep 300")
            refused = owner.run("fleet", "drill", "--yes")
            assert refused.code == 5 and busy in refused.err, refused
            owner.run("stop", busy).ok()
            until(lambda: owner.look(busy)["outcome"] is not None, f"{busy} is stopped", 60)
            asked = owner.run("fleet", "drill")
            assert asked.code == 2 and "pancode fleet drill --yes" in asked.err, asked

            done = owner.ask("fleet", "drill", "--yes", "--key-file", str(key), timeout_s=600)
        finally:
            for host in (1, 2):
                healed.run(host, "rm -rf /home/ops/.pancode-backups")
        rows = done["report"]["rows"]
        assert done["good"], done
        faults = [(row["fault"], row["node"]) for row in rows]
        of_nodes = [(fault, node) for node in ("node1", "node2") for fault in OF_A_NODE]
        assert faults == [*of_nodes, *((fault, "") for fault in WHOLE)]
        for row in rows:
            assert (row["lost"], row["doubled"], row["problem"], row["skipped"]) == (0, 0, "", ""), row
            assert row["recovered_ms"] is not None and len(row["runs"]) >= 2 * (row["fault"] != "restore"), (
                row
            )
        assert not (Path(owner.home / done["file"]).parent / "scratch").exists(), "the restored keys are gone"
        _is_verified(owner, done["file"])


def _is_verified(owner: Owner, file: str) -> None:
    shown = owner.ask("fleet", "drill", "--verify", file)
    assert shown["verdict"] == "PASS" and shown["good"]
    exported = owner.home / "keys.json"
    exported.write_text(owner.run("receipt", "export").ok().out)
    owner.run("fleet", "drill", "--verify", file, "--keys", str(exported)).ok()
    envelope = json.loads((owner.home / file).read_text())
    body = base64.b64decode(envelope["payload"]).replace(b'"lost":0', b'"lost":1', 1)
    changed = owner.home / "changed.json"
    changed.write_text(json.dumps({**envelope, "payload": base64.b64encode(body).decode()}))
    told = owner.run("fleet", "drill", "--verify", str(changed))
    assert told.code == 8 and told.out.startswith("TAMPERED"), told
