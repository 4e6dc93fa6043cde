"""A real node agent with the sandbox: hostile runs at each level, its receipts, and what holds without it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from node_agent.wire.control import StopControl
from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.job import Gate, Workspace
from node_agent.wire.policy import Isolation, PathAccess, PathRule, Rules, Safety, compile_policy
from node_agent.wire.receipt import Claims
from tests.integration.git.repos import tree_of
from tests.integration.node.node_world import NodeWorld, processes_of, until

HOSTILE = """\
tried() {{ if sh -c "$2" 2>/dev/null; then echo "DID $1"; else echo "not $1"; fi; }}
tried outside 'echo x > {outside}/planted'
tried home 'echo x > {node}/planted'
tried key 'cat {node}/key/node.key'
tried journal 'ls {node}/journal'
tried mirror 'touch {node}/mirrors/x'
tried git 'echo x >> .git'
tried config 'git config core.hooksPath /tmp/x'
tried commit 'git commit -q --allow-empty -m x'
tried core 'echo x > /proc/sys/kernel/core_pattern'
tried others 'test -n "$(ls /proc | grep -v "^[0-9]\\{{1,2\\}}$" | grep "^[0-9]")"'
setsid -f sleep 600
tried link 'ln -s {node}/key/node.key stolen'
tried tree 'echo mine > mine.txt'
"""
OWN_TMP = {"outside", "home", "mirror"}
"""This test's folders lie in /tmp: inside that is a /tmp of its own, and what was written there is gone."""
NONE = Workspace(kind="none")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[NodeWorld]:
    world = NodeWorld(tmp_path)
    world.begin()
    yield world
    world.end()


def did(world: NodeWorld, claims: Claims) -> set[str]:
    lines = world.log(claims.identity).decode().splitlines()
    assert len(lines) == 12, lines
    return {line.removeprefix("DID ") for line in lines if line.startswith("DID ")}


def hostile(world: NodeWorld, tmp_path: Path) -> str:
    return HOSTILE.format(outside=tmp_path, node=world.home.root)


@pytest.mark.parametrize("safety", [Safety.SUGGEST, Safety.AUTO_EDIT, Safety.FULL_AUTO])
def test_a_hostile_script_at_each_level(world: NodeWorld, tmp_path: Path, safety: Safety) -> None:
    job = world.job(hostile(world, tmp_path), runtime="shell", safety=safety)
    claims = world.run(job)
    writes = safety is not Safety.SUGGEST
    assert did(world, claims) - OWN_TMP == ({"link", "tree"} if writes else set())
    assert (claims.outcome, claims.isolation) == (Outcome.DONE, Isolation.SANDBOX)
    assert [(one.rule, one.how.value) for one in claims.enforced] == [
        (safety.value if writes else "read-only", "sandbox"),
        ("network full", "told only"),
        ("network of set-up and gates full", "told only"),
    ]
    assert processes_of(claims.identity) == []
    assert not [place for place in (tmp_path, world.home.root) if (place / "planted").exists()]
    assert not (world.home.root / "mirrors/x").exists()
    if writes:
        assert claims.commit is not None
        files = tree_of(world.depot, world.taken, claims.commit)
        assert files["mine.txt"][1] == b"mine\n"
        mode, content = files["stolen"]
        assert (mode, content) == ("120000", f"{world.home.root}/key/node.key".encode()), (
            "the link, not the key"
        )
    else:
        assert claims.commit is None and claims.change == "empty"


def test_set_up_agent_and_gates_are_all_inside(world: NodeWorld) -> None:
    """They run what the repository and the agent wrote. What each leaves, the next one finds."""
    look = f"test ! -e {world.home.root}/key && test $(id -u) = 1000"
    job = world.job(
        "#!scripted\nread lib/a\nwrite new.txt hello\nanswer ok",
        setup=(("sh", "-euc", f"{look}; mkdir lib; echo made > lib/a; echo lib > .git/x || :"),),
        gates=(
            Gate(name="there", argv=("sh", "-euc", f"{look}; test $(cat new.txt) = hello; touch built")),
            Gate(name="git", argv=("git", "status", "--porcelain")),
        ),
    )
    claims = world.run(job)
    assert (claims.outcome, claims.files_changed) == (Outcome.DONE, ("new.txt",)), claims.reason
    assert [gate.passed for gate in claims.gates] == [True, True]
    assert any("built" in text for text in claims.findings), "what a gate changes is told, not committed"


GUARDED = Rules(
    paths=(
        PathRule(pattern="f1", access=PathAccess.READ),
        PathRule(pattern="*.key", access=PathAccess.NONE),
        PathRule(pattern="late.key", access=PathAccess.NONE),
    )
)


