"""Request bodies, key by key; a wrong key is reported with its path and the nearest right one."""

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
from pancode.fleet.acts import LinkWay
from pancode.git.forge_rules import ForgeKind
from pancode.kernel.errors import UsageError
from pancode.kernel.names import clean_user_name, find_nearest, label_word, node_name, one_line
from pancode.kernel.signature_check import HEADERS, MOST_BYTES, HookCall
from pancode.kernel.states import GpuRule, How
from pancode.kernel.values import replace
from pancode.landing.model import LandWay
from pancode.runs.options import OPTIONS
from pancode.runs.request import DispatchRequest, request_from, with_options

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
"""The settings that a variable of one command may set."""


class Body(BaseModel):
    """Base of all request bodies. Lax about JSON's types where nothing can be misread."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def has_true(body: Any, word: str) -> bool:
    """Whether the field `word` is true in a body, or in any body inside of it."""
    if isinstance(body, Body):
        return any((name == word and value is True) or has_true(value, word) for name, value in iter(body))
    return isinstance(body, tuple) and any(has_true(one, word) for one in body)


class Empty(Body):
    """A request without any field."""


_TYPES: Mapping[str, Any] = {
    **dict.fromkeys(("Name", "ModelName", "RuntimeName"), Name),
    **{"Mode": Mode, "Safety": Safety, "Reasoning": Reasoning, "NetworkAccess": NetworkAccess},
    **dict.fromkeys(("Count", "Duration", "Size"), int),
    **{"Money": Decimal, "Labels": Labels, "bool": bool, "Gpus": int | str},
    **dict.fromkeys(("Commands", "Paths"), tuple[str, ...]),
}
"""The type in a body, by the name of an option's type."""


@with_options(_TYPES)
class WorkBody(Body):
    """A dispatch: the task and its options; times in milliseconds, money as a decimal string."""

    task: str = ""
    argv: tuple[str, ...] | None = None

    def asked(self, by: str) -> DispatchRequest:
        return request_from({name: getattr(self, name) for name in ("task", "argv", *OPTIONS)}, by)


class CallerSettings(Body):
    """The caller's own settings of one command."""

    settings: dict[CallersOwn, str] = Field(default_factory=dict)
    """The caller's PANCODE_ variables, as settings; they rank below a flag or preset, and above a file."""
    preset: Name | None = None
    """The preset of this command; None: the applied one."""


class BeginsRun(Protocol):
    """A body that asks for runs."""

    @property
    def settings(self) -> Mapping[CallersOwn, str]: ...
    @property
    def preset(self) -> str | None: ...
    @property
    def parent(self) -> str | None: ...

    def request(self) -> DispatchRequest:
        """Return the request of each of these runs."""


class DispatchBody(WorkBody, CallerSettings):
    """One dispatch; times in milliseconds, money as a decimal string."""

    by: By = "api"
    cwd: Annotated[str, Field(max_length=4096)] | None = None
    project: Name | None = None
    """A project's name, or an issue of it: the work is in its repository, and `cwd` does not count."""
    parent: str | None = None
    depth: int = Field(default=0, ge=0, le=1_000)
    dry_run: bool = False
    yes: bool = False
    """A user has said yes to this very dispatch."""

    def request(self) -> DispatchRequest:
        request = replace(self.asked(self.by), cwd=self.cwd, depth=self.depth, of_project=self.project or "")
        return replace(request, confirmed=self.yes, preset=self.preset or "")


class ActBody(Body):
    by: By = "api"


class CollectBody(ActBody):
    """`dry_run`: only say what would be deleted."""

    dry_run: bool = False


class PresetBody(ActBody):
    """`yes`: a user agrees to a higher safety level."""

    name: str
    yes: bool = False


class SettingBody(ActBody):
    """`key`: a setting by its dotted path, as `GET /v1/config` lists it. `yes`: a user agrees to a higher
    safety level.
    """

    key: Annotated[str, Field(min_length=1, max_length=200)]
    yes: bool = False


class SetSettingBody(SettingBody):
    """`value`: the text of one value, as a file would have it."""

    value: str


