"""Bring-up is idempotent and restarts only for a change; what runs continues; removal leaves nothing."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pancode.fleet.acts import NodeResult, ProgressLine
from pancode.fleet.bundle.archive import Bundle, sha256_of
from pancode.fleet.bundle.contents import node_agent_folder
from pancode.fleet.bundle.store import BundleStore
from pancode.fleet.ssh import bringup, steps
from pancode.fleet.ssh.bringup import BringUpPlan, authorized_line, bring_up, format_marker
from pancode.fleet.ssh.errors import RemoteFailed
from pancode.fleet.ssh.loopback.server import LoopbackNode, LoopbackServer
from pancode.fleet.ssh.probe import NodeProbe, probe_node
from pancode.fleet.ssh.readiness import list_platforms
from pancode.fleet.ssh.remote import Remote
from pancode.fleet.ssh.step_runner import run_step
from pancode.fleet.ssh.steps import HomeFile, NodeLocation, StepName
from pancode.kernel.errors import ConflictError, UnavailableError
from tests.integration.ssh.world import KEYS, SshLab, remote, world

FLEET = "f1"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMtL8jLEu/a6cJZTn+PFC5C/WmctCxUsUoiMrlzbk5a9"


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The node agent's package with the stand-in as its entry."""
    folder = tmp_path_factory.mktemp("agent") / "node_agent"
    shutil.copytree(node_agent_folder(), folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(Path(__file__).with_name("stand_in.py"), folder / "cli/main.py")
    return folder


@pytest.fixture(scope="module")
def store(agent: Path, tmp_path_factory: pytest.TempPathFactory) -> BundleStore:
    return BundleStore(tmp_path_factory.mktemp("bundles"), agent=agent, level=1)


@pytest.fixture(autouse=True)
def nothing_is_left_running(tmp_path: Path) -> Iterator[None]:
    yield
    for name in ("agent.pid", "attempt.pid"):
        for path in tmp_path.rglob(name):
            subprocess.run(["kill", "-KILL", path.read_text().strip()], capture_output=True, check=False)


class BringUp:
    """The coordinator's half: what it gives to bring-up and what it is told."""

    def __init__(self, store: BundleStore, settings: bytes = b"{}") -> None:
        self.settings, self.keys, self.reports = settings, list[str](), list[ProgressLine]()
        self.hangs = False
        self.plan = BringUpPlan("n", FLEET, store, self.files, self.link, self.heartbeat, lambda: 0)

    async def files(self, key: str, found: NodeProbe) -> list[HomeFile]:
        self.keys.append(key)
        return [
            HomeFile("node.json", self.settings),
            HomeFile("key/coordinator.pub", b"pub", 0o644),
            HomeFile("ceiling.json", b"{}", keep=True),
        ]

    async def link(self, found: NodeProbe) -> bool:
        return False

    async def heartbeat(self, fresh: bool) -> None:
        if self.hangs and not fresh:
            raise UnavailableError("no heartbeat came")

    async def up(self, node: Remote) -> NodeResult:
        self.reports.clear()
        return await bring_up(node, self.plan, self.reports.append)

    async def remove(self, node: Remote) -> NodeResult:
        return await bringup.take_out(node, self.plan, self.reports.append)


def home(it: SshLab) -> Path:
    return it.home / ".pancode-node" / FLEET


def pid(it: SshLab, name: str = "agent") -> int:
    return int((home(it) / f"run/{name}.pid").read_text())


def alive(number: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*"))


@pytest.mark.slow
def test_an_agent_that_hangs_is_started_again_and_what_runs_goes_on(
    tmp_path: Path, store: BundleStore
) -> None:
    async def go() -> None:
        async with world(tmp_path) as it, remote(it) as node:
            fleet = BringUp(store)
            await fleet.up(node)
            old, attempt = pid(it), pid(it, "attempt")
            os.kill(old, signal.SIGSTOP)
            fleet.hangs = True
            unstuck = await fleet.up(node)
            assert unstuck.ok and unstuck.changed == (StepName.START,), unstuck
            assert pid(it) != old and not alive(old) and alive(attempt)

    asyncio.run(go())


@pytest.mark.slow
def test_up_again_upgrade_and_remove(tmp_path: Path, agent: Path, store: BundleStore) -> None:
    async def go() -> None:
        async with world(tmp_path) as it, remote(it) as node:
            before = files(it.home)
            fleet = BringUp(store)
            first = await fleet.up(node)
            assert first.ok and fleet.keys[0].startswith("public-half-of"), first.problems
            assert [r.step for r in fleet.reports if r.state != "started"] == [
                *(StepName.PROBE, StepName.HOME, StepName.BUNDLE, StepName.KEY, StepName.ENROL),
                *(StepName.UNIT, StepName.CONNECT, StepName.START, StepName.HEARTBEAT),
            ]
            old, attempt = pid(it), pid(it, "attempt")
            assert alive(old) and alive(attempt)
            assert (home(it) / "key/node.key").stat().st_mode & 0o777 == 0o600
            assert (home(it) / "key/coordinator.pub").stat().st_mode & 0o777 == 0o644

            again = await fleet.up(node)
            assert again.ok and again.changed == () and pid(it) == old and len(set(fleet.keys)) == 1

            (home(it) / "ceiling.json").write_text('{"safety":"suggest"}')
            fleet.settings = b'{"slots":3}'
            changed = await fleet.up(node)
            assert changed.changed == (StepName.ENROL, StepName.START) and pid(it) != old
            assert (home(it) / "node.json").read_bytes() == fleet.settings
            assert "suggest" in (home(it) / "ceiling.json").read_text()

            code = home(it) / "current/lib/node_agent/cli"
            for damaged in (code / "main.py", next(code.glob("__pycache__/main.*.pyc"))):
                old, whole = pid(it), damaged.read_bytes()
                damaged.write_bytes(whole[:20])
                mended = await fleet.up(node)
                assert mended.changed == (StepName.BUNDLE, StepName.START) and pid(it) != old
                assert damaged.read_bytes() == whole

            old = pid(it)
            newer = shutil.copytree(agent, tmp_path / "newer" / "node_agent")
            (newer / "more.py").write_text("x = 1\n")
            fleet.plan = BringUpPlan(
                "n",
                FLEET,
                BundleStore(store.folder, agent=newer, level=1),
                *(fleet.files, fleet.link, fleet.heartbeat, lambda: 0),
            )
            upgraded = await fleet.up(node)
            assert upgraded.changed == (StepName.BUNDLE, StepName.START)
            assert pid(it) != old and not alive(old) and alive(attempt)
            assert (home(it) / "current/lib/node_agent/more.py").exists()
            assert len(list((home(it) / "bundles").iterdir())) == 2

            running = pid(it)
            (home(it) / "secrets.json").write_text("{}")
            removed = await fleet.remove(node)
            assert removed == NodeResult("n", True, (), ("removed", str(home(it) / "secrets.json")))
            assert not alive(running) and not alive(attempt)
            assert files(it.home) == before
            assert await fleet.remove(node) == NodeResult("n", True)

    asyncio.run(go())


def test_a_home_of_another_node_is_refused_before_anything_changes(
    tmp_path: Path, store: BundleStore
) -> None:
    async def go() -> None:
        async with world(tmp_path) as it, remote(it) as node:
            home(it).mkdir(parents=True, mode=0o700)
            (home(it) / "node.json").write_text(json.dumps({"fleet": FLEET, "name": "a"}, indent=2))
            before, fleet, seen = files(it.home), BringUp(store), list[str]()

            async def check(found: NodeProbe) -> None:
                seen.append(found.named)
                raise ConflictError("n and a use the same node home", why="shared", fix="x", code="same_home")

            fleet.plan = replace(fleet.plan, check=check)
            result = await fleet.up(node)
            assert not result.ok and seen == ["a"] and fleet.keys == []
            assert files(it.home) == before

    asyncio.run(go())


@pytest.mark.slow
def test_the_bundle_runs_alone(tmp_path: Path, store: BundleStore) -> None:
    async def go() -> None:
        async with world(tmp_path) as it, remote(it) as node:
            bundle, place, python = await _unpacked(it, node, store)
            start = f"{place.node_home}/current/start.py"
            code = "import sys; sys.argv=['x','key','-','/']; import start; start.isolate(); import pancode"
            lonely = f"import sys; sys.path.insert(0, {start.removesuffix('start.py')!r}); {code}"
            done = await node.run([python, "-I", "-S", "-B", "-c", lonely], 20)
            assert done.status == 1 and b"No module named 'pancode'" in done.stderr
            where = "import hiredis, node_agent, pydantic as p; print(hiredis, node_agent, p)"
            done = await node.run(
                [python, "-I", "-S", "-B", "-c", lonely.replace("import pancode", where)], 20
            )
            assert done.text.count(f"/bundles/{bundle.name}/lib/") == 3, done

    asyncio.run(go())


async def _unpacked(it: SshLab, node: Remote, store: BundleStore) -> tuple[Bundle, NodeLocation, str]:
    found = await probe_node(node, FLEET)
    place = NodeLocation.of(FLEET, found)
    fit = list_platforms(found)
    platform, bundle = store.bundle_for([p for _, p in fit])
    python = next(p for p, wheels in fit if wheels == platform)
    await run_step(node, steps.home_step(place))
    await run_step(node, steps.bundle_step(place, found, bundle, python))
    return bundle, place, python.path


@pytest.mark.slow
def test_a_damaged_bundle_never_becomes_one(tmp_path: Path, store: BundleStore) -> None:
    async def go() -> None:
        async with world(tmp_path) as it, remote(it) as node:
            bundle, place, _ = await _unpacked(it, node, store)
            found = await probe_node(node, FLEET)
            assert found.bundles == (bundle.name,) and found.current == f"bundles/{bundle.name}"
            other = replace(bundle, digest="0" * 64, sha256="0" * 64)
            with pytest.raises(RemoteFailed) as caught:
                await run_step(node, steps.bundle_step(place, found, other, found.pythons[0]))
            assert "not the one that was sent" in caught.value.why
            cut = tmp_path / "cut.tar.gz"
            cut.write_bytes(bundle.path.read_bytes()[:100_000])
            broken = replace(bundle, digest="1" * 64, path=cut, sha256=sha256_of(cut))
            with pytest.raises(RemoteFailed):
                await run_step(node, steps.bundle_step(place, found, broken, found.pythons[0]))
            assert [p.name for p in (home(it) / "bundles").iterdir()] == [bundle.name]
            assert os.readlink(home(it) / "current") == f"bundles/{bundle.name}"

    asyncio.run(go())


@pytest.mark.slow
def test_an_agent_that_does_not_start_is_reported_with_its_words(tmp_path: Path, store: BundleStore) -> None:
    async def go() -> None:
        async with world(tmp_path) as it, remote(it) as node:
            fleet = BringUp(store)
            place = NodeLocation.of(FLEET, await probe_node(node, FLEET))
            await run_step(node, steps.home_step(place))
            (home(it) / "broken").write_text("")
            out = await fleet.up(node)
            assert fleet.reports[-1].step == StepName.START and not out.ok
            assert "the settings are broken" in out.problems[0]["what"]
            assert fleet.reports[-1].state == "failed"
            assert (await fleet.remove(node)).ok

    asyncio.run(go())


@pytest.mark.slow
def test_a_newer_node_agent_is_left_alone_and_named_with_what_helps(
    tmp_path: Path, store: BundleStore
) -> None:
    """What would be done otherwise, a restart for other settings, is shown first."""

    async def go() -> None:
        async with world(tmp_path) as it, remote(it) as node:
            assert (await BringUp(store).up(node)).ok
            pid = (home(it) / "run/agent.pid").read_text()
            (home(it) / "layout").write_text("99\n")
            fleet = BringUp(store, settings=b'{"slots": 9}')
            out = await fleet.up(node)
            assert fleet.reports[-1].step == StepName.PROBE and not out.ok
            (problem,) = (found for found in out.problems if "layout" in found["what"])
            assert "layout 99" in problem["what"]
            assert problem["fix"].startswith("start this fleet with the last version of PanCode used here")
            assert (home(it) / "run/agent.pid").read_text() == pid and Path(f"/proc/{int(pid)}").exists()
            assert (await fleet.remove(node)).ok

    asyncio.run(go())


@pytest.mark.parametrize("how", ["other fleet", "not empty", "link", "file"])
def test_a_home_that_is_not_ours_is_neither_used_nor_removed(
    tmp_path: Path, store: BundleStore, how: str
) -> None:
    async def go() -> None:
        async with world(tmp_path) as it, remote(it) as node:
            place = home(it)
            place.parent.mkdir()
            if how == "other fleet":
                place.mkdir()
                (place / ".pancode-node").write_text("f2\n")
            elif how == "not empty":
                place.mkdir()
                (place / "thesis.tex").write_text("years of work")
            elif how == "link":
                (tmp_path / "precious").mkdir()
                place.symlink_to(tmp_path / "precious")
            else:
                place.write_text("a file")
            before = files(tmp_path)
            fleet = BringUp(store)
            out = await fleet.up(node)
            assert fleet.reports[-1].step == StepName.HOME and out.problems[0]["what"]
            with pytest.raises(RemoteFailed, match="stop|remove"):
                await BringUp(store).remove(node)
            assert files(tmp_path) == before

    asyncio.run(go())


@pytest.mark.parametrize(
    "before", [None, "", "ssh-rsa AAAA me", "ssh-rsa AAAA me\nrestrict ssh-ed25519 AAA pancode fleet f2\n"]
)
def test_the_fleet_key_comes_and_goes_and_nothing_else_moves(tmp_path: Path, before: str | None) -> None:
    async def go() -> None:
        async with world(tmp_path) as it, remote(it) as node:
            keys = it.home / ".ssh/authorized_keys"
            if before is not None:
                keys.parent.mkdir()
                keys.write_text(before)
                keys.chmod(0o640)
            line = authorized_line(KEY, FLEET)
            step = steps.install_key_step(line, format_marker(FLEET))
            assert (await run_step(node, step)).changed and not (await run_step(node, step)).changed
            assert keys.read_text().splitlines() == [*(before or "").splitlines(), line]
            rotated = steps.install_key_step(line.replace("IMtL8", "IMtL9"), format_marker(FLEET))
            await run_step(node, rotated)
            assert keys.read_text().count(format_marker(FLEET)) == 1
            found = NodeLocation.of(FLEET, await probe_node(node, FLEET))
            proof = steps.prove_step(found, format_marker(FLEET))
            assert (await run_step(node, proof)).values("left") == (f"key {keys}",)
            done = [await run_step(node, s) for s in steps.remove_steps(found, format_marker(FLEET))]
            assert done[-1].values("left") == () and done[-1].value("looked") == "yes"
            assert keys.read_text().splitlines() == (before or "").splitlines()
            if before is not None:
                assert keys.stat().st_mode & 0o777 == 0o640

    asyncio.run(go())


@pytest.mark.slow
def test_removal_finds_what_hides(tmp_path: Path, store: BundleStore) -> None:
    async def go() -> None:
        async with world(tmp_path) as it, remote(it) as node:
            place = NodeLocation.of(FLEET, await probe_node(node, FLEET))
            await run_step(node, steps.home_step(place))
            deaf = "trap '' TERM INT; cd work; mkdir -m 500 locked; : > locked/x 2>/dev/null; sleep 302"
            await node.run(
                [
                    "sh",
                    "-c",
                    'cd "$1" && setsid -f sh -c "$2" </dev/null >/dev/null 2>&1',
                    "sh",
                    str(home(it)),
                    deaf,
                ],
                10,
            )
            await node.run(
                [
                    "sh",
                    "-c",
                    'cd / && X="$1/y" setsid -f sleep 303 </dev/null >/dev/null 2>&1',
                    "sh",
                    str(home(it)),
                ],
                10,
            )
            proof = await run_step(node, steps.prove_step(place, format_marker(FLEET)))
            kinds = sorted(left.split()[0] for left in proof.values("left"))
            assert kinds[0] == "file" and kinds.count("process") >= 3, proof
            assert (await BringUp(store).remove(node)).ok

    asyncio.run(go())


def test_two_fleets_on_one_node_do_not_touch_each_other(tmp_path: Path, store: BundleStore) -> None:
    async def go() -> None:
        async with world(tmp_path) as it, remote(it) as node:
            for name in ("f1", "f2"):
                await run_step(node, steps.home_step(NodeLocation.of(name, await probe_node(node, name))))
            assert (await BringUp(store).remove(node)).ok
            assert [p.name for p in (it.home / ".pancode-node").iterdir()] == ["f2"]

    asyncio.run(go())


@pytest.mark.slow
def test_an_odd_home_folder_is_no_obstacle(tmp_path: Path, store: BundleStore) -> None:
    """Blanks, quotes, a `$` and letters with accents in the path, and a path too long for sockets."""

    async def go() -> None:
        async with world(tmp_path) as it:
            odd = tmp_path / ("it's $HOME é " + "x" * 60)
            server = LoopbackServer(LoopbackNode("odd", "me", odd, KEYS))
            await server.start()
            it.server.stop, plain = server.stop, it.server  # type: ignore[method-assign]
            it.server = server
            it.pins[server.target.endpoint] = server.host_key
            async with remote(it) as node:
                out = await BringUp(store).up(node)
                assert out.ok, out.problems
                assert (await BringUp(store).remove(node)).ok
                assert files(odd) == []
            await LoopbackServer.stop(plain)

    asyncio.run(go())
