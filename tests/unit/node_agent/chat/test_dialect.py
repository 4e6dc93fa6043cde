"""OpenAI's dialect of chat: what is asked, and how a stream of pieces becomes one answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from node_agent.chat.dialect import Question, make_trouble, request_of
from node_agent.chat.messages import Answered, Asked, Call, Turn, from_json, to_json
from node_agent.chat.stream import DONE, MOST_CALLS, Stream


@pytest.mark.parametrize(
    ("body", "words", "room"),
    [
        (b'{"error": {"message": "exceeds the available context size", "n_ctx": 4096}}', "exceeds the", 4096),
        (b'{"error": "model \\"q\\" not found"}', 'model "q" not found', None),
        (b'{"detail": "no"}', "no", None),
        (b'{"message": "no\\n such"}', "no such", None),
        (b"", "status 400", None),
        (b"<html><title>no</title>Bad<br>Request</html>", "Bad Request", None),
        (b"upstream connect error", "upstream connect error", None),
        (b'{"error": {"n_ctx": "many"}}', '{"error": {"n_ctx": "many"}}', None),
        (b'[{"error": {"code": 400, "message": "no signature"}}]', "no signature", None),
        (b'{"detail": [{"loc": ["body"], "msg": "a"}, {"msg": "b"}]}', "a; b", None),
        (b'{"errors": ["a", {"message": "b"}]}', "a; b", None),
    ],
)
def test_a_refusal_in_the_servers_words(body: bytes, words: str, room: int | None) -> None:
    trouble = make_trouble(400, body)
    assert str(trouble).startswith(words) and (trouble.status, trouble.room) == (400, room)
    assert trouble.too_long is (room is not None) and not trouble.passing


@pytest.mark.parametrize(
    ("status", "passing"), [(401, False), (404, False), (429, True), (500, True), (503, True)]
)
def test_what_may_be_asked_again(status: int, passing: bool) -> None:
    assert make_trouble(status, b"").passing is passing


def chunk(**delta: object) -> str:
    return json.dumps({"choices": [{"index": 0, "delta": delta}]})


def joined(*events: str) -> Stream:
    stream = Stream()
    for event in events:
        stream.take(event)
    return stream


def test_a_call_in_pieces_of_one_character() -> None:
    first = chunk(tool_calls=[{"index": 0, "id": "c", "function": {"name": "ping", "arguments": ""}}])
    rest = [chunk(tool_calls=[{"index": 0, "function": {"arguments": one}}]) for one in '{"x":"ok"}']
    end = '{"choices":[{"delta":{},"finish_reason":"tool_calls"}]}'
    answer = joined(chunk(role="assistant", content=""), first, *rest, end).answer()
    assert answer.calls == (Call("c", "ping", '{"x":"ok"}'),) and answer.calls[0].fields == {"x": "ok"}
    assert answer.finish == "tool_call"


def test_calls_without_an_index_are_as_many_as_there_are() -> None:
    calls = [{"function": {"name": name, "arguments": {"x": name}}} for name in ("a", "b")]
    assert [one.fields for one in joined(chunk(tool_calls=calls)).calls] == [{"x": "a"}, {"x": "b"}]
    apart = [chunk(tool_calls=[{"id": f"i{one}", "function": {"name": one}}]) for one in "ab"]
    assert joined(*apart).calls == (Call("ia", "a", ""), Call("ib", "b", ""))


def test_text_is_told_as_it_comes_and_thoughts_are_not() -> None:
    stream = Stream()
    pieces = ["<think>", "hm", "</think>", "so ", "it is", "<think>"]
    assert [stream.take(chunk(content=one)) for one in pieces] == ["", "", "", "so ", "it is", ""]
    assert stream.text == "so it is" and stream.thought
    apart = joined(chunk(role="assistant"), chunk(reasoning_content="hm"), chunk(content="yes"))
    assert apart.text == "yes" and apart.thought
    assert not joined(chunk(content="a <think> in a text")).thought


def test_an_event_with_a_token_is_known() -> None:
    stream = Stream()
    events = [chunk(role="assistant", content=""), chunk(reasoning="hm"), chunk(content="a"), "{}"]
    grown = []
    for event in events:
        stream.take(event)
        grown.append(stream.has_grown)
    assert grown == [False, True, True, False]


def test_usage_is_the_last_that_was_told() -> None:
    used = {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 5}}
    early = json.dumps({"usage": {"prompt_tokens": 9, "completion_tokens": 1}})
    tokens = joined(early, json.dumps({"choices": [], "usage": used})).answer().tokens
    assert (tokens.input, tokens.cached, tokens.output, tokens.reported) == (4, 5, 4, True)
    assert not joined(chunk(content="a")).answer().tokens.reported


def test_a_model_that_declines() -> None:
    end = '{"choices":[{"delta":{},"finish_reason":"stop"}]}'
    assert joined(chunk(refusal="I must not."), end).answer().finish == "content_filter"


@pytest.mark.parametrize(
    ("event", "garbled"),
    [
        ("{not json", True),
        ("[1, 2]", True),
        ("[" * 100_000, True),
        ('{"choices": "none"}', False),
        ('{"choices": [null]}', False),
        ('{"choices": [{"delta": {"tool_calls": [null, {"function": 3}], "content": 7}}]}', False),
        ('{"usage": {"prompt_tokens": -1, "completion_tokens": true}}', False),
    ],
)
def test_what_cannot_be_read_is_not_there(event: str, garbled: bool) -> None:
    stream = joined(event)
    assert (stream.text, stream.tokens, stream.prompt_tokens, stream.error) == ("", None, None, "")
    assert stream.calls == () and stream.garbled is garbled


def test_more_calls_than_anybody_does_are_cut() -> None:
    many = [chunk(tool_calls=[{"index": at, "function": {"name": "a"}}]) for at in range(1_000)]
    assert len(joined(*many).calls) == MOST_CALLS


def test_an_error_in_the_middle_of_a_stream() -> None:
    assert joined(chunk(content="so"), '{"error": {"message": "out of memory"}}').error == "out of memory"


@pytest.mark.parametrize(
    ("arguments", "fields"),
    [('{"x": ', None), ("[1]", None), ("ok", None), ('"x"', None), ("", {}), ('{"x": 1}', {"x": 1})],
)
def test_arguments_that_are_no_object(arguments: str, fields: dict[str, object] | None) -> None:
    assert Call("c", "ping", arguments).fields == fields


def test_thoughts_between_marks_are_left_out_however_they_are_cut() -> None:
    whole = "<think>\nA secret <b>.</think>\n\nAll done."
    for size in (1, 3, 7, 12, len(whole)):
        stream = Stream()
        pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
        said = [stream.take(chunk(content=one)) for one in pieces]
        said.append(stream.take('{"choices":[{"delta":{},"finish_reason":"stop"}]}'))
        assert ("".join(said), stream.text, stream.thought) == ("All done.", "All done.", True), size
    end = '{"choices":[{"delta":{"content":"<thi"},"finish_reason":"stop"}]}'
    assert joined(end).text == "<thi"
    assert joined(chunk(content="<think>hm"), '{"choices":[{"finish_reason":"stop"}]}').text == ""


def test_a_text_in_parts() -> None:
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "All "},
        {"type": "text", "text": "done."},
    ]
    stream = joined(chunk(content=parts))
    assert stream.text == "All done." and stream.thought


def test_the_pieces_of_calls_from_servers_that_differ() -> None:
    """All calls with the index 0; the name and the identifier in each piece; pieces without either."""
    for pieces in (
        [{"index": 0, "id": one, "function": {"name": one, "arguments": "{}"}} for one in "ab"],
        [
            {"index": at, "id": one, "function": {"name": one, "arguments": part}}
            for at, one in enumerate("ab")
            for part in "{}"
        ],
        [
            {**start, "function": function}
            for one in "ab"
            for start, function in (({"id": one}, {"name": one}), ({}, {"arguments": "{}"}))
        ],
    ):
        assert joined(*(chunk(tool_calls=[one]) for one in pieces)).calls == (
            Call("a", "a", "{}"),
            Call("b", "b", "{}"),
        )
    nameless = [{"function": {"name": one, "arguments": "{}"}} for one in "ab"]
    assert [one.name for one in joined(*(chunk(tool_calls=[one]) for one in nameless)).calls] == ["a", "b"]


def call(**one: object) -> str:
    return chunk(tool_calls=[one])


def ended(reason: object) -> str:
    return json.dumps({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})


PING = {"name": "ping", "arguments": '{"x": 1}'}
PINGS = (Call("a", "ping", '{"x": 1}'),)


@pytest.mark.parametrize(
    ("events", "text", "calls", "finish"),
    [
        # how streams end
        ((chunk(content="hi"), ended("stop"), DONE), "hi", (), "stop"),
        ((chunk(content="hi"), ended("stop")), "hi", (), "stop"),
        ((chunk(content="hi"), DONE), "hi", (), "stop"),
        ((chunk(content="hi"), ended(None), DONE), "hi", (), "stop"),
        ((chunk(content="hi"), ended(""), DONE), "hi", (), "stop"),
        ((chunk(content="hi"), ended("end_turn"), DONE), "hi", (), "end_turn"),
        ((call(index=0, id="a", function=PING), DONE), "", PINGS, "tool_call"),
        ((call(index=0, id="a", function=PING),), "", PINGS, "tool_call"),
        ((call(index=0, id="a", function=PING), ended("stop"), DONE), "", PINGS, "stop"),
        ((call(index=0, id="a", function=PING), ended("function_call")), "", PINGS, "tool_call"),
        (
            (chunk(content="hi"), ended("stop"), '{"choices": [], "usage": {"prompt_tokens": 3}}', DONE),
            "hi",
            (),
            "stop",
        ),
        ((chunk(content="hi"), ended("stop"), '{"choices": null}', "[DONE] "), "hi", (), "stop"),
        # how streams begin, and what they leave out
        ((chunk(role="assistant", content=None), chunk(content="hi"), ended("stop")), "hi", (), "stop"),
        (('{"choices": [{"delta": null}]}', chunk(content="hi"), ended("stop")), "hi", (), "stop"),
        ((chunk(content="hi", tool_calls=None), ended("stop")), "hi", (), "stop"),
        ((chunk(content="hi", tool_calls=[]), ended("stop")), "hi", (), "stop"),
        ((call(id="a", type="function", function=PING), ended("tool_calls")), "", PINGS, "tool_call"),
        ((call(index="0", id="a", function=PING), ended("tool_calls")), "", PINGS, "tool_call"),
        ((call(index=None, id="a", function=PING), ended("tool_calls")), "", PINGS, "tool_call"),
        (
            (call(index=0, id="a", function={"name": "ping", "arguments": {"x": 1}}), ended("tool_calls")),
            "",
            PINGS,
            "tool_call",
        ),
        (
            (
                call(index=0, id="a", function={"name": "ping", "arguments": None}),
                call(index=0, id=None, function={"name": None, "arguments": '{"x": 1}'}),
                ended("tool_calls"),
            ),
            "",
            PINGS,
            "tool_call",
        ),
        # how streams repeat
        (
            (
                call(index=0, id="a", type="function", function={"name": "ping", "arguments": '{"x"'}),
                call(index=0, id="a", type="function", function={"name": "ping", "arguments": ": 1}"}),
                ended("tool_calls"),
            ),
            "",
            PINGS,
            "tool_call",
        ),
        (
            (
                call(index=0, id="a", function=PING),
                call(index=0, function={"arguments": '{"x": 1}'}),
                ended("stop"),
            ),
            "",
            PINGS,
            "stop",
        ),
        (
            (
                chunk(content="hi"),
                '{"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}',
            ),
            "hi",
            (),
            "stop",
        ),
        (('{"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}',), "hi", (), "stop"),
    ],
)
def test_how_servers_begin_repeat_leave_out_and_end(
    events: tuple[str, ...], text: str, calls: tuple[Call, ...], finish: str
) -> None:
    stream = joined(*events)
    answer = stream.answer()
    assert stream.is_whole and (answer.text, answer.calls, answer.finish) == (text, calls, finish)


@pytest.mark.parametrize(
    "events",
    [
        (),
        (chunk(content="hi"),),
        (DONE,),
        (call(index=0, id="a", function={"name": "ping", "arguments": '{"x"'}),),
        (call(index=0, id="a", function={"name": "ping", "arguments": '{"x"'}), "half", DONE),
        (chunk(content="hi"), "<html>", ended("stop")),
    ],
)
def test_an_answer_that_was_cut_off_is_not_whole(events: tuple[str, ...]) -> None:
    assert not joined(*events).is_whole


def sent_again(*events: str) -> dict[str, Any]:
    """The model's message, as it goes back with the next question."""
    answer = joined(*events).answer()
    question = Question("s", [Answered(answer.text, answer.calls, answer.extra)], [], 9, 9.0)
    message: dict[str, Any] = request_of(question, "m", None, newest=False)["messages"][1]
    return message


