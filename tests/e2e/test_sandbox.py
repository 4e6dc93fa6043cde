"""A hostile run on a real host, from the command line: what the sandbox holds, and what is said without."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import yaml

from tests.e2e.ground import Ground
from tests.e2e.owner import Owner, script, until
from tests.lab import Lab

pytestmark = pytest.mark.slow

HOSTILE = """\
tried() { if sh -c "$2" 2>/dev/null; then echo "DID $1"; else echo "not $1"; fi; }
tried home 'echo x > /home/ops/planted'
tried key 'cat /home/ops/.pancode-node/*/key/node.key'
tried journal 'ls /home/ops/.pancode-node/*/journal'
tried secrets 'cat /home/ops/.ssh/*'
tried tmp 'cat /tmp/of-the-host'
tried git 'echo x >> .git'
tried config 'git config core.hooksPath /tmp/x'
tried others 'cat /proc/[0-9]*/environ | tr "\\0" "\\n" | grep -q ^PANCODE_NODE'
tried core 'echo x > /proc/sys/kernel/core_pattern'
setsid -f sleep 611
tried link 'ln -s /home/ops/.pancode-node stolen'
tried tree 'echo mine > mine.txt'
"""
NOT_THERE = (
    "d=$(mktemp -d); chmod 755 $d; r=/run/real/bin; mkdir -p $r; mount --bind /usr/bin $r",
    "find $r -mindepth 1 -maxdepth 1 ! -name bwrap -exec ln -s -t $d {} +; mount --bind $d /usr/bin",
)


@contextmanager
def without_bubblewrap(lab: Lab, k: int) -> Iterator[None]:
    """Host k as a machine where nobody installed it."""
    as_root = [*lab.enter(k, root=True), "/bin/sh", "-euc"]
    lab_run([*as_root, "; ".join(NOT_THERE)])
    try:
        yield
    finally:
        lab_run([*as_root, "umount -l /usr/bin; umount -l /run/real/bin"])


def lab_run(argv: list[str]) -> None:
    subprocess.run(argv, check=True, capture_output=True)


@pytest.mark.parametrize("safety", ["auto-edit", "full-auto"])
def test_a_hostile_script_on_a_host(fleet: Owner, lab: Lab, safety: str) -> None:
    host, top = Ground(fleet, lab, 1), fleet.repository(f"hostile-{safety}")
    host.shell("echo secret > /tmp/of-the-host; rm -f ~/planted")
    until(lambda: fleet.nodes()["node1"]["isolation"] == "sandbox", "a test before has turned it off", 60)
    words = ("--runtime", "shell", "--node", "node1", "--safety", safety, "--verify", "test -f mine.txt")
    run = fleet.ask("dispatch", *words, HOSTILE, cwd=top)
    said = fleet.run("runs", "logs", run["run"]).ok().out
    assert {line for line in said.splitlines() if line.startswith("DID")} == {"DID link", "DID tree"}, said
    assert (run["outcome"], sorted(run["files_changed"])) == ("done", ["mine.txt", "stolen"])
    assert fleet.show(run["run"])["isolation"] == "sandbox"
    assert not host.running("sleep", "611") and "planted" not in host.shell("ls ~")
    receipt = json.dumps(fleet.ask("receipt", "show", run["run"]))
    assert '"how": "sandbox"' in receipt and '"rule": "network full"' in receipt


LISTENS = "python3 -m http.server --bind 127.0.0.1 9417 >/dev/null 2>&1 &"
ASKS = "python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", 9417), 5)'"


def test_a_mode_whose_network_is_none_reaches_nothing(fleet: Owner, lab: Lab) -> None:
    """By `dispatch.network`: in what a dry run says, in what the run reaches and in the receipt."""
    settings, top = fleet.fleet_home / "pancode.yaml", fleet.repository("no-network")
    before = settings.read_text() if settings.exists() else "{}"
    host = Ground(fleet, lab, 1)
    host.shell(f"{LISTENS} echo $! > /tmp/listens")
    words = ("dispatch", "--runtime", "shell", "--agent", "reviewer", "--node", "node1", "--mode")
    try:
        settings.write_text(
            json.dumps(yaml.safe_load(before) | {"dispatch": {"network": {"review": "none"}}})
        )
        until(lambda: "not" not in host.shell(f"{ASKS} || echo not"), "the server listens")
        closed = fleet.ask(*words, "review", f"{ASKS} && echo reached || echo unreachable", cwd=top)
        open_ = fleet.ask(*words, "admin", f"{ASKS} && echo reached", cwd=top)
        dry = fleet.ask(*words, "review", "--dry-run", "true", cwd=top)
    finally:
        settings.write_text(before)
        host.shell("kill $(cat /tmp/listens)")
    assert "unreachable" in fleet.run("runs", "logs", closed["run"]).out
    assert "reached" in fleet.run("runs", "logs", open_["run"]).out
    assert dry["network"]["the agent"] == "nothing"
    assert '"rule": "network none"' in json.dumps(fleet.ask("receipt", "show", closed["run"]))


def test_a_read_only_double_cannot_write_whatever_it_is_told(fleet: Owner, lab: Lab) -> None:
    top = fleet.repository("hostile-double")
    words = ("--runtime", "scripted", "--node", "node1", "--agent", "scout")
    said = fleet.run("dispatch", *words, "--json", script("force write a.txt x"), cwd=top)
    run = json.loads(said.out)
    assert (run["outcome"], run["files_changed"]) == ("error", []) and "Read-only" in run["reason"]


def test_a_machine_without_it_says_what_to_install_and_gets_no_full_auto(fleet: Owner, healed: Lab) -> None:
    def problems() -> str:
        return json.dumps(fleet.nodes()["node2"]["problems"])

    with without_bubblewrap(healed, 2):
        until(lambda: "bubblewrap is not installed" in problems(), "node2 has noticed", 60, problems)
        assert fleet.nodes()["node2"]["isolation"] == "none"
        assert "apt-get install bubblewrap" in fleet.run("fleet", "status").out
        assert "apt-get install bubblewrap" in fleet.run("doctor", "--all").out
        words = ("dispatch", "--runtime", "shell", "--node", "node2", "--safety", "full-auto")
        refused = fleet.run(*words, "true", cwd=fleet.repository("no-wall"))
        assert refused.code == 5 and "sudo apt-get install bubblewrap" in refused.err, refused.err
        told = fleet.ask(*words, "--allow-told-only", "touch x", cwd=fleet.repository("told-only"))
        assert told["outcome"] == "done" and fleet.show(told["run"])["isolation"] == "none"
    until(lambda: fleet.nodes()["node2"]["isolation"] == "sandbox", "node2 has it again", 60, problems)


def test_the_matrix_says_who_holds_what(fleet: Owner) -> None:
    rows = {(one["runtime"], one["rule"]): one for one in fleet.ask("policy", "show", "--matrix")["matrix"]}
    assert {one["with_sandbox"] for one in rows.values()} == {"sandbox"}
    assert rows["claude", "full-auto"]["without"] == "told only"
    assert rows["codex", "full-auto"]["without"] == "runtime flag"
    assert rows["shell", "read-only"]["without"] == "impossible"
