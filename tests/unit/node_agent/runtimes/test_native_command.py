"""How the native worker is started: what it is told, and which key it gets."""

from __future__ import annotations

from decimal import Decimal

import pytest

from node_agent.chat.dialect import Question, request_of
from node_agent.runtimes.base import Place, Resume
from node_agent.runtimes.native.runtime import PROBE, PROGRAM, launch
from node_agent.runtimes.vendors import PROVIDERS, split_model, way_of
from node_agent.runtimes.workerspec import WorkerSpec
from node_agent.wire.endpoint import Sampling
from node_agent.wire.job import Limits, Reasoning
from node_agent.wire.policy import ActionClass, Isolation, Mode, Safety
from node_agent.wire.receipt import Usage
from tests.unit.node_agent.runtimes.asked import LIMITS, ask, place

KEYS = {one.key: f"key-of-{one.name}" for one in PROVIDERS.values()}


def told(at: Place | None = None, **asked: object) -> WorkerSpec:
    made = launch(ask(**{"model": "m", "tools": ("bash", "read", "web"), **asked}), at or place(env=KEYS))
    return WorkerSpec.model_validate_json(made.files["native.json"])


def test_task_and_prompt_and_key_are_nowhere_on_the_command_line() -> None:
    made = launch(
        ask(task="the task", prompt="the prompt", model="m"), place(env=KEYS, package="/p", libraries="/l")
    )
    assert made.argv[:3] == ("/usr/bin/python3", "-I", "-S")
    assert made.argv[-4:] == (f"/p/{PROGRAM}", "/p", "/l", "/node/homes/r/native.json")
    assert made.stdin == b"Task:\nthe task\n" and made.files["prompt.md"] == b"the prompt"
    assert not any(b"key-of" in data or b"the task" in data for data in made.files.values())


def test_how_hard_its_model_thinks_is_told_in_the_words_of_the_chat_wire() -> None:
    assert told().thinks == ""
    assert (told(reasoning=Reasoning.OFF).thinks, told(reasoning=Reasoning.XHIGH).thinks) == ("none", "xhigh")


def test_only_the_key_of_the_provider_that_the_model_names_is_given() -> None:
    for name, one in PROVIDERS.items():
        made = launch(ask(model=f"{name}/some/model:1"), place(env={**KEYS, "OTHER": "x"}))
        assert {key for key in made.env if key in KEYS} == {one.key} and made.env["OTHER"] == "x"
        spec = WorkerSpec.model_validate_json(made.files["native.json"])
        assert (spec.model, spec.key_name, spec.url, spec.suffix) == (
            "some/model:1",
            one.key,
            one.home,
            one.suffix,
        )
        assert spec.is_hosted and set(KEYS) <= set(spec.hidden)


@pytest.mark.parametrize(
    ("model", "provider", "name"),
    [
        ("groq/llama-3.3-70b", "groq", "llama-3.3-70b"),
        ("qwen3:8b", "openai", "qwen3:8b"),
        ("hf/qwen/x", "openai", "hf/qwen/x"),
        ("openrouter/qwen/qwen3", "openrouter", "qwen/qwen3"),
        ("groq/", "openai", "groq/"),
        (None, "openai", "default"),
    ],
)
def test_a_model_s_name_may_begin_with_its_provider(model: str | None, provider: str, name: str) -> None:
    found, rest = split_model(model)
    assert (found.name, rest) == (provider, name)


def test_it_is_told_what_it_may_and_no_more() -> None:
    spec = told()
    assert (spec.tools, spec.writes, spec.walled) == (("read", "bash"), True, False)
    assert ActionClass.SHELL in spec.policy.allowed
    for withheld in ({"read_only": True}, {"safety": Safety.SUGGEST}, {"mode": Mode.REVIEW}):
        spec = told(**withheld)
        assert (spec.writes, spec.safety) == (False, Safety.SUGGEST)
        assert ActionClass.SHELL not in spec.policy.allowed
    assert told(tools=()).tools == (), "none that nobody named"
    assert told(place(isolation=Isolation.SANDBOX)).walled
    assert not told(place(isolation=Isolation.LANDLOCK)).walled