def test_messages_of_a_user_in_a_row_are_one_because_many_servers_refuse_two() -> None:
    turns: list[Turn] = [Asked("one"), Asked("two"), Answered("so"), Asked("three")]
    messages = request_of(Question("s", turns, [], 9, 9.0), "m", None, newest=False)["messages"]
    assert [(one["role"], one["content"]) for one in messages[1:]] == [
        ("user", "one\n\ntwo"),
        ("assistant", "so"),
        ("user", "three"),
    ]


@pytest.mark.parametrize("made_up", [0, 1.5, True, "", " a b", [], [1, "x"], {"a": {"b": [None]}}])
def test_what_we_do_not_know_goes_back_as_it_came(made_up: object) -> None:
    call = {"index": 0, "id": "c", "x_made_up": made_up}
    function = {"name": "ls", "arguments": "{}", "x_made_up": made_up}
    message = sent_again(chunk(x_made_up=made_up, tool_calls=[{**call, "function": function}], x_null=None))
    (told,) = message.pop("tool_calls")
    assert message == {"role": "assistant", "content": None, "x_made_up": made_up}
    known = {"id": "c", "type": "function", "x_made_up": made_up}
    assert told == {**known, "function": {"name": "ls", "arguments": "{}", "x_made_up": made_up}}