def test_what_rules_name_is_out_of_reach_from_its_making_on(world: NodeWorld) -> None:
    """Of set-up, agent and gates alike; what set-up makes is covered when the agent starts."""
    look = "cat f1 && ! cat late.key && ! sh -c 'echo x >> f1' && ! rm -f f1"
    job = world.job(
        f"{look}; echo x > new.key; cat new.key; echo ok > done",
        runtime="shell",
        policy=compile_policy(Safety.AUTO_EDIT, read_only=False, rules=GUARDED),
        setup=(("sh", "-euc", "echo k > late.key; ! sh -c 'echo x >> f1'"),),
        gates=(Gate(name="same", argv=("sh", "-euc", f"{look}; ! cat new.key; test $(cat done) = ok")),),
    )
    claims = world.run(job)
    log = world.log(job.identity).decode()
    assert [gate.passed for gate in claims.gates] == [], "what came later is found in the result"
    assert (claims.outcome, claims.failure) == (Outcome.POLICY_VIOLATION, FailureKind.RULE_BROKEN)
    assert claims.reason.startswith("new.key was added: rule none: *.key") and "x\n" in log
    held = [(one.rule, one.how.value) for one in claims.enforced if one.rule.startswith("path rules")]
    assert held == [
        ("path rules, for paths that exist at the start", "sandbox"),
        ("path rules", "checked after"),
    ]


def test_the_owners_rules_are_mounts_as_well(world: NodeWorld) -> None:
    (world.home.root / "pansafety.yaml").write_text("readOnlyPaths: [f3]\n")
    gates = (Gate(name="same", argv=("sh", "-c", "! sh -c 'echo x >> f3'")),)
    script = "if sh -c 'echo x >> f3'; then exit 9; fi; echo ok > done"
    claims = world.run(world.job(script, runtime="shell", gates=gates))
    assert (claims.outcome, claims.files_changed) == (Outcome.DONE, ("done",)), claims.reason
    assert [gate.passed for gate in claims.gates] == [True]


PLANTED = """\
echo 'exit 7' > $HOME/task.sh
rm -rf $HOME/tmp
ln -s {outside} $HOME/tmp
"""


def test_set_up_cannot_change_what_the_agent_is_started_with(world: NodeWorld, tmp_path: Path) -> None:
    """Its script, and the folders of its program, are again as the node wrote them; its own files stay."""
    (tmp_path / "bait").write_text("x")
    setup = PLANTED.format(outside=tmp_path) + "echo mine > $HOME/tool"
    script = "test ! -L $HOME/tmp && test -w $HOME/tmp && cp $HOME/tool done"
    claims = world.run(world.job(script, runtime="shell", setup=(("sh", "-euc", setup),)))
    assert (claims.outcome, claims.files_changed) == (Outcome.DONE, ("done",)), claims.reason
    assert (tmp_path / "bait").read_text() == "x"


def test_a_read_only_agent_cannot_even_try(world: NodeWorld) -> None:
    claims = world.run(world.job("#!scripted\nforce write evil.txt x", read_only=True))
    assert (claims.outcome, claims.change, claims.commit) == (Outcome.ERROR, "empty", None)
    assert "Read-only file system" in claims.reason


def test_an_agent_behind_the_wall_cannot_commit_and_loses_nothing(world: NodeWorld) -> None:
    claims = world.run(world.job("#!scripted\nwrite a.txt x\ntry commit mine\ntry delete-git\nanswer ok"))
    assert (claims.outcome, claims.files_changed) == (Outcome.DONE, ("a.txt",)), claims.reason


def test_a_stop_reaches_what_is_inside(world: NodeWorld) -> None:
    job = world.job("#!scripted\nignore INT TERM\nfork 600\nwrite up x\nhang")
    world.coordinator.push(job)
    world.marked(job.identity, "spawned")
    tree = world.home.root / "work" / str(job.identity) / "tree"
    until(lambda: (tree / "up").exists())
    world.coordinator.tell(StopControl(identity=job.identity, reason="enough"))
    claims = world.ended(job.identity)
    assert claims.outcome is Outcome.INTERRUPTED and processes_of(job.identity) == []


def test_work_on_the_machine_itself_is_outside_and_says_so(world: NodeWorld, tmp_path: Path) -> None:
    """A user's own command without a repository; at full-auto, or from inside a run, it is not."""
    mark, task = tmp_path / "mark", f"echo x >> {tmp_path}/mark"
    plain = world.run(world.job(task, run="r-desk", runtime="shell", workspace=NONE))
    assert (plain.outcome, plain.isolation, mark.read_text()) == (Outcome.DONE, Isolation.NONE, "x\n")
    assert [one.how.value for one in plain.enforced] == ["told only"]
    for run, changes in (("r-full", {"safety": Safety.FULL_AUTO}), ("r-deep", {"depth": 1})):
        inside = world.run(world.job(task, run=run, runtime="shell", workspace=NONE, **changes))
        assert inside.isolation is Isolation.SANDBOX
    assert mark.read_text() == "x\n"


