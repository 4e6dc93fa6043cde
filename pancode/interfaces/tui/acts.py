"""Acts on runs, nodes, workflows and the inbox: the thing, the request, and the question before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pancode.interfaces.client.client import ANSWER_S, LAND_S, path_of
from pancode.interfaces.tui.page import Json, Page, PagePlace, PageRow
from pancode.interfaces.tui.views import ApiAsk, ask_issue
from pancode.kernel.formatting import clip_columns, count_noun, escape_line, escape_text, format_usd

IDS = {"run": "run", "node": "name", "workflow": "workflow", "item": "id", "issue": "issue"}
_SHOWS = {"node": "node", "workflow": "workflow", "item": "item"}
_OF_RUNS = frozenset({"run", "why", "log", "diff", "receipt"})


@dataclass(frozen=True, slots=True)
class KeySubject:
    """The thing that a key acts on. `kinds`: what a key may take it as; an inbox item is its run, too."""

    kinds: frozenset[str]
    shape: Json

    def name(self, kind: str) -> str:
        return str(self.shape[IDS[kind]])

    @property
    def copied(self) -> str:
        """The id that `y` copies; "" where the thing has none."""
        order = ("run", "workflow", "node") if "item" in self.kinds else ("workflow", "node", "run")
        return next((self.name(kind) for kind in order if kind in self.kinds), "")

    def kind_for(self, kinds: frozenset[str]) -> str:
        """Return the kind as which a key takes the thing; "" where it is of none of these kinds."""
        found = sorted(self.kinds & kinds, key=lambda kind: kind == "run")
        return found[0] if found else ""


def find_subject(page: Page, row: PageRow | None, place: PagePlace) -> KeySubject:
    """Return the thing that a key acts on: the marked row's, or the page's own; an empty one for none."""
    if row is None:
        kinds = {_SHOWS[place.view]} if place.view in _SHOWS and page.shape else set[str]()
        return KeySubject(frozenset(_with_run(kinds, page.shape)), page.shape)
    kinds = {row.kind} if row.kind in IDS else set[str]()
    return KeySubject(frozenset(_with_run(kinds, row.shape)), row.shape)


def identify_place(place: PagePlace) -> Json:
    """Return the thing that a place shows, as far as it is known before any answer: keys act on it already.

    What an item of the inbox asks is not known yet, and an approval is of its words.
    """
    kind = "run" if place.view in _OF_RUNS else _SHOWS.get(place.view, "")
    return {IDS[kind]: place.about} if kind in ("run", "node", "workflow") else {}


def _with_run(kinds: set[str], shape: Json) -> set[str]:
    return {*kinds, "run"} if shape.get("run") else kinds


def way_of(shape: Json) -> str:
    """Return the act of an approval of an item of the inbox: `answer` for a question, else `approve`."""
    return "answer" if shape["kind"] == "question" else "approve"


_WORDS = 200
"""How many columns of foreign words a question shows."""


@dataclass(frozen=True, slots=True)
class Act:
    """A request, and the question to the user before it is sent. `says`: what is shown once it is done."""

    question: str
    path: str
    body: dict[str, Any] = field(default_factory=dict)
    says: str = ""
    wait_s: float = ANSWER_S


@dataclass(frozen=True, slots=True)
class ActKind:
    """A kind of act. `look`: a GET before the question, which then names what is true now; None: no need.

    `words`: the label of a field for the user's message; empty: the key alone is enough.
    """

    look: Callable[[str], ApiAsk] | None
    act: Callable[[Json, str], Act]
    words: str = ""


def _brief(run: str) -> ApiAsk:
    return ApiAsk(path_of("runs", run, "brief"))


def _workflow(workflow: str) -> ApiAsk:
    return ApiAsk(path_of("workflows", workflow))


def format_spent(run: Json) -> str:
    amount = run["usage"]["cost_usd"]
    return "cost not known yet" if amount is None else f"{format_usd(amount)} so far"


def _post(verb: str, question: str, says: str, wait_s: float = ANSWER_S) -> Callable[[Json, str], Act]:
    """Return an act on a run, by its question; where that is empty, the user's message is sent."""

    def act(run: Json, words: str) -> Act:
        files = count_noun(len(run.get("files_changed", ())), "file")
        facts = {"run": run["run"], "files": files, "node": escape_line(run.get("node") or "its node")}
        path = path_of("runs", run["run"], *verb.split("/"))
        body = {} if question else {"text": words}
        return Act(question.format_map(facts), path, body, says.format_map(facts), wait_s)

    return act


def _stop(run: Json, words: str) -> Act:
    name = run["run"]
    where = f"{run['runtime']} on {run['node']}" if run["node"] else f"{run['runtime']}, on no node yet"
    question = f"Stop run {name}: {escape_line(where)}, {format_spent(run)}?"
    return Act(question, path_of("runs", name, "stop"), {"reason": ""}, f"{name} is asked to end")


def _retry(run: Json, words: str) -> Act:
    name = run["run"]
    task = clip_columns(escape_line(run["task"]), 60)
    question = (
        f"Retry {name} as a new run: {escape_line(run['agent'])} ({escape_line(run['runtime'])}), {task!r}?"
    )
    return Act(question, path_of("runs", name, "retry"), {}, f"{name} is retried")