class BreakerBody(ActBody):
    """`name`: `provider:NAME`, `node:NAME`, `agent:NAME` or `loop`."""

    name: str


class ReasonBody(Body):
    by: By = "api"
    reason: Line = ""


class VerifyBody(ActBody):
    """`on`: a node's name, or `other`. `again`: also a disputed result; needs the scope operate."""

    on: Name = "other"
    again: bool = False


class RetryBody(ReasonBody):
    """`resume`: continue with the run's session, on its node. `alone`: outside of the run's workflow."""

    resume: bool = False
    alone: bool = False


class TellBody(ActBody):
    """`text`: words for an agent."""

    text: Annotated[str, Field(max_length=MAX_TASK_BYTES)]


class AnswerBody(TellBody):
    """`text`: the answer; one of the question's choices may be named by its number.

    `program`: the program that answers; empty: a user does.
    """

    program: Annotated[Line, Field(max_length=200)] = ""


class ContinueBody(ReasonBody):
    """`text`: the remark with which a run is continued; empty: it continues with its work."""

    text: Annotated[str, Field(max_length=MAX_TASK_BYTES)] = ""


class QueueBody(ReasonBody):
    """`queue` None: the whole fleet."""

    queue: str | None = None


class ScopeBody(Body):
    by: By = "api"
    scope: Annotated[str, Field(max_length=300)] = "day"


