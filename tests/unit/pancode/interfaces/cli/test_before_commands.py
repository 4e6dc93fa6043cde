"""What every command does around its own work: unknown variables, errors that nobody foresaw."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pancode.app.commands import setup
from pancode.config.folder_settings import settings_here
from pancode.config.variables import LIMITING, VARIABLES, unknown_variables
from pancode.fleet.commands.nodes import node_page
from pancode.fleet.ssh.reach import reach_to
from pancode.fleet.ssh.target import Target
from pancode.interfaces.cli import main as entry
from pancode.interfaces.client.client import Client
from pancode.kernel.declared import to_json
from pancode.kernel.errors import ExitCode, UsageError
from pancode.kernel.records import Node
from pancode.kernel.route import path_in
from pancode.kernel.values import replace
from pancode.runs.unit_of_work import unit_of_work
from tests.fakes.answers import runtime
from tests.unit.pancode.interfaces.http.world import FINGERPRINT, World


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PANCODE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.mark.parametrize(
    ("fix", "line", "whole"),
    [
        ("--yes", "node rm gpubox", "fix: pancode node rm gpubox --yes"),
        ("--gpus 1", "dispatch --gpus x true", "fix: pancode dispatch --gpus 1 true"),
        ("--gpus 1", "dispatch --gpus x -- true", "fix: --gpus 1"),
        ("--all, or name them", "node show", "fix: --all, or name them"),
    ],
)
def test_a_fix_that_is_one_option_is_shown_in_the_command(
    fix: str, line: str, whole: str, capsys: pytest.CaptureFixture[str]
) -> None:
    entry.status_of(UsageError("refused", fix=fix), line.split(), as_json=False)
    assert capsys.readouterr().err.splitlines()[-1].strip() == whole


@pytest.mark.parametrize(
    ("name", "near", "limits"),
    [
        ("PANCODE_SAFTY", "PANCODE_SAFETY", True),
        ("PANCODE_BUDGET_CIELING", "PANCODE_BUDGET_CEILING", True),
        ("PANCODE_MAX_DEPTH", "PANCODE_DISPATCH_MAX_DEPTH", True),
        ("PANCODE_STRICT_TIER", "PANCODE_STRICT_TIERS", True),
        ("PANCODE_WORKER_MODLE", "PANCODE_WORKER_MODEL", False),
        ("PANCODE_GREETING", None, False),
    ],
)
def test_an_unknown_variable_is_named_with_the_nearest(name: str, near: str | None, limits: bool) -> None:
    (found,) = unknown_variables({name: "x", "PATH": "/bin", "PANCODE_RUN": "r-1", "PANCODE_OTHER": " "})
    assert (found.name, found.near, found.limits) == (name, near, limits)


def test_what_is_known_is_not_unknown() -> None:
    assert unknown_variables(dict.fromkeys((*VARIABLES, *LIMITING, "PANCODE_HOME"), "x")) == []


@pytest.mark.parametrize(
    "args", [["dispatch", "x"], ["runs"], ["init"], ["--json", "runs"], ["agents", "check"]]
)
def test_a_misspelt_limit_refuses_every_command(
    args: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    monkeypatch.setenv("PANCODE_SAFTY", "suggest")
    assert entry.run([*args[1:], args[0]] if args[0] == "--json" else args) == ExitCode.CONFIG
    told = capsys.readouterr().err
    assert "PANCODE_SAFTY" in told and "PANCODE_SAFETY?" in told and not home.exists()


def test_any_other_unknown_variable_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PANCODE_WORKER_MODLE", "x")
    assert entry.run(["init"]) == ExitCode.DONE
    assert "PANCODE_WORKER_MODLE" in capsys.readouterr().err
    monkeypatch.setenv("PANCODE_SAFTY", "suggest")
    assert entry.run(["config", "show"]) == ExitCode.DONE, "it shows what is wrong"
    assert capsys.readouterr().err.count("PANCODE_SAFTY") == 1


@pytest.mark.parametrize("args", [["dispatch", "x"], ["runs", "retry", "last"], ["config", "show"]])
def test_a_variable_of_one_command_that_does_not_count_is_said(
    args: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    rows, _ = settings_here(home, home.parent, {})

    def answer(_client: Client, path: str, **_query: Any) -> Any:
        return {"settings": rows} if path_in(path) == "/v1/config" else {}

    def refused(_client: Client, *_args: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(Client, "get", answer)
    monkeypatch.setattr(Client, "post_work", refused)
    monkeypatch.setenv("PANCODE_BUDGET_CEILING", "1")
    monkeypatch.setenv("PANCODE_DISPATCH_MAX_DEPTH", "0")
    monkeypatch.setenv("PANCODE_STRICT_TIERS", "yes")
    entry.run(args)
    told = capsys.readouterr().err
    for name in ("PANCODE_BUDGET_CEILING", "PANCODE_DISPATCH_MAX_DEPTH", "PANCODE_STRICT_TIERS"):
        assert f"{name} is ignored" in told


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("defect", [KeyError("hostname"), OSError(5, "odd"), RecursionError()])
def test_a_defect_is_one_error_with_the_place_of_its_traceback(
    as_json: bool,
    defect: Exception,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    home: Path,
) -> None:
    def fail(_args: object) -> None:
        raise defect

    monkeypatch.setattr(setup, "home_of", fail)
    assert entry.run(["init", *["--json"] * as_json]) == ExitCode.INTERNAL
    told = capsys.readouterr().err
    assert "internal error" in told and "Traceback" not in told and str(home / "run/command.log") in told
    if as_json:
        assert json.loads(told)["error"]["exit_code"] == 1
    assert "Traceback" in (home / "run/command.log").read_text()


def test_a_defect_is_told_where_no_log_can_be_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    home.write_text("a file")
    monkeypatch.setattr(setup, "home_of", lambda _environ: 1 / 0)
    assert entry.run(["init"]) == ExitCode.INTERNAL
    told = capsys.readouterr().err
    assert "ZeroDivisionError" in told and "test_before_commands.py" in told


def page_of(answer: Any, **changes: Any) -> str:
    changed: Any = {**answer, **changes}
    return node_page(changed)


def test_the_page_of_a_machine_that_was_not_heard_yet(tmp_path: Path) -> None:
    world = World(tmp_path)
    added = {"name": "gpubox", "fingerprint": FINGERPRINT}
    assert world.http.post("/v1/nodes", added).status_code < 300
    page = node_page(world.http.get("/v1/nodes/gpubox").json())
    assert "Machine:      nothing received yet" in page and "pancode fleet up gpubox" in page
    heard: Any = world.http.get("/v1/nodes/n1").json()
    assert "not heard" not in node_page(heard)
    native = runtime("native", "not_logged_in", version="1", says="n1 says: set KEY")
    assert "native: n1 says: set KEY" in page_of(heard, runtimes=[native]), "no problem of it tells"
    told: Any = [{"what": "native not logged in", "fix": "", "says": native["says"]}]
    assert page_of(heard, runtimes=[native], problems=told).count("set KEY") == 1


@pytest.mark.parametrize("lacks", [(), ("warnings",)])
def test_the_page_of_a_machine_says_how_it_is_reached(tmp_path: Path, lacks: tuple[str, ...]) -> None:
    """`lacks`: what a row of an earlier version does not have."""
    world = World(tmp_path)
    hop = Target("jump", "jump.lan", 22, "ops")
    target = Target("n1", "10.0.0.5", 2222, "ana", hops=(hop,), warnings=("no X11",))
    reach = reach_to(target, installed_home="/home/ana/.pancode-node")
    stored = {key: value for key, value in reach.target.items() if key not in lacks}
    data = {**to_json(reach), "target": stored}
    with unit_of_work(world.coordinator.core) as work:
        row = next(one for one in work.tx.find(Node) if one.name == "n1")
        work.tx.put(replace(row, target=data))
    page = node_page(world.http.get("/v1/nodes/n1").json())
    assert "Reached by:   ssh ana@10.0.0.5, port 2222, through jump.lan" in page
    assert "Home:         /home/ana/.pancode-node" in page and ("no X11" in page) is not bool(lacks)
