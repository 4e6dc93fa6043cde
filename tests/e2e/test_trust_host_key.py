"""A host presents another key: nobody goes there, everybody is told why and what to do; `node trust`."""

from __future__ import annotations

import pytest

from tests.e2e.fleets import own_fleet, up
from tests.e2e.ground import Ground, audited, held, kill_coordinator
from tests.e2e.owner import Owner, until
from tests.e2e.tidy import fingerprint
from tests.lab import Lab

pytestmark = pytest.mark.slow


def test_a_changed_host_key_is_refused_until_a_user_has_looked(healed: Lab) -> None:
    with own_fleet(healed, [3]) as owner:
        first, again = (owner.run("fleet", "up", "node3", timeout_s=180).ok() for _ in range(2))
        note = "no systemd user services"
        assert [(said.out + said.err).count(note) for said in (first, again)] == [1, 0], "it is told once"
        old = fingerprint(healed.hosts[3]["host_key"])
        words = ("--runtime", "shell", "--node", "node3", "--workspace", "none")
        run = owner.dispatch(*words, f"{held('on')}; echo on")
        owner.running(run)
        host = Ground(owner, healed, 3)
        kill_coordinator(owner)
        healed.rekey([3])
        new = fingerprint(healed.hosts[3]["host_key"])
        assert new != old
        said = owner.run("fleet", "up", "node3")
        assert said.code == 6
        told = said.out + said.err
        assert old in told and new in told, told
        assert "ssh-keygen" in told and "pancode node trust node3" in told, told
        host.let_go("on")
        host.reached(run, "exited")
        assert owner.show(run)["outcome"] is None, "nothing comes through"
        refused = owner.run("node", "trust", "node3", "--accept-fingerprint", old)
        assert refused.code == 5, refused
        assert owner.run("node", "trust", "node3").code != 0, "never without an approval"
        owner.run("node", "trust", "node3", "--accept-fingerprint", new).ok()
        up(owner, 3)
        assert owner.ended(run, 40)["outcome"] == "done"
        until(lambda: owner.seen("node3") == "online", "it is back")
        trust = [row["what"] for row in audited(owner)]
        assert {"changed host key refused", "host key trusted"} <= {*trust}, trust
        _a_new_key_for_the_coordinator(owner, host, run)


def _a_new_key_for_the_coordinator(owner: Owner, host: Ground, before: str) -> None:
    """Rotated, and then lost: the node continues with the key that it knows until it is brought up."""
    words = ("--runtime", "shell", "--node", "node3", "--workspace", "none", "true")
    owner.run("admin", "keys", "--rotate").ok()
    assert owner.ended(owner.dispatch(*words), 40)["outcome"] == "done", "it knows the old one alone"
    up(owner, 3)
    assert owner.ended(owner.dispatch(*words), 40)["outcome"] == "done"
    up(owner, 3)
    assert (host.home / "key/coordinator.pub").read_text().count("ed25519") == 1, (
        "the second one takes the old key away"
    )
    kill_coordinator(owner)
    (owner.fleet_home / "key/coordinator.key").unlink()
    said = owner.run("fleet", "status", "--json")
    assert said.code == 3 and "key_lost" in said.err and "pancode admin keys --rotate --lost" in said.err, (
        said
    )
    owner.run("admin", "keys", "--rotate", "--lost").ok()
    up(owner, 3)
    after = owner.dispatch(*words)
    assert owner.ended(after, 40)["outcome"] == "done"
    for run in (before, after):
        owner.run("receipt", "verify", run).ok()
    assert len([k for k in owner.ask("admin", "keys")["keys"] if k["role"] == "coordinator"]) == 3
