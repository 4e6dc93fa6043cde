"""Real programs with a vendor's login in the sandbox: they reach that vendor's host, and nothing else."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from node_agent.gateway.opening import WISH_FILE
from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.job import Job
from node_agent.wire.policy import Enforcement, Isolation, Safety, compile_policy
from node_agent.wire.receipt import Enforced
from tests.clis.conftest import path_of
from tests.clis.launched import CLAUDE, CLAUDE_SDK, CODEX, COPILOT, GEMINI, OPENCODE, Cli
from tests.clis.test_gateway import job_of
from tests.fakemodel import FakeModel, preset
from tests.integration.gateway.tls import authority, proxy_to
from tests.integration.node.gateway_world import GatewayWorld
from tests.integration.node.node_world import until

pytestmark = pytest.mark.slow


def jwt(**claims: Any) -> str:
    """One that nobody has signed; the program reads it and believes it."""
    parts = ({"alg": "none", "typ": "JWT"}, claims)
    words = [base64.urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=").decode() for one in parts]
    return ".".join([*words, "c2ln"])


TOKEN = "sk-ant-oat01-of-a-subscription-that-is-none"
OF_OPENAI = "https://api.openai.com/auth"
ACCESS = jwt(exp=4_000_000_000, email="a@b.c", **{OF_OPENAI: {"chatgpt_plan_type": "plus"}})
REFRESH = "what-makes-new-tokens-of-the-owner"


@dataclass(frozen=True)
class Kind:
    """One vendor's: what the owner has, as what its server knows the program, where that is."""

    cli: Cli
    host: str
    shown: str
    secrets: Mapping[str, str]
    login: Mapping[str, Any]
    besides: tuple[str, ...] = ()
    """Other hosts of its vendor's that it asks."""
    persona: str = "all"
    file: str = "auth.json"
    asks: int = 2
    """So many of the two ways that it tries by names come to the gateway at the least."""

    @property
    def hosts(self) -> tuple[str, ...]:
        return (self.host, *self.besides)


KINDS = {
    "claude": Kind(CLAUDE, "api.anthropic.com", TOKEN, {"CLAUDE_CODE_OAUTH_TOKEN": TOKEN}, {}),
    "codex": Kind(
        CODEX,
        "chatgpt.com",
        ACCESS,
        {},
        {
            "auth_mode": "chatgpt",
            "OPENAI_API_KEY": None,
            "tokens": {
                "id_token": ACCESS,
                "access_token": ACCESS,
                "refresh_token": REFRESH,
                "account_id": "a",
            },
            "last_refresh": "2026-11-20T00:00:00.000000Z",
        },
    ),
}
KINDS["claude-sdk"] = Kind(CLAUDE_SDK, "api.anthropic.com", TOKEN, {"CLAUDE_CODE_OAUTH_TOKEN": TOKEN}, {})
GITHUB = "github_pat_of_a_subscription_that_is_none"
KINDS["copilot"] = Kind(
    COPILOT,
    "api.individual.githubcopilot.com",
    GITHUB,
    {"COPILOT_GITHUB_TOKEN": GITHUB},
    {},
    besides=("api.github.com",),
    persona="github",
)
KINDS["opencode"] = Kind(
    replace(OPENCODE, model="gpt-5.5"),
    "chatgpt.com",
    ACCESS,
    {},
    {
        "openai": {"type": "oauth", "access": ACCESS, "refresh": REFRESH, "expires": 1, "accountId": "a"},
        "opencode": {"type": "api", "key": "another-key-of-the-owner"},
    },
    persona="openai",
    file="opencode/auth.json",
)
GOOGLE = "ya29.of-an-account-that-is-none"
KINDS["gemini"] = Kind(
    GEMINI,
    "cloudcode-pa.googleapis.com",
    GOOGLE,
    {"GOOGLE_CLOUD_ACCESS_TOKEN": GOOGLE},
    {},
    persona="google",
    asks=0,  # it takes addresses with a password in them out of what its shell sees, so no name is even asked
)
TRUST = ("NODE_EXTRA_CA_CERTS", "CODEX_CA_CERTIFICATE")


@dataclass
class Scene:
    kind: Kind
    world: GatewayWorld
    asked: list[str]
    """By name, of the owner's proxy."""

    def job(self) -> Job:
        """The private authority is the only thing that it names."""
        return job_of(self.world, self.kind.cli).model_copy(update={"env": TRUST})


@pytest.fixture
def scene(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Scene]:
    """The vendor is a scripted server with its name, which the owner's proxy finds here."""
    kind: Kind = KINDS[request.param]
    ca, context = authority(tmp_path, *kind.hosts)
    model = FakeModel({**preset("text"), "api_key": kind.shown}, persona=kind.persona)
    model.httpd.socket = context.wrap_socket(model.httpd.socket, server_side=True)
    with model, proxy_to(model.port) as proxy:
        one = GatewayWorld(tmp_path, model, kind.cli.runtime, path_of(kind.cli.runtime))
        one.owner_writes(**kind.secrets, **dict.fromkeys(TRUST, str(ca)))
        if kind.login:
            file = one.home.root / "logins" / kind.cli.runtime / kind.file
            file.parent.mkdir(parents=True)
            file.write_text(json.dumps(kind.login))
        (one.home.root / WISH_FILE).write_text(json.dumps({"https_proxy": proxy.url}))
        (one.home.root / "sandbox.json").write_text(json.dumps({"read": [str(ca)]}))
        one.begin()
        yield Scene(kind, one, proxy.heads)
        one.end()