def add_flags(act: Act, why: str, yes: str) -> Act:
    """The same landing with the flags that it needs; the question names what they allow."""
    flags = {flag.removeprefix("--").replace("-", "_"): True for flag in yes.split()}
    what = clip_columns(escape_line(why), _WORDS)
    question = f"It changes what needs your approval: {what}. Land it all the same?"
    return Act(question, act.path, {**act.body, **flags}, act.says, act.wait_s)


def _drain(node: Json, words: str) -> Act:
    name, used = escape_line(node["name"]), count_noun(node["slots"]["used"], "run")
    question = f"Drain {name}: nothing new starts there, {used} in flight continue?"
    if node["draining"] is not None or node["paused"] or node["quarantined"]:
        question = f"Resume {name}: it takes new work again?"
        return Act(question, "/v1/fleet/resume", {"nodes": [node["name"]]}, f"{name} takes work again")
    return Act(question, "/v1/fleet/drain", {"nodes": [node["name"]]}, f"{name} drains")


def _stop_workflow(shape: Json, words: str) -> Act:
    name = shape["workflow"]
    left = sum(step["finished_at"] is None for step in shape["steps"])
    question = (
        f"Stop workflow {name}: {count_noun(left, 'step')} not ended, "
        f"{format_usd(shape['cost']['usd'])} so far?"
    )
    return Act(question, path_of("workflows", name, "stop"), {"reason": ""}, f"{name} is stopped")


def _retry_workflow(shape: Json, words: str) -> Act:
    name = shape["workflow"]
    question = f"Retry workflow {name} {escape_line(shape['name'])!r}: all of it anew, as a new workflow?"
    return Act(question, path_of("workflows", name, "retry"), {}, f"{name} is retried")


def _of_need(name: str) -> Callable[[Json, str], Act]:
    """Return an act on an item of the inbox, as its need states it; an approval shows all that it covers."""

    def act(item: Json, words: str) -> Act:
        one = next(each for each in item["acts"] if each["name"] == name)
        covered = dict.fromkeys(filter(None, (item["words"], item["approves"])))
        shown = "".join(f"\n{escape_text(text, '    ')}" for text in covered) if name == "approve" else ""
        body = {**one["body"], **({"text": words} if one["takes_text"] else {})}
        done = f"{item['run']}: {one['label'].lower()} is done"
        return Act(f"{escape_line(one['asks'])}{shown}", one["path"], body, done, LAND_S)

    return act


def _resume_workflow(shape: Json, words: str) -> Act:
    name = shape["workflow"]
    left = sum(step["state"] != "done" for step in shape["steps"])
    question = (
        f"Begin {count_noun(left, 'step')} of {name} again that did not succeed? Completed steps are kept."
    )
    return Act(question, path_of("workflows", name, "resume"), {}, f"{name} continues")


def _begin(issue: Json, words: str) -> Act:
    name, title = issue["issue"], clip_columns(escape_line(issue["title"]), 60)
    question = f"Have an agent work on {name} {title!r}, in a workspace of its own, and tell its tracker?"
    return Act(question, "/v1/work", {"issue": name}, f"{name} is begun")


_LANDS = "Land {run}: write {files} into the checkout it was dispatched from, gates first?"
_RESOLVES = "Let an agent settle the conflict of {run} with your files? Its result is a run of its own."
_DROPS = "Drop {run} ({files})? Its change is kept, but it is no longer in the inbox."
ACTS: Mapping[tuple[str, str], ActKind] = {
    ("stop", "run"): ActKind(_brief, _stop),
    ("retry", "run"): ActKind(_brief, _retry),
    ("land", "run"): ActKind(_brief, _post("land", _LANDS, "{run} is landed", LAND_S)),
    ("continue", "run"): ActKind(
        _brief, _post("continue", "", "{run} continues with your message"), "What is still to be done by"
    ),
    ("resolve", "run"): ActKind(
        _brief, _post("land/resolve", _RESOLVES, "the conflict of {run} is being resolved")
    ),
    ("drop", "run"): ActKind(_brief, _post("land/drop", _DROPS, "{run} is dropped")),
    ("tell", "run"): ActKind(_brief, _post("tell", "", "message sent to {run}"), "Message for the agent of"),
    ("begin", "issue"): ActKind(ask_issue, _begin),
    ("drain", "node"): ActKind(lambda node: ApiAsk(path_of("nodes", node)), _drain),
    ("stop", "workflow"): ActKind(_workflow, _stop_workflow),
    ("continue", "workflow"): ActKind(_workflow, _resume_workflow),
    ("retry", "workflow"): ActKind(_workflow, _retry_workflow),
    ("approve", "item"): ActKind(None, _of_need("approve")),
    ("deny", "item"): ActKind(None, _of_need("deny")),
    ("answer", "item"): ActKind(None, _of_need("answer"), "Your answer to"),
}
"""The acts by name and by the kind of thing."""


def format_choices(shape: Json) -> str:
    """Return what a user reads above the field for the answer: the question and its numbered choices."""
    asked = escape_line(shape.get("words", ""))
    listed = "".join(
        f"\n  {number}: {escape_line(one)}" for number, one in enumerate(shape.get("choices", ()), start=1)
    )
    return f"{asked}{listed}"
