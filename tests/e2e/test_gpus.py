"""GPUs on a real host, with stand-ins for driver and device files: found, seen, held alone, waited for."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.fleets import own_fleet, up
from tests.e2e.owner import Owner, until
from tests.e2e.tidy import fleet_of
from tests.gpu.standins import GpuMachine, gpu, uuid
from tests.lab import Lab

pytestmark = pytest.mark.slow
K, HOME = 1, "/home/ops"
LOOK = 'ls /dev | grep nvidia || true; echo "visible ${CUDA_VISIBLE_DEVICES-unset}"'
USE = "echo word > /dev/nvidia0 && cat /dev/nvidia0"
EVERY = ["nvidia-uvm", "nvidia0", "nvidia1", "nvidiactl"]


@dataclass(frozen=True)
class Box:
    """A fleet of two hosts, the first of which has two GPUs."""

    owner: Owner
    gpus: GpuMachine
    node: Path
    """The node's home, from outside."""

    def see(self, *words: str) -> list[str]:
        """What a run finds of GPUs."""
        top = self.owner.repository("gpus")
        run = self.owner.ask("dispatch", "--runtime", "shell", "--node", f"node{K}", *words, LOOK, cwd=top)
        return self.owner.run("runs", "logs", run["run"]).ok().out.split("\n")[:-1]

    def shown(self) -> list[dict[str, object]]:
        found: list[dict[str, object]] = self.owner.nodes()[f"node{K}"]["gpus"]
        return found

    def write(self, name: str, content: object) -> None:
        """A file of the node's owner."""
        path = self.node / name
        path.write_text(json.dumps(content))
        os.chown(path, self.node.stat().st_uid, self.node.stat().st_gid)


@pytest.fixture(scope="module")
def box(lab: Lab) -> Iterator[Box]:
    gpus = GpuMachine(Path(lab.path(K, "disk", "home", "gpus")), Path(HOME, "gpus"))
    gpus.make_devices()
    with own_fleet(lab, (1, 2)) as owner:
        up(owner, 1, 2)
        box = Box(owner, gpus, Path(lab.path(K, "disk", "home", ".pancode-node", fleet_of(owner) or "")))
        box.write("gpus.json", gpus.settings)
        owner.run("fleet", "down", f"node{K}", "--now").ok()
        up(owner, 1)
        until(lambda: len(box.shown()) == 2, "both GPUs are told", 30)
        yield box


def test_they_are_found_and_shown(box: Box) -> None:
    status = box.owner.run("fleet", "status").ok().out
    assert "2x H100 80G, 156G free" in status, status
    page = box.owner.run("node", "show", f"node{K}").ok().out
    assert "NVIDIA H100 80GB HBM3, 80 G, 78 G free, 3 % busy, driver 580.0" in page
    assert "GPUs go to:   every run" in page
    assert "gpu" not in box.owner.run("doctor", f"node{K}").out.lower(), "nothing is wrong with them"


def test_set_up_agent_and_gates_of_a_plain_run_use_them(box: Box) -> None:
    top = box.owner.repository("phases", {"pancode.yaml": f"setup: [\"sh -c '{USE}'\"]\n"})
    words = ("--runtime", "shell", "--node", f"node{K}", "--verify", f"sh -c '{USE}'")
    run = box.owner.ask("dispatch", *words, f"{USE}; touch made", cwd=top)
    assert run["outcome"] == "done", box.owner.run("why", run["run"]).out
    assert box.see() == [*EVERY, "visible unset"]
    other = box.owner.repository("other")
    elsewhere = box.owner.ask("dispatch", "--runtime", "shell", "--node", "node2", LOOK, cwd=other)
    assert box.owner.run("runs", "logs", elsewhere["run"]).out == "visible unset\n"


def test_one_is_held_alone_and_the_next_run_says_what_it_waits_for(box: Box) -> None:
    owner, top = box.owner, box.owner.repository("holds")
    first = owner.dispatch("--runtime", "shell", "--gpus", "1", f"{LOOK}; sleep 600", cwd=top)
    owner.running(first)
    assert [one["holder"] for one in box.shown()] == [first, None]
    assert box.see() == ["nvidia-uvm", "nvidia1", "nvidiactl", f"visible {uuid(1)}"]
    second = owner.dispatch(
        "--runtime", "shell", "--gpus", "all", "--verify", f"sh -c '{USE}'", LOOK, cwd=top
    )
    until(lambda: "waits for a GPU" in owner.show(second)["reason"], f"{second} waits", 20)
    assert f"waits for a GPU: node{K} has 2, held by {first}" in owner.run("why", second).ok().out
    owner.run("runs", "stop", first).ok()
    assert owner.ended(second)["outcome"] == "done"
    told = owner.run("runs", "logs", second).ok().out
    assert told == "\n".join([*EVERY, f"visible {uuid(0)},{uuid(1)}\n"]), "and no node2, which has none"
    until(lambda: [one["holder"] for one in box.shown()] == [None, None], "its node has cleaned up", 20)


