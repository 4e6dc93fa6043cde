"""A program of the node owner's choice: its settings, and what is found out of it."""

from __future__ import annotations

import json

import pytest

from node_agent.runtimes.acp import FILE, AcpWay
from node_agent.runtimes.base import Place
from node_agent.runtimes.others import SHIPPED, OtherAgent, runtime_of
from node_agent.wire.job import TurnTerms
from node_agent.wire.node import Flag
from node_agent.wire.other_runtimes import is_other
from node_agent.wire.policy import Enforcement, Isolation, Mode, Safety
from pancode.conversation.stream import is_of_our_worker
from tests.unit.node_agent.runtimes.asked import ask

SETTINGS = '{"url": "{url}", "key": "{key}", "model": "{model}"}'
ASKER = ("python", "asking.py")


def way_of(agent: OtherAgent, model: str | None = "m") -> tuple[AcpWay, dict[str, str], dict[str, bytes]]:
    asked = ask(interactive_run=TurnTerms(idle_ms=1, turn_ms=1), model=model, prompt="Be kind.")
    env = {"OPENAI_BASE_URL": "http://127.0.0.1:1/v1", "OPENAI_API_KEY": "k"}
    place = Place("/bin", "python", False, Isolation.SANDBOX, env, "/p/node_agent", "/l")
    made = runtime_of("vibe", agent, ASKER).launch(asked, place)
    return AcpWay.model_validate_json(made.files[FILE]), dict(made.env), dict(made.files)


def test_its_settings_are_filled_in_and_cannot_be_left_by_the_name_of_a_model() -> None:
    agent = OtherAgent(
        argv=("vibe-acp",), env={"VIBE": SETTINGS, "HOME": "/root"}, files={".vibe/config": SETTINGS}
    )
    way, env, files = way_of(agent, 'a", "url": "http://elsewhere')
    told = {"url": "http://127.0.0.1:1/v1", "key": "k", "model": 'a", "url": "http://elsewhere'}
    assert json.loads(env["VIBE"]) == json.loads(files[".vibe/config"]) == told
    assert env["HOME"] != "/root", "what is the run's own is not its to set"
    assert (way.argv, way.begins, way.model) == (("vibe-acp",), "Be kind.", "")


def test_without_a_setting_for_it_the_model_is_one_that_it_offers() -> None:
    assert way_of(OtherAgent(argv=("vibe-acp",)))[0].model == "m"
    assert way_of(OtherAgent(argv=("vibe-acp",)), None)[0].model == ""


def test_nothing_but_the_sandbox_holds_it() -> None:
    runtime = runtime_of("vibe", OtherAgent(argv=("vibe-acp",)), ASKER)
    asked = (Mode.BUILD, Safety.SUGGEST, True)
    assert runtime.enforcement(*asked, Isolation.SANDBOX) is Enforcement.SANDBOX
    assert runtime.enforcement(*asked, Isolation.NONE) is Enforcement.IMPOSSIBLE and runtime.chosen


@pytest.mark.parametrize(
    ("output", "state", "fix"),
    [
        ('{"version": "1.2"}', "ok", ""),
        ('{"why": "it is silent"}', "unknown_version", "it is silent"),
        ('{"why": "no such file", "missing": true}', "missing", "no such file"),
        ("[]", "unknown_version", "the probe failed: []"),
        ("garbage", "unknown_version", "the probe failed: garbage"),
    ],
)
def test_what_was_found_out_of_it(output: str, state: str, fix: str) -> None:
    probe = runtime_of("vibe", OtherAgent(argv=("vibe-acp", "-x")), ASKER).probe
    assert probe.argvs == ((*ASKER, "vibe-acp", "-x"),)
    fact = probe.read([(0, output)])
    assert (fact.name, fact.state, fact.fix) == ("acp:vibe", state, fix)


@pytest.mark.parametrize("name", ["acp:", "acp:A", "acp:../x", "acp:a\n", "vibe", "acp:" + "a" * 80])
def test_what_is_no_name_of_one(name: str) -> None:
    assert not is_other(name) and is_other("acp:vibe")


def test_what_is_left_out_of_an_entry_is_as_shipped() -> None:
    for name, shipped in SHIPPED.items():
        assert runtime_of(name, OtherAgent(), ASKER).sessions == shipped.sessions
        assert runtime_of(name, OtherAgent(sessions=()), ASKER).sessions == ()
        probe = runtime_of(name, OtherAgent(argv=("/opt/it",)), ASKER).probe
        assert probe.argvs == ((*ASKER, "/opt/it"),)
        assert shipped.sets_model
    can = runtime_of("kilo", OtherAgent(), ASKER).probe.read([(0, '{"version": "1", "resumes": true}')]).can
    assert Flag.RESUME in can


def test_qwen_code_reads_nothing_of_the_repository_and_goes_on_by_loading() -> None:
    asked = ask(interactive_run=TurnTerms(idle_ms=1, turn_ms=1), model="m", home="/a b/r")
    place = Place("/bin", "python", False, Isolation.SANDBOX, {}, "/p/node_agent", "/l")
    made = runtime_of("qwen", OtherAgent(), ASKER).launch(asked, place)
    assert made.env["NODE_OPTIONS"] == '--require="/a b/r/guard.cjs"' and made.env["OPENAI_MODEL"] == "m"
    assert b'[".qwen/settings.json", ".env"]' in made.files["guard.cjs"]
    way = AcpWay.model_validate_json(made.files[FILE])
    assert way.resumes == ("load",) and way.keeps is not None
    settings = json.loads(made.files[".qwen/settings.json"])
    assert settings["model"]["name"] == "m" and "run_shell_command" in settings["permissions"]["ask"]


def test_its_output_is_read_in_the_form_of_our_own_worker() -> None:
    """Else no face would see a turn of it, and `chat --once` would wait for ever."""
    assert is_of_our_worker("acp:vibe", b'{"type": "session"')
    assert not is_of_our_worker("acp:", b'{"type": "session"')
