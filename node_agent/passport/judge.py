"""Judges a model's answers, check by check. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from node_agent.passport import fixes
from node_agent.passport.fixes import LEAST_CONTEXT
from node_agent.passport.questions import FILE_TEXT, NEW_WORD, OLD_WORD, PING, PING_VALUE
from node_agent.passport.replies import Reply
from node_agent.wire.endpoint import CheckFact, EndpointFact, ExamCheck, Grade, ModelFact

CUT_BELOW = 0.8
"""A prompt of which the server counts fewer tokens than this share of its words was cut."""
_CALL_MARKS = ("<tool_call", "<function", '"name"', "[TOOL_CALLS]", "<|tool")


def passed(check: ExamCheck, words: str) -> CheckFact:
    return CheckFact(check=check, grade=Grade.PASSED, words=words[:300])


def failed(check: ExamCheck, words: str, fix: str) -> CheckFact:
    return CheckFact(check=check, grade=Grade.FAILED, words=words[:300], fix=fix[:300])


def unknown(check: ExamCheck, words: str) -> CheckFact:
    return CheckFact(check=check, grade=Grade.UNKNOWN, words=words[:300])


def answers(endpoint: EndpointFact, model: ModelFact, reply: Reply, waited_s: int) -> CheckFact:
    """A token of any kind."""
    fix = fixes.for_answers(endpoint, model)
    if reply.late:
        return failed(ExamCheck.ANSWERS, f"not one token within {waited_s} s", fix)
    if not reply.well:
        return failed(ExamCheck.ANSWERS, f"{reply.status}: {reply.error}", fix)
    if reply.first_ms is None and not reply.tokens:
        return failed(ExamCheck.ANSWERS, "its answer was empty", fix)
    after = f" after {reply.first_ms / 1000:.1f} s" if reply.first_ms is not None else ""
    return passed(ExamCheck.ANSWERS, f"first token{after}")


def stated_context(endpoint: EndpointFact, model: ModelFact) -> CheckFact | None:
    """The verdict by the server's own number, if that is too small already."""
    if model.ctx_usable is None or model.ctx_usable >= LEAST_CONTEXT:
        return None
    return _too_small(endpoint, model, model.ctx_usable)


def refused_context(endpoint: EndpointFact, model: ModelFact, reply: Reply) -> CheckFact | None:
    """The limit in the refusal of a too long prompt; None: it named none."""
    if reply.ctx is None:
        return None
    if reply.ctx < LEAST_CONTEXT:
        return _too_small(endpoint, model, reply.ctx)
    return passed(ExamCheck.CONTEXT, f"{reply.ctx} tokens, and it refuses longer prompts")


def read_context(
    endpoint: EndpointFact, model: ModelFact, reply: Reply, words: int, secret: str | None
) -> CheckFact:
    """The context that was really read of a long prompt: the counted tokens, or the number that the model was
    to find."""
    if not reply.well:
        return _unread(endpoint, model, reply, words)
    if reply.prompt_tokens is not None and reply.prompt_tokens < CUT_BELOW * words:
        cut = f"a prompt of over {words} tokens was cut to {reply.prompt_tokens}, without a word"
        return failed(ExamCheck.CONTEXT, cut, fixes.for_context(endpoint, model))
    if reply.prompt_tokens is None and (secret is None or secret not in reply.text):
        return unknown(ExamCheck.CONTEXT, "the server does not count prompts, and the number was not found")
    stated = model.ctx_usable
    if stated is None:
        return unknown(ExamCheck.CONTEXT, f"over {words} tokens were read; how many fit it does not say")
    return passed(ExamCheck.CONTEXT, f"{stated} tokens as it says; over {words} were read whole")


def tools(endpoint: EndpointFact, model: ModelFact, replies: Sequence[Reply]) -> CheckFact:
    """One good call of the tries is enough."""
    if any(_is_ping(reply) for reply in replies):
        return passed(ExamCheck.TOOLS, f"called a tool with valid arguments{_tries(replies)}")
    if replies and all(reply.late for reply in replies):
        return unknown(ExamCheck.TOOLS, "no answer in the time that was left")
    return failed(ExamCheck.TOOLS, _why_no_call(replies, PING), fixes.for_tools(endpoint, model))


