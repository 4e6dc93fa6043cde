"""What a node says of each server, and that a look changes nothing there; llama.cpp is the real one."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from node_agent.endpoints.table import EndpointTable
from node_agent.wire.endpoint import Dialect, EndpointFact, Health, ModelWire, Residence
from tests.endpointfakes import (
    Generic,
    LmStudio,
    LmStudioOld,
    LoadingLlamaCpp,
    Ollama,
    RouterLlamaCpp,
    Sglang,
    Vllm,
    WebSite,
    serving,
)
from tests.endpointfakes.apps import lmstudio_model, ollama_model
from tests.integration.endpoints.conftest import Look
from tests.integration.gateway.tls import authority
from tests.tinyllama import call, tiny_server


def only(table: EndpointTable) -> EndpointFact:
    (one,) = table.facts()
    return one


def test_ollama_and_the_context_that_a_call_really_gets(table: Look) -> None:
    app = Ollama(
        models=[
            ollama_model("qwen3:8b"),
            ollama_model("loaded:7b"),
            ollama_model("set:7b"),
            ollama_model("gpt-oss:120b-cloud", remote_host="https://ollama.com"),
            ollama_model("nomic-embed-text:latest"),
        ],
        loaded={"loaded:7b": {"size": 6_000, "size_vram": 5_000, "context_length": 8_192}},
        shown={
            "set:7b": {"parameters": "temperature 0.6\nnum_ctx 16384\nstop <|im_end|>"},
            "nomic-embed-text:latest": {"capabilities": ["embedding"]},
        },
    )
    with serving(app) as server:
        told = only(table(server.port))
        assert server.paths.count("/api/show") == 5
    assert (told.dialect, told.version, told.slots) == (Dialect.OLLAMA, "0.14.2", 1)
    assert told.wires == (ModelWire.CHAT, ModelWire.OLLAMA, ModelWire.RESPONSES, ModelWire.MESSAGES)
    models = {one.id: one for one in told.models}
    assert [one.id for one in told.models][-1] == "nomic-embed-text:latest"
    contexts = {name: (one.ctx_usable, one.ctx_max) for name, one in models.items()}
    assert contexts["qwen3:8b"] == (4_096, 40_960)  # the trap: not what the model was trained for
    assert contexts["loaded:7b"] == (8_192, 40_960)
    assert contexts["set:7b"] == (16_384, 40_960)
    assert (models["loaded:7b"].residence, models["loaded:7b"].vram) == (Residence.LOADED, 5_000)
    assert models["qwen3:8b"].residence is Residence.NOT_LOADED
    assert (models["qwen3:8b"].tools, models["qwen3:8b"].vision) == (True, False)
    assert models["qwen3:8b"].parameters == 8_190_735_360
    assert models["gpt-oss:120b-cloud"].remote
    assert models["nomic-embed-text:latest"].embedding
    assert told.model("nomic-embed-text") == models["nomic-embed-text:latest"]


def test_what_ollama_said_of_a_model_is_not_asked_again(table: Look) -> None:
    with serving(Ollama()) as server:
        looked = table(server.port)
        looked.look()
        looked.look()
        assert server.paths.count("/api/show") == 1
        server.app.models.append(ollama_model("new:1b"))
        looked.look()
        assert server.paths.count("/api/show") == 2
        assert server.paths.count("/api/version") == 5  # one to find out who it is, then with each look


@pytest.mark.parametrize(
    ("version", "wires"),
    [("0.12.6", 2), ("0.13.2", 2), ("0.13.3", 3), ("0.14.0", 4), ("1.0", 4), ("0.14.0-rc1", 4)],
)
def test_ollama_s_wires_by_its_version(table: Look, version: str, wires: int) -> None:
    with serving(Ollama(version=version)) as server:
        assert len(only(table(server.port)).wires) == wires


def test_lm_studio_and_its_owners_log(table: Look) -> None:
    models = [
        lmstudio_model("qwen/qwen3-coder-30b", 32_768),
        lmstudio_model("cold"),
        lmstudio_model("nomic", type="embedding"),
    ]
    app = LmStudio(models=models)
    with serving(app) as server:
        looked = table(server.port)
        for _ in range(5):
            looked.look()
        told = only(looked)
    assert app.log == ["[ERROR] Unexpected endpoint or method. (GET /api/version). Returning 200 anyway"]
    assert told.dialect is Dialect.LMSTUDIO
    first, cold, nomic = told.models
    assert (first.id, first.residence, first.ctx_usable, first.ctx_max, first.slots) == (
        "qwen/qwen3-coder-30b",
        Residence.LOADED,
        32_768,
        262_144,
        4,
    )
    assert (first.parameters, first.tools, first.quantisation) == (30 * 10**9, True, "Q4_K_M")
    assert (cold.residence, cold.ctx_usable) == (Residence.NOT_LOADED, None)
    assert nomic.embedding


def test_an_older_lm_studio(table: Look) -> None:
    with serving(LmStudioOld()) as server:
        told = only(table(server.port))
    shown = [(m.id, m.residence, m.ctx_usable, m.tools, m.vision, m.embedding) for m in told.models]
    assert shown == [
        ("qwen2.5", Residence.LOADED, 4_096, True, False, False),
        ("pixtral", Residence.NOT_LOADED, None, None, True, False),
        ("nomic-embed", Residence.NOT_LOADED, None, None, False, True),
    ]


def test_a_router_of_llama_cpp_loads_nothing_for_a_look(table: Look) -> None:
    with serving(RouterLlamaCpp()) as server:
        told = only(table(server.port))
    assert [(m.id, m.residence, m.ctx_usable, m.slots) for m in told.models] == [
        ("big", Residence.LOADED, 16_384, 2),
        ("idle", Residence.ASLEEP, None, None),
        ("small", Residence.NOT_LOADED, None, None),
    ]


def test_a_llama_cpp_that_loads_its_model(table: Look) -> None:
    with serving(LoadingLlamaCpp()) as server:
        told = only(table(server.port))
    assert (told.dialect, told.health, [m.residence for m in told.models]) == (
        Dialect.LLAMACPP,
        Health.OK,
        [Residence.NOT_LOADED],
    )


def test_vllm_says_what_it_speaks(table: Look) -> None:
    with serving(Vllm(queue=3)) as server:
        looked = table(server.port)
        looked.look()
        told = only(looked)
        assert server.paths.count("/openapi.json") == 1
    assert (told.dialect, told.version, told.slots, told.waiting) == (Dialect.VLLM, "0.11.0", None, 3)
    assert told.wires == (ModelWire.CHAT, ModelWire.RESPONSES, ModelWire.MESSAGES)
    assert [(m.id, m.ctx_usable, m.residence) for m in told.models] == [
        ("Qwen/Qwen3-8B", 40_960, Residence.LOADED)
    ]


def test_sglang_by_the_owner_of_its_list(table: Look) -> None:
    with serving(Sglang()) as server:
        told = only(table(server.port))
    assert (told.dialect, told.version, told.wires[0]) == (Dialect.SGLANG, None, ModelWire.CHAT)
    assert told.waiting is None, "it was started without figures"
    assert [(m.id, m.ctx_usable) for m in told.models] == [("Qwen/Qwen3-8B", 40_960)]


def test_of_any_other_server_the_names_alone_are_known(table: Look) -> None:
    with serving(Generic()) as server:
        told = only(table(server.port))
    model, vectors = told.models
    assert (told.dialect, told.wires) == (Dialect.OPENAI, (ModelWire.CHAT,))
    assert (model.residence, model.ctx_usable, model.tools, vectors.embedding) == (None, None, None, True)


def test_a_key_by_its_secrets_name(table: Look) -> None:
    with serving(Vllm(key="s3cret")) as server:
        entry = {"name": "gpu", "url": f"{server.url}/v1", "key": "GPU_KEY", "slots": 8}
        without = only(table(endpoints=[entry]))
        wrong = only(table(endpoints=[entry], values={"GPU_KEY": "other"}))
        right = table(endpoints=[entry], values={"GPU_KEY": "s3cret"})
        told = only(right)
        found = right.server("gpu")
    assert (without.health, without.words) == (Health.NEEDS_KEY, "it requires a key")
    assert (wrong.health, wrong.words) == (Health.NEEDS_KEY, "it rejects the key GPU_KEY")
    assert (told.name, told.health, told.dialect, told.slots) == ("gpu", Health.OK, Dialect.VLLM, 8)
    assert found is not None and (found.key, found.url) == ("s3cret", server.url)
    assert "s3cret" not in repr(found) + told.model_dump_json()


def test_over_tls_it_is_asked_where_its_certificate_is_believed(table: Look, tmp_path: Path) -> None:
    """One of a private authority, which the owner names; without that nothing is asked, nor a key shown."""
    ca, context = authority(tmp_path)
    with serving(Vllm(key="s3cret"), tls=context) as server:
        entry = {"name": "gpu", "url": server.url, "key": "GPU_KEY"}
        strange = table(endpoints=[entry], values={"GPU_KEY": "s3cret"})
        (problem,) = strange.problems()
        assert strange.facts() == () and "local issuer" in problem.what
        assert '"ca": "/etc/ssl/gpu.pem"' in problem.fix
        assert server.asked == []
        believed = table(endpoints=[{**entry, "ca": str(ca)}], values={"GPU_KEY": "s3cret"})
        told, found = only(believed), believed.server("gpu")
    assert (told.health, told.dialect, bool(told.models)) == (Health.OK, Dialect.VLLM, True)
    assert found is not None and (found.url, found.ca) == (server.url, str(ca))


def test_where_a_certificate_is_not_believed_it_is_said_what_mends_it(table: Look, tmp_path: Path) -> None:
    _, context = authority(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "empty.pem").write_text("nothing\n")
    authority(tmp_path / "other")

    def said(**entry: str) -> tuple[str, str]:
        (problem,) = table(endpoints=[{"name": "gpu", "url": server.url, **entry}]).problems()
        return problem.what.partition(") ")[2], problem.fix

    with serving(Vllm(), tls=context) as server, serving(Vllm()) as plain:
        right = table(endpoints=[{"name": "gpu", "url": server.url, "ca": "ca.pem"}])
        assert only(right).health is Health.OK, "beside endpoints.json"
        what, fix = said(ca="other/ca.pem")
        assert what.startswith("is not trusted: ") and str(tmp_path / "other/ca.pem") in fix
        assert said(ca="empty.pem")[0] == f"is not queried: {tmp_path}/empty.pem contains no certificate"
        what, fix = said(ca="none.pem")
        assert what == f"is not queried: {tmp_path}/none.pem cannot be read (No such file or directory)"
        assert 'name another certificate file as "ca"' in fix
        what, fix = said(ca="ca.pem", url=f"https://127.1:{server.port}")
        assert what == "is not trusted: Hostname mismatch, certificate is not valid for '127.1'."
        assert "127.1" in fix
        what, fix = said(ca="ca.pem", url=plain.url.replace("http", "https"))
        assert (what, fix) == ("speaks no TLS", f"set its url to {plain.url}")
        assert server.asked and all(one.path for one in server.asked)


def test_a_site_at_such_a_port_is_left_alone(table: Look) -> None:
    with ExitStack() as open_ones:
        sites = [WebSite(), WebSite(404, "no"), WebSite(401, "<html>log in</html>"), WebSite(500, "{}")]
        servers = [open_ones.enter_context(serving(site)) for site in sites]
        looked = table(*(server.port for server in servers))
        counts = [len(server.asked) for server in servers]
        looked.look()
        assert looked.facts() == () and looked.problems() == ()
        assert [len(server.asked) for server in servers] == counts == [5, 5, 5, 5]


def test_llama_cpp_itself(table: Look) -> None:
    with tiny_server(slots=2) as tiny:
        looked = table(tiny.port, in_use=True)
        told = only(looked)
        busy = threading.Thread(target=_chat, args=(tiny.url, "[[long]]", 1_000))
        busy.start()
        while busy.is_alive() and told.slots_free == 2:
            looked.look()
            told = only(looked)
        busy.join()
    (model,) = told.models
    assert (told.name, told.dialect, told.slots, told.slots_free) == ("llamacpp", Dialect.LLAMACPP, 2, 1)
    assert told.wires == (ModelWire.CHAT, ModelWire.RESPONSES, ModelWire.MESSAGES)
    assert (model.id, model.ctx_usable, model.ctx_max) == ("tiny-random", 4_096, 32_768)
    assert (model.residence, model.tools, model.vision) == (Residence.LOADED, True, False)
    looked.look()
    assert looked.facts() == ()  # gone when gone


def test_llama_cpp_with_a_key_without_slots_and_without_tools(table: Look) -> None:
    with tiny_server(slots=1, api_key="k") as locked, tiny_server(slots_endpoint=False, tools=False) as plain:
        both = table(locked.port, plain.port).facts()
        entry = {"name": "mine", "url": locked.url, "key": "TINY"}
        told = only(table(endpoints=[entry], values={"TINY": "k"}))
    assert [(one.health, one.slots_free) for one in both] == [(Health.NEEDS_KEY, None), (Health.OK, None)]
    assert both[1].models[0].tools is False
    assert (told.name, told.health, told.slots_free) == ("mine", Health.OK, 1)


def test_a_look_does_not_wake_one_that_sleeps(table: Look) -> None:
    with tiny_server(sleep_idle=1) as tiny:
        looked = table(tiny.port)
        told = only(looked)
        for _ in range(600):  # it falls asleep by its own clock
            if told.models[0].residence is Residence.ASLEEP:
                break
            threading.Event().wait(0.05)
            looked.look()
            told = only(looked)
        for _ in range(3):
            looked.look()
        told = only(looked)
        props = call(f"{tiny.url}/props")[1]
    assert told.models[0].residence is Residence.ASLEEP
    assert b'"is_sleeping":true' in props


def test_wedged_it_is_silent_and_not_gone(table: Look) -> None:
    with tiny_server(slots=1) as tiny:
        looked = table(tiny.port, in_use=True)
        assert only(looked).health is Health.OK
        tiny.wedge()
        looked.look()
        told = only(looked)
        tiny.unwedge()
    assert (told.slots_free, told.health) == (None, Health.OK)  # once is no proof: see test_progress


def test_a_file_that_cannot_be_read_is_a_problem_with_its_fix(table: Look) -> None:
    looked = table(endpoints=[{"name": "openai", "url": "http://10.0.0.1:1"}])
    (problem,) = looked.problems()
    assert "endpoints.json: endpoints.0.name: " in problem.what and "correct or remove" in problem.fix


def test_what_is_listed_and_not_there_is_a_problem(table: Look) -> None:
    (problem,) = table(endpoints=[{"name": "gpu", "url": "http://127.0.0.1:9"}]).problems()
    assert "127.0.0.1:9" in problem.what
    assert table(9).problems() == ()


def _chat(url: str, text: str, tokens: int) -> None:
    body = {"messages": [{"role": "user", "content": text}], "max_tokens": tokens, "ignore_eos": True}
    call(f"{url}/v1/chat/completions", body=body, timeout=60)
