"""The types of request bodies; an invalid key is reported with its path and the nearest valid key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal, Protocol, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request

from node_agent.wire.job import MAX_TASK_BYTES, Reasoning
from node_agent.wire.model import MOST
from node_agent.wire.policy import Mode, NetworkAccess, Safety
from pancode.budget.books import MINUTE_MS, Ceilings
from pancode.git.forge_rules import ForgeKind
from pancode.kernel.errors import UsageError
from pancode.kernel.names import clean_user_name, find_nearest, label_word, node_name, one_line
from pancode.kernel.signature_check import HEADERS, MOST_BYTES, HookCall
from pancode.kernel.states import GpuRule, How, IdentityVariable
from pancode.kernel.values import replace
from pancode.runs.begun_later import LaterWork
from pancode.runs.declared_models import with_values
from pancode.runs.options import OPTIONS
from pancode.runs.request import DispatchRequest, LandWay, request_from

B = TypeVar("B", bound="Body")
Word = Annotated[str, AfterValidator(label_word)]
Labels = dict[Word, Word]
Line = Annotated[str, AfterValidator(one_line)]
Usd = Annotated[Decimal, Field(ge=0, le=10**9, decimal_places=9, allow_inf_nan=False)]
By = Annotated[str, Field(max_length=200), AfterValidator(clean_user_name)]
NodeName = Annotated[str, AfterValidator(node_name)]
Name = Annotated[str, Field(min_length=1)]

CallersOwn = Literal[
    "dispatch.safety",
    "dispatch.agent",
    "dispatch.reasoning",
    "models.orchestrator",
    "models.worker",
    "models.scout",
    "budget.per_run",
]
"""The settings that an environment variable may set for one command."""


class Body(BaseModel):
    """Base class of all request bodies. Accepts other JSON types where a value cannot be misread."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def has_true(body: Any, word: str) -> bool:
    """Whether the field named `word` is true in a body, or in any body inside that body."""
    if isinstance(body, Body):
        return any((name == word and value is True) or has_true(value, word) for name, value in iter(body))
    return isinstance(body, tuple) and any(has_true(one, word) for one in body)


class Empty(Body):
    """A request without fields."""


_TYPES: Mapping[str, Any] = {
    **dict.fromkeys(("Name", "ModelName", "RuntimeName"), Name),
    **{"Mode": Mode, "Safety": Safety, "Reasoning": Reasoning, "NetworkAccess": NetworkAccess},
    **dict.fromkeys(("Count", "Duration", "Size"), int),
    **{"Money": Decimal, "Labels": Labels, "bool": bool, "Gpus": int | str},
    **dict.fromkeys(("Commands", "Paths"), tuple[str, ...]),
}
"""The type in a body, by the type name of an option."""


@with_values(OPTIONS, _TYPES)
class WorkBody(Body):
    """A dispatch: the task and its options; times in milliseconds, money as a decimal string."""

    task: str = ""
    argv: tuple[str, ...] | None = None

    def asked(self, by: str) -> DispatchRequest:
        return request_from({name: getattr(self, name) for name in ("task", "argv", *OPTIONS)}, by)


class CallerSettings(Body):
    """The caller's own settings for one command."""

    settings: dict[CallersOwn, str] = Field(default_factory=dict)
    """The caller's PANCODE_ variables, as settings; they rank below a flag or preset, and above a file."""
    preset: Name | None = None
    """The preset of this command; None: the preset that is applied to all commands."""


class LaterBody(CallerSettings):
    """Larger work, such as a workflow, that may begin later."""

    land: bool = False
    """Whether the results are landed when everything is done; in a batch, each step has its own setting."""

    def later(self) -> LaterWork:
        """Return the work. UsageError if no feature has such work."""
        raise UsageError("this installation has no workflows", fix="dispatch a run")


class BeginsRun(Protocol):
    """A request body that starts runs."""

    @property
    def settings(self) -> Mapping[CallersOwn, str]: ...
    @property
    def preset(self) -> str | None: ...
    @property
    def parent(self) -> str | None: ...

    def request(self) -> DispatchRequest:
        """Return the dispatch request for the runs that the body starts."""