def edits(endpoint: EndpointFact, model: ModelFact, replies: Sequence[Reply]) -> CheckFact:
    """An edit that could be made: its old text is in the file, once."""
    whys = [_why_no_edit(reply) for reply in replies]
    if "" in whys:
        return passed(ExamCheck.EDITS, f"edited a file in the asked format{_tries(replies)}")
    if replies and all(reply.late for reply in replies):
        return unknown(ExamCheck.EDITS, "no answer in the time that was left")
    words = whys[-1] or _why_no_call(replies, "edit")
    return failed(ExamCheck.EDITS, words, fixes.for_edits(endpoint, model))


def is_good(check: ExamCheck, reply: Reply) -> bool:
    """Check whether a try needs no other after it."""
    return _is_ping(reply) if check is ExamCheck.TOOLS else _why_no_edit(reply) == ""


def _is_ping(reply: Reply) -> bool:
    """An answer that was cut off at the limit may be half a call: it counts as none."""
    call = next((one for one in reply.calls if one.name == PING), None)
    return reply.well and reply.finish != "length" and call is not None and call.fields == {"x": PING_VALUE}


def _why_no_edit(reply: Reply) -> str | None:
    """Empty: it is one. None: there was no call of it."""
    call = next((one for one in reply.calls if one.name == "edit"), None)
    if not reply.well or reply.finish == "length" or call is None:
        return None
    fields = call.fields
    if fields is None:
        return "the arguments of its edit are no JSON"
    old, new = fields.get("old"), fields.get("new")
    if not isinstance(old, str) or not isinstance(new, str) or not isinstance(fields.get("path"), str):
        return "its edit lacks path, old or new"
    if not old or FILE_TEXT.count(old) != 1:
        return "the old text of its edit is not in the file" if old else "its edit names no old text"
    if FILE_TEXT.replace(old, new) != FILE_TEXT.replace(OLD_WORD, NEW_WORD):
        return "its edit makes another change than the one asked for"
    return ""


def _why_no_call(replies: Sequence[Reply], name: str) -> str:
    """The reason why the last try had no call, in words."""
    last = replies[-1] if replies else Reply()
    if not last.well and not last.late:
        what = "its answer broke off" if last.status == 200 else "the server refused the tool"
        return f"{what}: {last.error}"
    if last.late:
        return "no answer in the time that was left"
    if last.finish == "length":
        return "it did not come to a call within its limit of tokens"
    if any(call.fields is None for call in last.calls):
        return "the arguments of its call are no JSON"
    if last.calls:
        called = last.calls[0].name
        wrong = "with other arguments than asked for" if called == name else "which is no tool here"
        return f"it called {called[:60]!r}, {wrong}"
    if any(mark in last.text for mark in _CALL_MARKS) or name in last.text:
        return "it wrote the call as text, where no program finds it"
    return "it called no tool"


def _unread(endpoint: EndpointFact, model: ModelFact, reply: Reply, words: int) -> CheckFact:
    if reply.late:
        return unknown(ExamCheck.CONTEXT, f"a prompt of over {words} tokens took longer than there was time")
    if reply.status in (400, 413) and words < LEAST_CONTEXT:
        refusal = f"refuses a prompt of over {words} tokens: {reply.error}"
        return failed(ExamCheck.CONTEXT, refusal, fixes.for_context(endpoint, model))
    return unknown(ExamCheck.CONTEXT, f"{reply.status}: {reply.error}")


def _too_small(endpoint: EndpointFact, model: ModelFact, ctx: int) -> CheckFact:
    words = f"a call gets {ctx} tokens, and a coding agent needs {LEAST_CONTEXT}"
    return failed(ExamCheck.CONTEXT, words, fixes.for_context(endpoint, model))


def _tries(replies: Sequence[Reply]) -> str:
    return f", at try {len(replies)}" if len(replies) > 1 else ""
