"""What a chat says before its first message, from answers of the API; and what `pancode` alone becomes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pancode.interfaces.cli import main as entry
from pancode.kernel.declared import to_json
from pancode.kernel.errors import ConfigError, ExitCode, NotFoundError, PancodeError, RefusedError
from pancode.reports.now import arrange_now
from pancode.sessions.commands import preflight
from pancode.sessions.commands.preflight import Found, found_lines, prepare_session
from tests.fakes.api import FakeApi
from tests.unit.pancode.reports.test_now import snapshot

DAY = {"scope": "day:2026-11-24", "ceiling_usd": "10", "remaining_usd": "7.5", "over": False}
PLAN: dict[str, Any] = {
    "admitted": True, "gates": [], "agent": "panos", "model": "qwen3:8b", "runtime": "native",
    "mode": "build", "safety": "auto-edit", "project": "/home/ana/shop",
    "nodes": [{"node": "vm", "ready": True, "fits": True}],
}  # fmt: skip
NOTHING = RefusedError("no program or model is ready", fix="on vm: ollama pull qwen3:8b")


def node(name: str, state: str = "online", **runtimes: str) -> Any:
    told = [{"name": one, "state": how} for one, how in {"shell": "ok", **runtimes}.items()]
    return {"name": name, "state": state, "runtimes": told}


def lines(*nodes: dict[str, Any], **more: Any) -> list[str]:
    fleet: Any = {"nodes": list(nodes)}
    what: dict[str, Any] = {"models": [], "budget": {"scopes": [DAY]}, "waits": "", "plan": PLAN, **more}
    told = found_lines(Found(fleet, **what))
    assert len(told) <= 8
    return list(map(str, told))


def test_all_that_is_there_stands_in_seven_lines() -> None:
    models = [{"ref": "gpubox/ollama/qwen3:8b", "embedding": False}, {"ref": "x", "embedding": True}]
    fleet = (
        node("gpubox", native="ok", claude="not_logged_in"),
        node("vm", claude="ok"),
        node("old", "lost"),
    )
    assert lines(*fleet, models=models, waits="2 need you: 1 asking, 1 to land", preset="local") == [
        "ok  nodes     gpubox, vm; unreachable: old (lost): pancode node ls",
        "ok  programs  native, claude",
        "ok  models    gpubox/ollama/qwen3:8b",
        "ok  budget    $7.50 of $10.00 left today",
        "?   2 need you: 1 asking, 1 to land: pancode inbox",
        "ok  project   shop",
        "ok  Panos listens, with qwen3:8b (native), build, auto-edit, preset local",
    ]


def test_without_a_model_the_last_lines_say_what_helps_and_what_works_meanwhile() -> None:
    told = lines(node("vm"), plan=NOTHING)
    assert told[1:3] == [
        "-   programs  no agent program is ready: pancode agents runtimes",
        "-   models    no local models: pancode models",
    ]
    assert (
        told[-2] == "!   no agent can answer yet: no program or model is ready; on vm: ollama pull qwen3:8b"
    )
    assert told[-1].startswith("-   until then, you can run scripts: pancode dispatch --runtime shell")


def test_without_a_machine_nothing_is_promised() -> None:
    told = lines(plan=RefusedError("no node is in the fleet", fix="pancode fleet up"))
    assert told[0] == "!   nodes     no nodes: pancode fleet up"
    assert told[-1] == "!   no agent can answer yet: no node is in the fleet; pancode fleet up"


def test_a_drained_machine_is_heard_and_not_waited_for() -> None:
    fleet = (node("vm"), node("old", "drained"), node("gone", "lost"))
    drained = "drained: old; to resume: pancode fleet resume"
    assert lines(*fleet)[0] == f"ok  nodes     vm; {drained}; unreachable: gone (lost): pancode node ls"
    assert lines(fleet[1])[0] == f"!   nodes     no node takes work; {drained}"
    assert not preflight._is_looking([fleet[1]]) and preflight._is_looking([fleet[2]])


def test_without_a_repository_it_works_without() -> None:
    told = lines(node("vm", native="ok"), plan={**PLAN, "project": None})
    assert "-   project   not in a repository: agents get an empty directory" in told


def test_a_refusal_and_a_wait_are_said_at_once() -> None:
    gate = {"gate": "budget", "passed": False, "words": "Dispatch blocked: $0.10 left", "fix": "raise it"}
    refused = lines(node("vm"), plan={**PLAN, "admitted": False, "gates": [gate]})
    assert "!   Panos cannot answer yet: $0.10 left; raise it" in refused
    busy = {"node": "vm", "ready": False, "fits": True, "why": "sends no heartbeats"}
    waits = lines(node("vm"), plan={**PLAN, "nodes": [busy]})
    assert (
        waits[-1]
        == "... Panos will answer later, with qwen3:8b (native), build, auto-edit: vm sends no heartbeats"
    )


@pytest.mark.parametrize(
    ("day", "words"),
    [
        (
            {**DAY, "remaining_usd": "0", "over": True},
            "!   budget    $0.00 of $10.00 left today; to raise it: pancode budget set",
        ),
        ({**DAY, "ceiling_usd": None}, "-   budget    no daily ceiling: pancode budget set 10"),
    ],
)
def test_the_budget_of_the_day(day: dict[str, Any], words: str) -> None:
    assert words in lines(node("vm"), budget={"scopes": [day]})


def coordinator(plan: PancodeError | dict[str, Any]) -> FakeApi:
    """Without a machine, and then it gets one, which is ready at the fourth look."""
    nodes = list[dict[str, Any]]()

    def fleet(path: str, query: object) -> dict[str, Any]:
        looks = [path for path, _ in api.asked if path == "/v1/fleet"]
        return {"nodes": nodes if len(looks) <= 3 else [node("vm", native="ok")]}

    def up(path: str, body: object) -> tuple[()]:
        nodes.append(node("vm", "new", native="looking"))
        return ()

    api = FakeApi(
        {
            "GET /v1/fleet": fleet,
            "GET /v1/models": {"models": []},
            "GET /v1/now": to_json(arrange_now(snapshot(1))),
            "GET /v1/budget": {"scopes": [DAY]},
            "POST /v1/fleet/up": up,
            "POST /v1/sessions": plan,
        }
    )
    return api


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "LOOK_S", 0)


def test_this_machine_comes_in_where_none_is_and_nothing_begins() -> None:
    api, notes = coordinator(NOTHING), list[str]()
    told = prepare_session(api, {"agent": "panos"}, notes.append)
    assert [path for path, _ in api.posted] == ["/v1/fleet/up", "/v1/sessions"]
    assert api.posted[1][1] == {"agent": "panos", "dry_run": True}
    assert notes == ["the fleet has no nodes: this computer becomes a node ..."]
    assert "?   2 need you: 1 asking, 1 to land: pancode inbox" in map(str, told), (
        "it is not a question, and waits"
    )
    assert str(told[0]) == "ok  nodes     vm" and "no agent can answer yet" in told[-2].text


@pytest.mark.parametrize(
    "wrong", [ConfigError("pancode.yaml:3: no number"), NotFoundError("no preset x", code="preset_not_found")]
)
def test_what_was_said_wrongly_ends_it(wrong: PancodeError) -> None:
    with pytest.raises(type(wrong)):
        prepare_session(coordinator(wrong), {}, lambda text: None)


def test_a_word_behind_options_of_a_chat_is_no_chat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PANCODE_HOME", str(tmp_path / "home"))
    assert entry.run(["--preset", "local", "runs"]) == ExitCode.USAGE
    assert "or put the command first: pancode runs ..." in capsys.readouterr().err
    assert entry.run(["--prest", "local"]) == ExitCode.USAGE
    assert "--preset?" in capsys.readouterr().err
    assert entry.run(["-C", str(tmp_path / "none"), "--model", "x"]) == ExitCode.WORKSPACE
    assert not (tmp_path / "home").exists()