class DispatchBody(WorkBody, CallerSettings):
    """One dispatch; times in milliseconds, money as a decimal string."""

    by: By = "api"
    cwd: Annotated[str, Field(max_length=4096)] | None = None
    project: Name | None = None
    """A project's name, or one of its issues: the work is in its repository, and `cwd` is ignored."""
    parent: str | None = None
    depth: int = Field(default=0, ge=0, le=1_000)
    dry_run: bool = False
    yes: bool = False
    """Whether a user has approved this dispatch."""

    def request(self) -> DispatchRequest:
        request = replace(self.asked(self.by), cwd=self.cwd, depth=self.depth, of_project=self.project or "")
        return replace(request, confirmed=self.yes, preset=self.preset or "")


class ActBody(Body):
    by: By = "api"


class CollectBody(ActBody):
    """A request to delete old files. `dry_run`: only list what would be deleted."""

    dry_run: bool = False


class PresetBody(ActBody):
    """A request to apply a preset. `yes`: the user approves a higher safety level."""

    name: str
    yes: bool = False


class SettingBody(ActBody):
    """A request about one setting. `key`: its dotted path, as in `GET /v1/config`. `yes`: the user approves a
    higher safety level."""

    key: Annotated[str, Field(min_length=1, max_length=200)]
    yes: bool = False


class SetSettingBody(SettingBody):
    """A request to set a setting. `value`: the text of one value, as in a settings file."""

    value: str


class BreakerBody(ActBody):
    """A request about a circuit breaker. `name`: `provider:NAME`, `node:NAME`, `agent:NAME` or `loop`."""

    name: str


class ReasonBody(Body):
    by: By = "api"
    reason: Line = ""


class RetryBody(ReasonBody):
    """A request to retry a run. `resume`: continue its session on its node. `alone`: outside its workflow."""

    resume: bool = False
    alone: bool = False


class TellBody(ActBody):
    """A request to send an agent the message `text`."""

    text: Annotated[str, Field(max_length=MAX_TASK_BYTES)]


class AnswerBody(TellBody):
    """A request to answer a question. `text`: the answer, or the number of a choice. `program`: the program
    that answers; empty: a user answers."""

    program: Annotated[Line, Field(max_length=200)] = ""


class ContinueBody(ReasonBody):
    """A request to continue a run. `text`: the message for it; empty: the run continues its work."""

    text: Annotated[str, Field(max_length=MAX_TASK_BYTES)] = ""


class QueueBody(ReasonBody):
    """A request about a queue. `queue` None: the whole fleet."""

    queue: str | None = None


class ScopeBody(Body):
    by: By = "api"
    scope: Annotated[str, Field(max_length=300)] = "day"


class CeilingBody(ScopeBody):
    """The new budget ceiling in each currency to change; at least one currency is required."""

    usd: Usd | None = None
    tokens: int | None = Field(default=None, ge=0, le=MOST)
    minutes: Decimal | None = Field(default=None, ge=0, le=10**9, allow_inf_nan=False)

    def ceilings(self) -> Ceilings:
        """Return the new ceilings. Raises UsageError if the body has none."""
        if self.usd is None and self.tokens is None and self.minutes is None:
            raise UsageError(
                "a ceiling is required, in USD, tokens or minutes",
                fix="pancode budget set 20, or: pancode budget set --tokens 2000000",
            )
        ms = None if self.minutes is None else round(self.minutes * MINUTE_MS)
        return Ceilings(self.usd, self.tokens, ms)


class SettleBody(Body):
    by: By = "api"
    run: str
    usd: Usd


