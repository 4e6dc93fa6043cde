"""How a run on OpenAI's Agents SDK is started, where its calls go, and how a node says what is missing."""

from __future__ import annotations

from node_agent.runtimes.native.runtime import launch as launch_native
from node_agent.runtimes.openai_agents.runtime import PROBE, RUNTIME, launch
from node_agent.runtimes.vendors import local_way, way_of
from node_agent.runtimes.workerspec import WorkerSpec
from tests.unit.node_agent.runtimes.asked import ask, place

OPENAI = {"OPENAI_API_KEY": "key-of-openai", "GROQ_API_KEY": "key-of-groq"}


def test_it_is_told_what_the_native_worker_is_told_and_which_driver_to_start() -> None:
    at = place(env=OPENAI, package="/p", libraries="/l")
    asked = ask(task="the task", prompt="the prompt", model="openai/gpt-5.5")
    made, native = launch(asked, at), launch_native(asked, at)
    assert made.argv[-6:] == (
        *("/p/sdk/program.py", "/p", "/l", "/node/homes/r/native.json"),
        *("openai-agents", "openai_agents.py"),
    )
    assert (made.env, made.files, made.stdin) == (native.env, native.files, native.stdin)
    assert "GROQ_API_KEY" not in made.env and b"the task" not in b"".join(made.files.values())


def test_openai_s_own_servers_are_asked_on_their_newest_wire_and_no_others() -> None:
    def newest(model: str, **env: str) -> bool:
        made = launch(ask(model=model), place(env=env or OPENAI))
        return WorkerSpec.model_validate_json(made.files["native.json"]).newest

    assert newest("openai/gpt-5.5") and newest("gpt-5.5")
    assert not newest("groq/llama") and not newest("m", OPENAI_BASE_URL="http://127.0.0.1:1/v1")


def test_its_calls_go_through_the_gateway_to_whom_the_model_names() -> None:
    way = way_of("openai-agents", OPENAI, (), "groq/llama")
    assert way is not None and (way.key, way.models) == ("key-of-groq", ("llama",))
    near = local_way("openai-agents", "qwen3:8b", "http://127.0.0.1:11434", "k")
    assert near is not None and near.mount == "/v1"
    assert set(OPENAI) <= set(RUNTIME.credentials)


def test_each_thing_that_is_missing_has_the_commands_that_bring_it() -> None:
    made = "python3 -m venv ~/.local/share/pancode/openai-agents && "
    pip = "~/.local/share/pancode/openai-agents/bin/pip install 'openai-agents==0.24.*'"
    link = "ln -sf ~/.local/share/pancode/openai-agents/bin/python ~/.local/bin/openai-agents"
    missing = PROBE.read([(None, ""), (0, "")])
    assert (missing.state, missing.fix) == ("missing", f"{made}{pip} && {link}")
    empty = PROBE.read([(0, "Python 3.11.7\n"), (0, "")])
    assert (empty.state, empty.fix) == ("unknown_version", missing.fix), "an environment without the SDK"
    assert PROBE.read([(0, "0.24.0"), (1, "")]).state == "not_logged_in"
    ready, other = PROBE.read([(0, "0.24.3"), (0, "")]), PROBE.read([(0, "0.31.0"), (0, "")])
    assert (ready.state, ready.fix) == ("ok", "") and other.state == "ok"
    assert "0.24.x" in other.fix and pip in other.fix