def test_what_we_do_not_know_is_put_together_from_its_pieces() -> None:
    first = {"type": "text", "text": "I shall", "index": 0, "signature": None}
    last = {"type": "text", "text": " write.", "index": 0, "signature": "c2ln"}
    message = sent_again(
        chunk(reasoning_content="I shall", reasoning_details=[first]),
        chunk(reasoning_content=None, reasoning_details=[{"text": "other", "index": 1}]),
        chunk(reasoning_content=" write.", reasoning_details=[last]),
        chunk(content="Done."),
    )
    assert message["reasoning_content"] == "I shall write." and message["content"] == "Done."
    assert message["reasoning_details"] == [
        {"type": "text", "text": "I shall write.", "index": 0, "signature": "c2ln"},
        {"text": "other", "index": 1},
    ]


@pytest.mark.parametrize("value", ["1e999", '"\\ud800"', "[" * 99 + "]" * 99])
def test_what_cannot_be_sent_is_not_kept(value: str) -> None:
    event = '{"choices": [{"delta": {"content": "a", "x": ' + value + "}}]}"
    assert sent_again(event) == {"role": "assistant", "content": "a"}


def test_only_the_same_server_gets_what_only_it_can_read() -> None:
    turn = Answered("a", (Call("c", "ls", "{}", {"x": 1}),), {"reasoning_content": "hm"})
    saved = to_json("s", [turn], "one server")
    assert from_json(saved, "one server") == ("s", [turn])
    assert from_json(saved, "another") == ("s", [Answered("a", (Call("c", "ls", "{}"),))])