class LandBody(Body):
    by: By = "api"
    gates: bool = True
    without_gates: tuple[Line, ...] = Field(default=(), max_length=64)
    """The gates without which to land, each identified by its text."""
    anyway: bool = False
    """Whether to land also a run that did not end as `done`."""
    branch: Line = ""
    """The branch that gets a commit, instead of changing files; empty: change the files."""
    message: str = Field(default="", max_length=20_000)
    with_commands: bool = False
    """Whether to land also files that decide what runs next."""
    with_secret: bool = False
    """Whether to land also a change that has a secret of its run or could not be scanned for secrets."""
    how: How | None = None
    """How commits are made on the branch; None: as the setting `land.how` requires."""
    wait: bool = True
    """Whether to wait for the landing; False: answer at once, with the place in the queue."""
    elsewhere: bool = False
    """Whether to land even if the user's folder is in another repository than the one to change."""
    pull_to: Line = ""
    """The remote for a pull request after landing; if none can be opened there, nothing is landed."""
    forge: ForgeKind | None = None
    """The forge of that pull request; None: from the settings."""
    follow: bool = False
    """Whether to send failed checks and remarks on that pull request to the agent."""
    author: dict[IdentityVariable, Line] = Field(default_factory=dict)
    """Git's variables of author and committer in the environment of a local caller; another sends none."""

    def landing(self, how: How) -> LandWay:
        way = LandWay(self.by, self.gates, self.branch, self.message, self.with_commands, self.with_secret)
        way = replace(way, how=self.how or how, anyway=self.anyway, without_gates=self.without_gates)
        return replace(way, author={str(name): value for name, value in self.author.items()})


class CallerBody(Body):
    """A request with the user's name and the parts of the user's environment that a node start may use."""

    by: By = "api"
    environ: dict[str, str] = Field(default_factory=dict)


class NodesBody(CallerBody):
    """A request about these nodes; an empty list means all nodes."""

    nodes: tuple[str, ...] = ()
    now: bool = False


class UpBody(NodesBody):
    """A request to start nodes. `take_up`: the modes (`held`, `fenced`) in which this coordinator is to lead
    the fleet from now on; a user has confirmed it."""

    take_up: tuple[Literal["held", "fenced"], ...] = ()


class DrainBody(ReasonBody):
    """A request to drain these nodes; an empty list means the whole fleet."""

    nodes: tuple[str, ...] = ()


class SpecBody(CallerBody):
    name: NodeName
    host: str | None = None
    user: str | None = None
    port: int | None = Field(default=None, ge=1, le=65535)
    identity: str | None = None
    labels: Labels = Field(default_factory=dict)
    slots: int | None = Field(default=None, ge=1, le=256)
    least: int | None = Field(default=None, ge=1, le=256)
    fingerprint: str | None = None
    fleet_key: bool = False
    local: bool = False
    local_home: str | None = None
    node_home: str | None = Field(default=None, pattern=r"^/[\w./+-]+$", max_length=400)


class HandedBody(Body):
    """The progress of a bring-up by another tool: no progress yet, the probe's answer, or the node's key."""

    by: By = "api"
    probe: str | None = Field(default=None, max_length=1 << 20)
    key: str | None = Field(default=None, max_length=400)
    remove: bool = False


class SetBody(Body):
    """The changes to a node. `slots` None: no change. `least`: the number of slots while it is under load."""

    by: By = "api"
    slots: int | None = Field(default=None, ge=1, le=256)
    least: int | None = Field(default=None, ge=1, le=256)
    gpus: GpuRule | None = None
    labels: Labels = Field(default_factory=dict)
    unlabel: tuple[str, ...] = ()


class ExamBody(Body):
    """A request to test a model. `model`: as for `--model`. `again`: test even one with a passport."""

    by: By = "api"
    model: str = Field(min_length=1, max_length=600)
    node: str | None = None
    again: bool = False


class LoginBody(Body):
    """A user's login to an agent program's vendor, made on a terminal. `outcome`: the result of the login."""

    by: By = "api"
    runtime: str
    outcome: str | None = Field(default=None, max_length=500)


class ProgramsBody(Body):
    """A request to install or remove a node's agent programs. `outcome`: the result reported by the node."""

    by: By = "api"
    act: Literal["install", "update", "uninstall"]
    runtimes: tuple[Name, ...] = Field(default=(), max_length=50)
    outcome: str | None = Field(default=None, max_length=500)


class TrustBody(CallerBody):
    fingerprint: str