class CeilingBody(ScopeBody):
    """The ceiling in each currency that is to be changed; at least one."""

    usd: Usd | None = None
    tokens: int | None = Field(default=None, ge=0, le=MOST)
    minutes: Decimal | None = Field(default=None, ge=0, le=10**9, allow_inf_nan=False)

    def ceilings(self) -> Ceilings:
        """Return the ceilings. UsageError when the body names none."""
        if self.usd is None and self.tokens is None and self.minutes is None:
            raise UsageError(
                "a ceiling is required: USD, tokens or minutes",
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
    """Land without these gates, each named by its text."""
    anyway: bool = False
    """Land also a run that did not end as `done`."""
    branch: Line = ""
    """The branch that gets a commit, in place of changed files; empty: change the files."""
    message: str = Field(default="", max_length=20_000)
    with_commands: bool = False
    """Land also files that decide what runs next."""
    with_secret: bool = False
    """Land also a change with a secret of its run, or one that could not be searched for secrets."""
    how: How | None = None
    """How the commits on the branch are made; None: as `land.how` says."""
    wait: bool = True
    """False: the answer comes at once, with its place in the queue."""
    elsewhere: bool = False
    """Land also where the user stands in another repository than the one that is written into."""
    pull_to: Line = ""
    """The remote of a pull request that is to follow; where none can be opened there, nothing is landed."""
    forge: ForgeKind | None = None
    """The forge of that pull request; None: as the settings say."""

    def landing(self, how: How) -> LandWay:
        way = LandWay(self.by, self.gates, self.branch, self.message, self.with_commands, self.with_secret)
        return replace(way, how=self.how or how, anyway=self.anyway, without_gates=self.without_gates)


class CallerBody(Body):
    """The user who asks, with the parts of that user's environment that bring-up may use."""

    by: By = "api"
    environ: dict[str, str] = Field(default_factory=dict)


class NodesBody(CallerBody):
    """`names` empty: all nodes."""

    nodes: tuple[str, ...] = ()
    now: bool = False


class UpBody(NodesBody):
    """`link` None: the link stays as it is."""

    link: LinkWay | None = None


class DrainBody(ReasonBody):
    """`names` empty: the whole fleet."""

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
    link: LinkWay = "ssh"
    local: bool = False
    local_home: str | None = None
    node_home: str | None = Field(default=None, pattern=r"^/[\w./+-]+$", max_length=400)


class HandedBody(Body):
    """The progress of a bring-up by another tool: nothing yet, the probe's answer, or the node's key."""

    by: By = "api"
    probe: str | None = Field(default=None, max_length=1 << 20)
    key: str | None = Field(default=None, max_length=400)
    remove: bool = False


class SetBody(Body):
    """The changes to a node; `slots` None: no change. `least`: how many of them while it is strained."""

    by: By = "api"
    slots: int | None = Field(default=None, ge=1, le=256)
    least: int | None = Field(default=None, ge=1, le=256)
    gpus: GpuRule | None = None
    labels: Labels = Field(default_factory=dict)
    unlabel: tuple[str, ...] = ()


class ExamBody(Body):
    """The model as `--model` takes it. `again`: also where the model has a passport already."""

    by: By = "api"
    model: str = Field(min_length=1, max_length=600)
    node: str | None = None
    again: bool = False


class LoginBody(Body):
    """A vendor's login that a user makes at a terminal. `outcome`: its result."""

    by: By = "api"
    runtime: str
    outcome: str | None = Field(default=None, max_length=500)


class ProgramsBody(Body):
    """Agent programs that a user installs on or takes off a machine. `outcome`: what the machine said."""

    by: By = "api"
    act: Literal["install", "update", "uninstall"]
    runtimes: tuple[Name, ...] = Field(default=(), max_length=50)
    outcome: str | None = Field(default=None, max_length=500)


class TrustBody(CallerBody):
    fingerprint: str


class ShutdownBody(Body):
    by: By = "api"


def parse_body(kind: type[B], data: Any) -> B:
    """Return the body; UsageError with the path of the first wrong key, and the nearest right one."""
    try:
        return kind.model_validate(data)
    except ValidationError as exc:
        wrong = _wrong(kind, exc)
        wrong.details["path"] = _path(exc)  # for a form, which shows it at its field
        raise wrong from exc


def _path(exc: ValidationError) -> str:
    return ".".join(str(part) for part in exc.errors()[0]["loc"]).removesuffix(".[key]")


def _wrong(kind: type[Body], exc: ValidationError) -> UsageError:
    error = exc.errors(include_url=False, include_input=False)[0]
    path = _path(exc)
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
        return UsageError("the request must be a JSON object", fix="send one, such as {}", code="bad_value")
    words = error["msg"].removeprefix("Value error, ")
    field = kind.model_fields.get(path)
    must = field is not None and field.is_required()
    return UsageError(f"{path[:80]}: {words}", fix=_hint(error, path, must), code="bad_value")


def _keys_at(kind: type[Body], loc: tuple[int | str, ...]) -> list[str]:
    """Return the keys that may stand beside the wrong one."""
    for part in loc[:-1]:
        fields = {field.alias or name: field for name, field in kind.model_fields.items()}
        inner = inner_bodies(fields[part].annotation) if part in fields else []
        kind = inner[0] if inner else kind
    return [field.alias or name for name, field in kind.model_fields.items()]


def inner_bodies(hint: Any) -> list[type[Body]]:
    """Return the bodies that stand inside of this type."""
    if isinstance(hint, type) and issubclass(hint, Body):
        return [hint]
    return [found for arm in get_args(hint) for found in inner_bodies(arm)]


def _not_one_of(path: str, error: Mapping[str, Any]) -> UsageError:
    """Return the error for a word that may not stand there, with the nearest one that may."""
    word, known = str(error["input"]), re.findall(r"'([^']*)'", error["ctx"]["expected"])
    near = find_nearest(word, known)
    why = f"did you mean {near}?" if near is not None else ""
    return UsageError(
        f"{path} {word!r} not found", why=why, fix=f"one of {', '.join(known)}", code="bad_value"
    )


def _hint(error: Mapping[str, Any], path: str, must: bool) -> str:
    """Return a hint for the fix. `must`: the request cannot do without the key."""
    if expected := error.get("ctx", {}).get("expected"):
        return f"it may be {expected}"
    return f"give another {path[:80]}" if must else f"change {path[:80]}, or omit it"


class SignedBody(Body):
    """A signed request's bytes, never read as JSON: a signature is of bytes, and their text is not used."""

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
    """Return the whole body. UsageError for one that is larger than `most`; no more of it is kept."""
    raw = bytearray()
    async for piece in request.stream():
        raw += piece
        if len(raw) > most:
            raise UsageError(
                f"the request is larger than {most} bytes", fix="send a smaller request", code="too_large"
            )
    return bytes(raw)