@pytest.mark.parametrize("rule", ["asked", "none"])
def test_the_owner_says_who_gets_them(box: Box, rule: str) -> None:
    owner = box.owner
    try:
        owner.run("node", "set", f"node{K}", "--gpus", rule).ok()
        assert box.see() == ["visible "]
        if rule == "asked":
            assert box.see("--gpus", "1")[-1] == f"visible {uuid(0)}"
            return
        said = owner.run(
            "dispatch", "--runtime", "shell", "--gpus", "1", "true", cwd=owner.repository("none")
        )
        assert said.code == 5 and f"pancode node set node{K} --gpus all" in said.err, said.err
    finally:
        owner.run("node", "set", f"node{K}", "--gpus", "all").ok()


def test_a_label_of_the_hardware_places_a_run_and_a_false_one_is_told(box: Box) -> None:
    owner, top = box.owner, box.owner.repository("labels")
    run = owner.ask("dispatch", "--runtime", "shell", "--require", "gpu.name=H100", "true", cwd=top)
    assert run["node"] == f"node{K}"
    try:
        owner.run("node", "set", f"node{K}", "--label", "gpu=24g").ok()
        told = owner.run("doctor", f"node{K}").out
        assert f"label gpu=24g of node{K} contradicts its hardware: gpu=80g was found" in told, told
    finally:
        owner.run("node", "set", f"node{K}", "--unlabel", "gpu").ok()


def test_the_doctor_says_why_runs_cannot_use_them(box: Box) -> None:
    file = box.gpus.devices / "nvidia-uvm"
    file.unlink()
    try:
        until(
            lambda: "nvidia-uvm" in json.dumps(box.owner.nodes()[f"node{K}"]["problems"]), "it is missed", 30
        )
        told = box.owner.run("doctor", f"node{K}").out
        assert "nvidia-uvm is missing" in told and "sudo nvidia-modprobe -u -c=0" in told, told
        assert box.see() == ["nvidia0", "nvidia1", "nvidiactl", "visible unset"], "what is there is given"
    finally:
        box.gpus.make_devices(("nvidia-uvm",))


def test_what_no_node_has_is_refused_with_what_each_lacks(box: Box) -> None:
    top = box.owner.repository("refused")
    for words, why in (
        (("--gpus", "3"), "node1 has no 3 GPUs: it has 2 GPUs, the largest NVIDIA H100 80GB HBM3 of 80 G"),
        (("--gpu-memory", "141g"), "node1 has no GPU of 141 GB"),
        (("--gpus", "1", "--node", "node2"), "node2 has no GPU"),
    ):
        said = box.owner.run("dispatch", "--runtime", "shell", *words, "true", cwd=top)
        assert said.code == 5 and why in said.err and "fix:" in said.err, said.err
    for bad in ("01", "-1", "two"):
        said = box.owner.run("dispatch", "--runtime", "shell", "--gpus", bad, "true", cwd=top)
        assert said.code == 2 and "--gpus" in said.err, said.err


def test_without_a_sandbox_it_is_a_variable_and_the_receipt_says_so(box: Box) -> None:
    owner = box.owner
    try:
        box.write("sandbox.json", {"off": "a test"})
        until(lambda: owner.nodes()[f"node{K}"]["isolation"] == "none", "the sandbox is off", 60)
        said = owner.run("node", "set", f"node{K}", "--gpus", "asked").ok()
        assert "CUDA_VISIBLE_DEVICES" in said.err
        run = owner.ask(
            *("dispatch", "--runtime", "shell", "--node", f"node{K}", "--gpus", "1", "--allow-told-only"),
            *(LOOK,),
            cwd=owner.repository("bare"),
        )
        assert f"visible {uuid(0)}" in owner.run("runs", "logs", run["run"]).out
        enforced = owner.ask("receipt", "show", run["run"])["statement"]["predicate"]["enforced"]
        assert {"rule": f"GPUs {uuid(0)}", "how": "told only"} in enforced, enforced
    finally:
        owner.run("node", "set", f"node{K}", "--gpus", "all").ok()
        (box.node / "sandbox.json").unlink()
        until(lambda: owner.nodes()[f"node{K}"]["isolation"] == "sandbox", "the sandbox is back", 60)


def test_a_driver_that_loses_one_fails_or_hangs_holds_up_nothing_but_who_asks(box: Box) -> None:
    owner, top = box.owner, box.owner.repository("hangs")

    def problems() -> str:
        return json.dumps(owner.nodes()[f"node{K}"]["problems"])

    try:
        box.gpus.says(gpu(0), "lost|x|1|1|1|1")
        until(lambda: len(box.shown()) == 1 and "GPU 1 is gone" in problems(), "one is gone", 30, problems)
        box.gpus.says("hang")
        until(lambda: box.shown()[0]["unknown_since"] is not None, "it is not known any more", 40)
        assert "1 UNKNOWN" in owner.run("fleet", "status").ok().out
        plain = owner.ask("dispatch", "--runtime", "shell", "--node", f"node{K}", "true", cwd=top)
        assert plain["outcome"] == "done", "the node agent continues"
        waits = owner.dispatch("--runtime", "shell", "--gpus", "1", "true", cwd=top)
        until(lambda: "with a driver that does not respond" in owner.show(waits)["reason"], "it waits", 20)
    finally:
        box.gpus.says(gpu(0), gpu(1))
    assert owner.ended(waits)["outcome"] == "done"
    until(lambda: len(box.shown()) == 2, "both are back", 40)