class ShutdownBody(Body):
    by: By = "api"


def parse_body(kind: type[B], data: Any) -> B:
    """Return the parsed body. UsageError with the path of the first invalid key and the nearest valid one."""
    try:
        return kind.model_validate(data)
    except ValidationError as exc:
        wrong = _make_body_error(kind, exc)
        wrong.details["path"] = _find_path(exc)  # for a form, which shows the error at its field
        raise wrong from exc


def _find_path(exc: ValidationError) -> str:
    return ".".join(str(part) for part in exc.errors()[0]["loc"]).removesuffix(".[key]")


def _make_body_error(kind: type[Body], exc: ValidationError) -> UsageError:
    error = exc.errors(include_url=False, include_input=False)[0]
    path = _find_path(exc)
    if error["type"] == "extra_forbidden":
        names = _keys_at(kind, error["loc"])
        near = find_nearest(str(error["loc"][-1]), names)
        fix = f"did you mean {near}?" if near is not None else f"valid keys: {', '.join(names)}"
        return UsageError(f"the request has the unknown key {path!r}", fix=fix, code="unknown_key")
    if error["type"] == "enum":
        return _not_one_of(path, exc.errors(include_url=False)[0])
    if error["type"] == "string_too_short":
        return UsageError(f"{path}: the value is empty", fix="give a value, or omit it", code="bad_value")
    if not path:
        return UsageError(
            "the request must be a JSON object", fix="send a JSON object, such as {}", code="bad_value"
        )
    words, _, fix = error["msg"].removeprefix("Value error, ").partition(". Fix: ")
    field = kind.model_fields.get(path)
    must = field is not None and field.is_required()
    return UsageError(f"{path[:80]}: {words}", fix=fix or _format_hint(error, path, must), code="bad_value")


def _keys_at(kind: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """Return the keys that are valid at the place of an invalid key."""
    for part in loc[:-1]:
        fields = {field.alias or name: field for name, field in kind.model_fields.items()}
        inner = inner_bodies(fields[part].annotation) if part in fields else []
        kind = inner[0] if inner else kind
    return [field.alias or name for name, field in kind.model_fields.items()]


def inner_bodies(hint: Any) -> list[type[BaseModel]]:
    """Return the models contained in this type."""
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return [hint]
    return [found for arm in get_args(hint) for found in inner_bodies(arm)]


def _not_one_of(path: str, error: Mapping[str, Any]) -> UsageError:
    """Return the error for an invalid value, with the nearest valid value."""
    word, known = str(error["input"]), re.findall(r"'([^']*)'", error["ctx"]["expected"])
    near = find_nearest(word, known)
    why = f"did you mean {near}?" if near is not None else ""
    return UsageError(
        f"{path}: {word!r} is not a valid value", why=why, fix=f"one of {', '.join(known)}", code="bad_value"
    )


def _format_hint(error: Mapping[str, Any], path: str, must: bool) -> str:
    """Return a hint how to correct the error. `must`: whether the key is required."""
    if expected := error.get("ctx", {}).get("expected"):
        return f"valid values: {expected}"
    return f"give another {path[:80]}" if must else f"change {path[:80]}, or omit it"


class SignedBody(Body):
    """A request body of raw bytes that are never parsed as JSON, because the signature covers these bytes."""

    raw: bytes
    headers: dict[str, str]

    @staticmethod
    async def of(request: Request) -> SignedBody:
        raw = await bytes_of(request, MOST_BYTES)
        headers = {name: request.headers[name] for name in HEADERS if name in request.headers}
        return SignedBody(raw=raw, headers=headers)

    def signed(self) -> HookCall:
        return HookCall(self.headers, self.raw)


async def bytes_of(request: Request, most: int) -> bytes:
    """Return the whole body. UsageError if it is larger than `most`, without reading the rest of it."""
    raw = bytearray()
    async for piece in request.stream():
        raw += piece
        if len(raw) > most:
            raise UsageError(
                f"the request is larger than {most} bytes", fix="send a smaller request", code="too_large"
            )
    return bytes(raw)