every = pytest.mark.parametrize("scene", sorted(KINDS), indirect=True)


@every
def test_it_works_by_subscription(scene: Scene) -> None:
    world = scene.world
    claims = world.run(scene.job(), 90)
    assert (claims.outcome, claims.failure) == (Outcome.DONE, None), (claims.reason, scene.asked)
    assert claims.isolation is Isolation.SANDBOX
    assert Enforced(rule="network model", how=Enforcement.SANDBOX) in claims.enforced
    assert claims.calls is not None and claims.calls.subscription and claims.claimed is None
    assert claims.calls.requests >= 1 and claims.calls.received_bytes > 1000
    assert claims.usage.output_tokens == 34
    assert {head.split(" ")[1] for head in scene.asked} == {f"{host}:443" for host in scene.kind.hosts}


WHERE = {"codex": "$CODEX_HOME/auth.json", "opencode": "$XDG_DATA_HOME/opencode/auth.json"}


@pytest.mark.parametrize("scene", sorted(WHERE), indirect=True)
def test_a_run_has_of_a_login_s_file_no_more_than_it_needs(scene: Scene) -> None:
    """The program shows its vendor the token that is good for days, so an agent with a shell has that."""
    world = scene.world
    file_there = WHERE[scene.kind.cli.runtime]
    command = f"cat {file_there}; cat {file_there} >seen"
    world.model.set_script(says(command, ACCESS))
    job = full_auto(scene.job())
    seen: list[str] = []

    def looked() -> bool:
        file = world.home.root / "work" / str(job.identity) / "tree" / "seen"
        seen[:] = [file.read_text()] if file.is_file() else seen
        return bool(seen and seen[0])

    world.coordinator.push(job)
    until(looked, timeout_s=60)
    claims = world.ended(job.identity, 90)
    assert ACCESS in seen[0], "which its program shows its vendor"
    assert REFRESH not in seen[0] and "another-key" not in seen[0]
    log = world.log(job.identity)
    assert ACCESS.encode() not in log and REFRESH.encode() not in log and claims.outcome is Outcome.DONE
    kept = world.home.root / "logins" / scene.kind.cli.runtime / scene.kind.file
    assert json.loads(kept.read_text()) == scene.kind.login


@pytest.mark.parametrize("scene", ["codex", "copilot", "gemini", "opencode"], indirect=True)
def test_a_login_that_its_vendor_no_longer_takes(scene: Scene) -> None:
    scene.world.model.set_script({**preset("text"), "api_key": "another"})
    claims = scene.world.run(scene.job(), 90)
    assert (claims.outcome, claims.failure) == (Outcome.INFRA, FailureKind.MODEL_AUTH), claims.reason


def says(command: str, key: str) -> dict[str, Any]:
    """What the model wants to be run in a shell."""
    return {"turns": [{"tool": "shell", "args": {"command": command}}, {"text": "Done."}], "api_key": key}


def full_auto(job: Job) -> Job:
    policy = compile_policy(Safety.FULL_AUTO, read_only=False)
    return job.model_copy(update={"safety": Safety.FULL_AUTO, "policy": policy})


PROBE = """\
tried() { if python3 -c "$2" >/dev/null 2>&1; then echo "DID $1" >> told; else echo "not $1" >> told; fi; }
tried port 'import socket; socket.create_connection(("127.0.0.1", %(port)d), 3)'
tried elsewhere 'import os, urllib.request as u; u.urlopen("https://elsewhere.example/", timeout=5)'
tried plain 'import os, urllib.request as u; u.urlopen("http://elsewhere.example/", timeout=5)'
tried itself 'pass'"""


@every
def test_nothing_else_is_reached_by_it(scene: Scene) -> None:
    """Its shell has the way to the vendor, as the program must have it; no other name is on it."""
    world = scene.world
    command = PROBE % {"port": world.model.port}
    world.model.set_script(says(command, scene.kind.shown))
    job = full_auto(scene.job())
    told: list[str] = []

    def looked() -> bool:
        file = world.home.root / "work" / str(job.identity) / "tree" / "told"
        told[:] = file.read_text().splitlines() if file.is_file() else told
        return "DID itself" in told

    world.coordinator.push(job)
    until(looked, timeout_s=60, told=lambda: str(told))
    claims = world.ended(job.identity, 90)
    assert told == ["not port", "not elsewhere", "not plain", "DID itself"]
    assert claims.calls is not None and claims.calls.refused >= scene.kind.asks, "the gateway said no"
