"""The images: their file keeps what it promises, and what its steps make works on a read-only root."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from tests.crowd import crowded
from tests.integration.faces.conftest import until
from tests.lab.system import wait_for
from tests.stack.__main__ import context_in
from tests.stack.acts import ENDED, NODES, SCRAPED_S, dashboard, dispatch, enrol, figure, finished, told
from tests.stack.compose import read as read_compose
from tests.stack.containerfile import Stage, read
from tests.stack.plain import Ground, Image, build, packages
from tests.stack.running import PROFILES, Running, running

ROOT = Path(__file__).parents[3]
COMPOSE = ROOT / "docker-compose.yml"
STAGES = read(ROOT / "deploy" / "Containerfile")
TARGETS = ("coordinator", "node", "dashboard")


def stages_of(target: str) -> list[Stage]:
    """The target and what it stands on."""
    stage = STAGES[target]
    return [*(stages_of(stage.of) if stage.of in STAGES else []), stage]


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_keeps_what_it_promises(target: str) -> None:
    stage = STAGES[target]
    assert min(stage.user()) > 10_000, "a plain user, by number, so that nobody has to look it up"
    assert stage.last("HEALTHCHECK") and stage.last("ENTRYPOINT")
    assert target == "dashboard" or len(stage.last("VOLUME")) == 1, "which keeps nothing"
    after = [step.name for step in stage.steps]
    assert not set(after[after.index("USER") :]) & {"RUN", "COPY", "ADD"}, "nothing is made as that user"
    for step in (step for stage in stages_of(target) for step in stage.steps):
        assert step.name != "ADD" and not re.search(
            r"curl|wget|https?:(?!//127)|chmod 777|sudo", str(step.words)
        )
        if step.name == "RUN" and isinstance(step.words, str) and "apt-get" in step.words:
            assert packages(step), f"lists are left, or more is installed than is named: {step.words}"
    assert not re.search(r"(?i)secret|password|token", str(stage.environ()))


def test_stages_that_build_do_not_end_up_in_an_image() -> None:
    names = {
        package for stage in stages_of("coordinator") for step in stage.steps for package in packages(step)
    }
    assert "python3-venv" not in names
    assert [s.flags for s in STAGES["coordinator"].steps if "from" in s.flags] == [{"from": "build"}]


@pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="not built yet: only with Debian's packages")
def test_debian_has_the_packages() -> None:
    names = {package for stage in STAGES.values() for step in stage.steps for package in packages(step)}
    listed = subprocess.run(["dpkg-query", "-W", *sorted(names)], capture_output=True, text=True, check=False)
    assert listed.returncode == 0, listed.stderr


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    """A clone with its wheel and secrets made, and the locked wheels; no network."""
    return context_in(tmp_path_factory.mktemp("images") / "context")


@pytest.fixture(scope="module")
def made(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The coordinator's image; shown read-only, so that all may have it."""
    if os.getuid() != 0:
        pytest.skip("not root")
    if sys.version_info[:2] != (3, 11):
        pytest.skip("no Python 3.11 runs these tests: it is the images', and the wheels are for ours")
    return build(ground, "coordinator", tmp_path_factory.mktemp("coordinator") / "image")


@pytest.mark.slow
def test_the_coordinators_steps_make_one_that_works_read_only(made: Image, tmp_path: Path) -> None:
    """As its image would: a plain user, all of it read-only but the volume and /tmp."""
    (place,) = made.stage.last("VOLUME")
    home = tmp_path / "volume"
    home.mkdir()
    os.chown(home, *made.stage.user())
    volume = ["--bind", str(home), place, "--unshare-net"]
    check = [*made.stage.last("HEALTHCHECK")]
    inside = """
"$@" & pid=$!
while kill -0 $pid && ! pancode serve --check 2>/dev/null; do sleep 0.2; done
touch /opt/x /etc/x /usr/x /x 2>/dev/null; ls /opt/x /etc/x /usr/x /x 2>/dev/null
id -u; grep CapEff /proc/self/status; pancode serve --check; echo answers $?
kill $pid; wait $pid; echo ended $?
pancode serve --check 2>/dev/null; echo after $?
"""
    assert check == ["pancode", "serve", "--check"]
    argv = made.command(["sh", "-c", inside, "sh", *made.stage.last("ENTRYPOINT")], {}, volume)
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=300)
    lines = done.stdout.split("\n")
    uid = str(made.stage.user()[0])
    assert lines == [uid, "CapEff:\t0000000000000000", "answers 0", "ended 0", "after 6", ""], done.stderr
    assert (home / "home/key/coordinator.key").stat().st_uid == int(uid)