def test_its_limits_are_the_job_s_but_for_a_last_turn_that_the_gateway_gives() -> None:
    limits = Limits(**{**LIMITS.model_dump(), "tokens": 5, "requests": 3})
    spec = told(limits=limits)
    assert (spec.tokens, spec.turns, spec.wall_ms) == (5, 3, 58_000)
    spec = told(limits=limits.model_copy(update={"wrap_up": True}))
    assert (spec.tokens, spec.turns) == (None, None)


def test_the_context_comes_from_who_knows_it() -> None:
    assert told().context is None
    assert told(place(env={"PANCODE_MODEL_CONTEXT": "32768"})).context == 32_768
    assert told(place(env={"PANCODE_MODEL_CONTEXT": "32768"}), context=4_096).context == 4_096
    for odd in ("0", "-1", "many", ""):
        assert told(place(env={"PANCODE_MODEL_CONTEXT": odd})).context is None
    assert not told(place(env={"OPENAI_BASE_URL": "http://127.0.0.1:1/v1"})).is_hosted


def test_a_server_of_the_node_knows_its_models_by_their_whole_name() -> None:
    near = {"PANCODE_MODEL_URL": "http://127.0.0.1:7/v1", "PANCODE_MODEL_KEY": "token", **KEYS}
    made = launch(ask(model="openai/gpt-oss-20b"), place(env=near))
    spec = WorkerSpec.model_validate_json(made.files["native.json"])
    assert (spec.model, spec.key_name, spec.is_hosted) == ("openai/gpt-oss-20b", "PANCODE_MODEL_KEY", False)
    assert not set(KEYS) & set(made.env)


def test_a_session_is_gone_on_with() -> None:
    assert told(resume=Resume("abc", Usage())).resume == "abc"


@pytest.mark.parametrize("name", sorted(PROVIDERS))
def test_through_the_gateway_it_has_no_key_at_all(name: str) -> None:
    one = PROVIDERS[name]
    way = way_of("native", KEYS, (), f"{name}/some/model")
    assert way is not None and way.host == name
    assert (way.upstream, way.mount, way.key) == (one.home + one.suffix, "/v1", KEYS[one.key])
    assert way.models == ("some/model",) and set(KEYS) <= way.variables
    given = way.inside("http://127.0.0.1:7", "token")
    made = launch(ask(model=f"{name}/some/model"), place(env=given))
    spec = WorkerSpec.model_validate_json(made.files["native.json"])
    assert (made.env[spec.key_name], made.env[spec.url_name]) == ("token", "http://127.0.0.1:7/v1")
    assert (spec.suffix, spec.is_hosted) == ("", True)
    assert way.public is (name in ("openai", "anthropic", "google"))


def test_a_server_of_one_s_own_is_gone_to_without_a_key() -> None:
    own = {"OPENAI_BASE_URL": "http://127.0.0.1:8080/v1"}
    way = way_of("native", own, (), "qwen3:8b")
    assert way is not None and (way.upstream, way.key, way.public) == (
        own["OPENAI_BASE_URL"],
        "",
        False,
    )
    assert way_of("native", own, (), "groq/x") is None, "no key and no server of that one"
    assert way_of("native", KEYS, ("GROQ_API_KEY",), "groq/x") is None, "what a job names goes directly"
    assert way_of("native", {"GROQ_API_KEY": "k"}, ()) is not None and way_of("native", {}, ()) is None


def test_the_probe_says_whether_there_is_any_model_server() -> None:
    assert PROBE.read([(0, "")]).state == "ok"
    fact = PROBE.read([(1, "")])
    assert (fact.state, fact.version) == ("not_logged_in", "1") and "OPENAI_BASE_URL" in fact.fix


def test_how_words_are_chosen_goes_to_every_call() -> None:
    said = Sampling(
        temperature=Decimal("0.2"), top_p=Decimal("0.95"), top_k=20, presence_penalty=Decimal("-0.5")
    )
    spec = told(sampling=said)
    assert spec.sampling == said and told().sampling is None
    question = Question("", (), (), 100, 30.0)
    bare = request_of(question, "m", None, newest=False)
    assert request_of(question, "m", spec.sampling, newest=False) == bare | {
        "temperature": 0.2,
        "top_p": 0.95,
        "top_k": 20,
        "presence_penalty": -0.5,
    }
    assert bare.keys().isdisjoint(("temperature", "top_p", "top_k", "presence_penalty"))
    newest = request_of(question, "m", None, newest=True)
    assert newest["max_completion_tokens"] == bare["max_tokens"] == 100 and "max_tokens" not in newest