def test_without_a_wall_full_auto_is_refused_here_too(world: NodeWorld) -> None:
    """The coordinator asked a node that had one: its word is old."""
    world.without_sandbox()
    refused = world.run(world.job("touch x", runtime="shell", safety=Safety.FULL_AUTO))
    assert (refused.outcome, refused.failure) == (Outcome.INFRA, FailureKind.SANDBOX)
    assert "nothing limits shell to full-auto on this node: no sandbox: this test" in refused.reason
    assert refused.usage.cost_usd == 0


def test_without_a_wall_being_told_is_enough_when_the_user_says_so(world: NodeWorld) -> None:
    world.without_sandbox()
    policy = world.job("x").policy.model_copy(update={"told_only": True})
    claims = world.run(world.job("touch x", runtime="shell", safety=Safety.FULL_AUTO, policy=policy))
    assert (claims.outcome, claims.isolation) == (Outcome.DONE, Isolation.NONE)
    assert [(one.rule, one.how.value) for one in claims.enforced] == [("full-auto", "told only")]


HOG = "import time; kept = [bytearray(4 << 20) for _ in range(60)]; time.sleep(60)"
FILL = "for n in $(seq 10); do head -c 8M /dev/urandom > f$n; done; cat f* > ~/all; sync -f .; sleep 60"
CROWD = "for n in $(seq 100); do sleep 60 & done; wait"


def test_who_takes_too_much_of_the_machine_is_ended_and_the_next_one_runs(world: NodeWorld) -> None:
    """Agent, set-up and gates: the agent's failure, or nobody's, and no fault of the node's."""
    owners = '{"memory": 134217728, "processes": 60, "disk": 67108864}'
    (world.home.root / "ceiling.json").write_text(owners)
    hog, crowd = ("python3", "-c", HOG), ("sh", "-c", CROWD)
    took = world.run(world.job(run="r-agent", runtime="shell", task="x", argv=hog))
    assert (took.outcome, took.failure) == (Outcome.ERROR, FailureKind.MEMORY_LIMIT)
    before = world.run(world.job("true", run="r-setup", runtime="shell", setup=(hog,)))
    assert before.failure is FailureKind.SETUP_FAILED and before.reason.endswith("(limits.memory)")
    gates = (Gate(name="big", argv=hog),)
    after = world.run(world.job("true", run="r-gate", runtime="shell", gates=gates))
    assert after.failure is FailureKind.GATE_NOT_JUDGED and "gate big was not judged" in after.reason
    full = (Gate(name="full", argv=("sh", "-c", FILL)),)
    filled = world.run(world.job("true", run="r-full", runtime="shell", gates=full))
    assert (filled.outcome, filled.failure) == (Outcome.INFRA, FailureKind.GATE_NOT_JUDGED)
    assert "it used more disk space than its limit of 64 MiB (limits.disk)" in filled.reason
    many = world.run(world.job(run="r-many", runtime="shell", task="x", argv=crowd))
    assert many.failure in (FailureKind.PROCESS_LIMIT, FailureKind.AGENT_FAILED), "its own end may be sooner"
    assert world.run(world.job("echo ok > done", run="r-next", runtime="shell")).outcome is Outcome.DONE


def test_a_gate_that_is_not_there(world: NodeWorld) -> None:
    gates = (Gate(name="gone", argv=("no-such-gate",)),)
    claims = world.run(world.job("#!scripted\nwrite a.txt x\nanswer ok", gates=gates))
    assert (claims.outcome, claims.failure) == (Outcome.ERROR, FailureKind.GATE_MISSING)


SECRET = Rules(paths=(PathRule(pattern="conf/secret", access=PathAccess.NONE),))


def test_moving_the_folder_above_uncovers_nothing_in_the_next_phase(world: NodeWorld) -> None:
    """Ignored by git, as secrets are: the check of the result sees nothing of it. The gate has a new one."""
    job = world.job(
        "mv conf c2; ! cat c2/secret",
        runtime="shell",
        policy=compile_policy(Safety.AUTO_EDIT, read_only=False, rules=SECRET),
        setup=(("sh", "-euc", "mkdir conf; echo t0ps3cret > conf/secret; echo '*' > conf/.gitignore"),),
        gates=(Gate(name="look", argv=("sh", "-c", "test -e conf/secret && ! cat */secret")),),
    )
    claims = world.run(job)
    assert claims.outcome is Outcome.DONE, claims.reason
    assert [gate.passed for gate in claims.gates] == [True]


def test_rules_that_name_more_than_can_be_covered_end_the_run_before_its_agent(world: NodeWorld) -> None:
    rules = Rules(paths=(PathRule(pattern="*.key", access=PathAccess.NONE),))
    job = world.job(
        "echo ran > ran",
        runtime="shell",
        policy=compile_policy(Safety.AUTO_EDIT, read_only=False, rules=rules),
        setup=(("sh", "-euc", "for n in $(seq 301); do echo x > $n.key; done"),),
    )
    claims = world.run(job)
    assert (claims.outcome, claims.failure) == (Outcome.INFRA, FailureKind.SANDBOX)
    assert "more than 300 paths" in claims.reason