@pytest.mark.parametrize(
    ("status", "text", "room"),
    [
        (500, "Context size has been exceeded.", None),
        (400, '{"error": {"type": "exceed_context_size_error", "n_ctx": 4096}}', 4096),
        (400, "This model's maximum context length is 4096 tokens.", 4096),
        (400, "However, the model's context length is only 40960 tokens", 40960),
        (400, "33000 tokens and 0 draft tokens, too large for model with 32768 maximum context length", None),
        (400, "Prompt too long: 40125 tokens exceeds max context window of 32768 tokens", 32768),
        (400, "greater than the context length (n_keep: 20233>= n_ctx: 4096)", 4096),
        (
            400,
            "the first 6038 tokens when context the overflows. Loaded with context length of only 4096",
            4096,
        ),
        (400, "The prompt (5120 tokens) does not fit in context length (4096)", 4096),
        (400, "input length and `max_tokens` exceed context limit: 198000 + 8192 > 200000", None),
        (400, "prompt is too long: 215102 tokens > 200000 maximum", None),
        (
            400,
            "The input token count (1196265) exceeds the maximum number of tokens allowed (1048575).",
            None,
        ),
        (400, "Input length (9000 tokens) exceeds the maximum allowed length (8192 tokens).", None),
        (400, "the input length exceeds the context length", None),
        (413, "Request too large for model", None),
    ],
)
def test_a_prompt_that_does_not_fit_is_known_in_each_form(status: int, text: str, room: int | None) -> None:
    trouble = make_trouble(status, text.encode())
    assert trouble.too_long and trouble.room == room


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (400, "max_tokens is too large: 100000. This model supports at most 16384 completion tokens"),
        (400, "Invalid 'tools[0].function.name': string too long. Expected a maximum length of 64"),
        (400, "model does not support tools"),
        (429, "rate limit: 30000 input tokens a minute exceed the context window of your plan"),
    ],
)
def test_another_refusal_is_none_of_a_prompt_that_does_not_fit(status: int, text: str) -> None:
    assert not make_trouble(status, text.encode()).too_long


def test_a_quota_that_is_used_up_is_not_waited_for() -> None:
    used_up = make_trouble(429, b'{"error": {"code": "insufficient_quota", "message": "You exceeded it"}}')
    assert not used_up.passing and "add credit" in str(used_up)
    assert make_trouble(429, b'{"error": {"message": "rate limit"}}').passing


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("registry.ollama.ai/library/gemma:2b does not support tools", "ollama show"),
        ('"auto" tool choice requires --enable-auto-tool-choice', "--tool-call-parser NAME"),
    ],
)
def test_a_server_without_tools_is_named_with_what_to_do(text: str, fix: str) -> None:
    assert fix in str(make_trouble(400, json.dumps({"error": {"message": text}}).encode()))