@pytest.mark.slow
def test_the_nodes_steps_make_an_ssh_server_that_tells_its_key(ground: Ground, tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("not root")
    image = build(ground, "node", tmp_path / "image")
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    key = secrets / "node_host_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    key.chmod(0o444)  # readable for the container's user; the folder around it is closed
    (secrets / "node_authorized_keys").touch()
    more = ["--ro-bind", str(secrets), "/run/secrets", "--unshare-net"]
    healthy = image.stage.last("HEALTHCHECK")
    asked = 'while kill -0 $! && ! eval "$CHECK"; do sleep 0.2; done; eval "$CHECK"'
    inside = f'"$0" "$@" & {asked} && id -u'
    environ = {"CHECK": healthy[2]}
    argv = image.command(["sh", "-c", inside, *image.stage.last("ENTRYPOINT")], environ, more)
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0 and done.stdout == f"{image.stage.user()[0]}\n", done.stderr


def test_compose_says_what_its_schema_allows() -> None:
    """By the schema that check-jsonschema brings along."""
    argv = [str(ROOT / ".venv/ansible/bin/check-jsonschema"), "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*argv, str(COMPOSE)], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_image_of_others_is_fetched_by_its_digest_or_not_at_all() -> None:
    services = yaml.safe_load(COMPOSE.read_text())["services"].values()
    theirs = [one["image"] for one in services if "build" not in one]
    bases = {one["build"]["args"]["BASE"] for one in services if "build" in one}
    assert len(theirs) == 3 and len(bases) == 1
    pinned = r"[a-z0-9/]+:[a-z0-9.-]+\$\{([A-Z]+_DIGEST):\+@\}\$\{\1\?run deploy/pin-images\}"
    assert all(re.fullmatch(pinned, one) for one in (*theirs, *bases))
    assert "\nARG BASE\n" in (ROOT / "deploy" / "Containerfile").read_text(), "it has no base by tag"


DIGEST_OF_ITS_NAME = "echo sha256:$(echo $4 | sha256sum | head -c 64)"


def _pinned(folder: Path, *options: str, says: str = DIGEST_OF_ITS_NAME) -> subprocess.CompletedProcess[str]:
    """`deploy/pin-images` in a copy of our files, with a `docker` that says that."""
    (folder / "deploy").mkdir(exist_ok=True)
    shutil.copy(ROOT / "deploy" / "pin-images", folder / "deploy")
    shutil.copy(COMPOSE, folder)
    (folder / "docker").write_text(f"#!/bin/sh\n{says}\n")
    (folder / "docker").chmod(0o755)
    environ = {"PATH": f"{folder}:/usr/bin:/bin"}
    argv = [str(folder / "deploy" / "pin-images"), *options]
    return subprocess.run(argv, env=environ, capture_output=True, text=True, check=False, timeout=60)


def test_digests_are_looked_up_and_kept(tmp_path: Path) -> None:
    kept = tmp_path / ".env"
    kept.write_text("COMPOSE_PROFILES=dashboard\nVALKEY_DIGEST=old\n")
    done = _pinned(tmp_path)
    assert done.returncode == 0, done.stderr
    lines = kept.read_text().splitlines()
    names = [f"{name}_DIGEST" for name in ("BASE", "POSTGRES", "PROMETHEUS", "VALKEY")]
    assert [line.partition("=")[0] for line in lines] == [*names, "COMPOSE_PROFILES"]
    digests = {line.partition("=")[2] for line in lines[:4]}
    assert len(digests) == 4 and all(re.fullmatch("sha256:[0-9a-f]{64}", one) for one in digests)
    valkey = hashlib.sha256(b"valkey/valkey:8-alpine\n").hexdigest()
    assert f"VALKEY_DIGEST=sha256:{valkey}" in lines and done.stdout.splitlines() == lines[:4]
    assert _pinned(tmp_path, "--by-tag", says="exit 1").returncode == 0
    assert kept.read_text().splitlines() == [*(f"{name}=" for name in names), "COMPOSE_PROFILES=dashboard"]


@pytest.mark.parametrize("says", ["exit 1", "echo latest", "echo sha256:12", "true"])
def test_no_digest_changes_nothing(tmp_path: Path, says: str) -> None:
    (tmp_path / ".env").write_text("VALKEY_DIGEST=old\n")
    done = _pinned(tmp_path, says=says)
    assert done.returncode == 1 and "no digest could be looked up" in done.stderr and "fix: " in done.stderr
    assert (tmp_path / ".env").read_text() == "VALKEY_DIGEST=old\n"


def test_compose_keeps_secrets_in_files_and_publishes_to_this_machine_alone() -> None:
    text = COMPOSE.read_text()
    services = yaml.safe_load(text)["services"]
    assert not [
        n for n, one in services.items() for v in one.get("environment", {}) if re.search("PASSWORD$", v)
    ]
    assert all(port.startswith("127.0.0.1:") for one in services.values() for port in one.get("ports", ()))
    plain = {one.name for one in read_compose(COMPOSE)}
    assert plain == set(services) - {"rq-dashboard", "prometheus"}
    assert {one.name for one in read_compose(COMPOSE, PROFILES)} == set(services)


@pytest.mark.slow
def test_the_stack_of_compose_runs_as_plain_processes(ground: Ground, made: Image, tmp_path: Path) -> None:
    """Over 30 s on a busy node: a whole fleet of seven services is started, and two nodes come up."""
    tmp_path.chmod(0o755)
    secrets = [
        (ground.context / f"secrets/{name}_password").read_bytes() for name in ("postgres", "dashboard")
    ]
    with running(ground, ground.context / "docker-compose.yml", tmp_path, {"coordinator": made}) as stack:
        names = list(stack)
        assert set(names[:4]) == {"valkey", "postgres", *NODES}, "what each waits for comes first"
        assert names.index("coordinator") < names.index("prometheus"), names
        assert enrol(stack).count("online") == 2
        for node in NODES:
            said = dispatch(stack, node, "sh", "-c", "id -un; touch /etc/x || echo read-only")
            assert said.startswith("node\nread-only\n") and "done" in said
        assert "PostgreSQL" in told(stack["coordinator"], "pancode", "doctor")
        wait_for(lambda: figure(stack, ENDED), SCRAPED_S * crowded(), "Prometheus has seen both runs")
        assert figure(stack, "up") == ['up{instance="coordinator:9464", job="pancode"} => 1']
        heard = [f'{{node="{node}"}} => 1' for node in NODES]
        assert sorted(figure(stack, "sum by (node) (pancode_node_up)")) == heard
        assert figure(stack, 'ALERTS{alertstate="firing"}') == []
        rows = ("sh", "-c", "psql -h /run/postgresql -U pancode -Atc 'select count(*) from runs'")
        assert told(stack["postgres"], *rows) == "2\n"
        for process in Path("/proc").glob("[0-9]*"):
            assert not any(secret in _shown(process) for secret in secrets)
        _the_dashboard_shows_and_cannot_write(stack)
        _its_user_only_reads(stack["valkey"], secrets[1].decode())
        _the_dashboard_unpickles_nothing(stack)
        pids = [one.pid for one in stack.values()]
    until(lambda: not [pid for pid in pids if _works(pid)], "each first program has ended")
    spaces = subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True)
    assert f"pcs{os.getpid()}-" not in spaces.stdout


def _the_dashboard_shows_and_cannot_write(stack: Mapping[str, Running]) -> None:
    """RQ's own, as it is installed by its locked list, on the jobs of the two runs."""
    before = finished(stack)
    assert len(before) == 2, before
    for queue, (job,) in before.items():
        status, whole = dashboard(stack, f"/0/data/job/{job['id']}.json")
        assert status == 200 and whole["description"] == job["description"] and job["ended_at"], whole
        assert job["description"].startswith("job r-")
        assert dashboard(stack, f"/job/{job['id']}/requeue", "POST") == (500, None)
        assert dashboard(stack, f"/queue/{queue}/compact", "POST") == (500, None)
        assert dashboard(stack, f"/job/{job['id']}/delete", "POST")[1] == {"status": "DISABLED"}
    assert {one["name"] for one in dashboard(stack, "/0/data/workers.json")[1]["workers"]}
    assert finished(stack) == before
    assert "can't run" in stack["rq-dashboard"].said() or "no permissions" in stack["rq-dashboard"].said()


def _the_dashboard_unpickles_nothing(stack: Mapping[str, Running]) -> None:
    """What a node's own user may write, and the page that by itself would run it."""
    bomb = "cposix\nmkdir\n(V/tmp/boom\ntR."
    assert dashboard(stack, "/0/data/workers.json")[1]["workers"]
    (queue, jobs), *_ = finished(stack).items()
    job, tag = jobs[0]["id"], queue.removeprefix("node.")
    writes = [("hset", f"rq:job:{job}", field, bomb) for field in ("data", "meta", "result")]
    writes.append(("hset", f"rq:worker:{tag}", "current_job", job))
    for words in writes:
        ask = 'REDISCLI_AUTH="$(cat /run/secrets/valkey_password)" exec valkey-cli "$@"'
        told(stack["valkey"], "sh", "-c", ask, "sh", *words)
    for page in (f"/0/data/job/{job}.json", "/0/data/workers.json"):
        dashboard(stack, page)  # 500, as there is no JSON: a node can spoil a page, and run nothing by it
    assert "boom" not in told(stack["rq-dashboard"], "ls", "/tmp")


def _its_user_only_reads(valkey: Running, password: str) -> None:
    asked = ("env", f"REDISCLI_AUTH={password}", "valkey-cli", "--user", "dashboard")
    assert valkey.exec(*asked, "scard", "rq:queues").stdout == "2\n"
    writes = (
        "set rq:x 1",
        "del rq:queues",
        "flushall",
        "config get *",
        "client kill type normal",
        "eval x 0",
    )
    for words in (*writes, "get pancode:x", "publish x y", "acl list", "keys *"):
        said = valkey.exec(*asked, *words.split())
        assert "NOPERM" in said.stdout + said.stderr, (words, said)


def _works(pid: int) -> bool:
    """Whether it is there, and not only its name: nobody may be there to take a dead one off the list."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _shown(process: Path) -> bytes:
    """What a process shows of itself: arguments and environment."""
    try:
        return (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
    except OSError:
        return b""


def test_the_health_of_nobody_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pancode.interfaces.cli.main import run

    monkeypatch.setenv("PANCODE_HOME", str(tmp_path / "none"))
    assert run(["serve", "--check"]) == 6
    until(lambda: not (tmp_path / "none").exists(), "nothing was begun")
