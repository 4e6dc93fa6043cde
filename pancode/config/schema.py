"""Every setting with type and default: the schema that reference.yaml documents."""

from __future__ import annotations

import ipaddress
import re
from decimal import Decimal
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

from node_agent.wire.job import MAX_REPORTS, MOST_PORTS
from node_agent.wire.keep import KEEP as _OF_NODES
from node_agent.wire.keep import KeepBound, NodeKeep
from node_agent.wire.policy import Mode, NetworkAccess, Safety
from pancode.agents.models import model_ref
from pancode.agents.runtimes import known_runtime
from pancode.agents.tiers import ModelTier
from pancode.budget.track_record_rules import EXPLORE
from pancode.config import units
from pancode.config.notify import USUAL, NoticeKind, NoticeRoute, NotifyRules, QuietHours
from pancode.config.projects import ProjectSettings
from pancode.config.units import SecretShownError
from pancode.git.forge_rules import ForgeAccess, ForgeKind
from pancode.kernel.errors import ConfigError, UsageError
from pancode.kernel.formatting import zone_of
from pancode.kernel.states import How, LandRule
from pancode.runs.life.health import HealthRules
from pancode.runs.request import Defaults, Project
from pancode.runs.retention.rules import KeepRules

_SECRET = re.compile(r"secret:([A-Za-z0-9][A-Za-z0-9_-]{0,62})")


def _require_token_name(text: str) -> str:
    """Return `secret:NAME` unchanged; ValueError for a literal token."""
    if not _SECRET.fullmatch(text):
        raise SecretShownError(
            "a token must be a reference: token: secret:forge. Fix: pancode config secret forge"
        )
    return text


def _check_api_url(text: str) -> str:
    """Return the API's URL; ValueError if it would send a token unencrypted, or contains a login."""
    parts = urlsplit(text)
    if not parts.hostname or "@" in parts.netloc or parts.query or parts.fragment or not text.isprintable():
        raise SecretShownError("the URL of an API must have the form https://git.example.org/api/v1")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_here(parts.hostname)):
        raise ValueError("tokens are sent only over https://, except to an API on this machine")
    return text


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class ForgeSettings(BaseModel):
    """A git forge. `token`: `secret:NAME`. Without `url`, the usual HTTPS address of its API is used."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    token: Annotated[str, AfterValidator(_require_token_name)]
    kind: Annotated[ForgeKind | None, Field(strict=False)] = None
    url: Annotated[str, AfterValidator(_check_api_url)] | None = None

    def access(self) -> ForgeAccess:
        """Return the settings in the form used for decisions."""
        return ForgeAccess(self.token.removeprefix("secret:"), self.kind, self.url)


class Telemetry(BaseModel):
    """Traces of runs, sent to an OpenTelemetry collector. Without an endpoint nothing is sent. `tasks`: also
    send the text of tasks."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    endpoint: str | None = Field(default=None, pattern=r"^https?://[^\s@]+$")
    tasks: bool = False


SECRET = "secret:"
_QUIET = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)(?: (\S+))?")


def _require_url_name(text: str) -> str:
    """Return `secret:NAME` unchanged; ValueError for a literal address, which contains a password."""
    name = text.removeprefix(SECRET)
    if name == text or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", name):
        raise SecretShownError(
            "a channel's address contains a password, so it must be a reference: url: secret:phone. Fix: "
            "pancode config secret phone"
        )
    return text


def _check_quiet(text: str) -> str:
    found = _QUIET.fullmatch(text)
    if found is None:
        raise ValueError("quiet hours must have the form 22:00-07:00 Europe/Berlin")
    try:
        zone_of(found[5] or "UTC")
    except UsageError as exc:
        raise ValueError(f"{exc}; {exc.fix}") from exc
    return text


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class NotifyChannel(_Part):
    """One way to reach a user. `url`: `secret:NAME`; that secret is the address in Apprise's form."""

    url: Annotated[str, AfterValidator(_require_url_name)]


class NotifyRule(_Part):
    """A rule for which notices go to which channels; an omitted field means all."""

    to: units.Texts
    kinds: Annotated[tuple[NoticeKind, ...], Field(strict=False)] = USUAL
    agents: units.Texts = ()
    nodes: units.Texts = ()
    repositories: units.Texts = ()


class Notify(_Part):
    """Notices to users. Without rules every channel gets all kinds of notices but `ended_well`.

    `quiet`: hours in which only the kinds in `urgent` are sent; others are sent afterwards. `console`: the
    address of the web console, for links. `answers`: include a link to answer questions, if `console` uses
    HTTPS or is on this machine, and `api.listen` is set.
    """

    channels: dict[str, NotifyChannel] = {}
    rules: Annotated[tuple[NotifyRule, ...], Field(strict=False)] = ()
    quiet: Annotated[str, AfterValidator(_check_quiet)] | None = None
    urgent: Annotated[tuple[NoticeKind, ...], Field(strict=False)] = ()
    console: str | None = Field(default=None, pattern=r"^https?://[^\s?#]+$")
    answers: bool = True

    def routes(self, is_open: bool = False) -> NotifyRules:
        """Return the form used for decisions. `is_open`: whether a browser can reach the API."""
        rules = tuple(
            NoticeRoute(rule.to, rule.kinds, rule.agents, rule.nodes, rule.repositories)
            for rule in self.rules
        )
        return NotifyRules(
            channels={name: one.url.removeprefix(SECRET) for name, one in self.channels.items()},
            routes=rules or (NoticeRoute(tuple(self.channels)),),
            quiet=None if self.quiet is None else _parse_quiet_hours(self.quiet),
            urgent=self.urgent,
            console=self.console,
            answers=self.answers and is_open and _is_private(self.console),
        )


def _is_private(console: str | None) -> bool:
    """Whether the traffic to the console cannot be read by others."""
    parts = urlsplit(console or "")
    return parts.scheme == "https" or parts.hostname in ("localhost", "127.0.0.1", "::1")


def _parse_quiet_hours(text: str) -> QuietHours:
    found = _QUIET.fullmatch(text)
    assert found is not None  # the settings were validated
    begin, end = int(found[1]) * 60 + int(found[2]), int(found[3]) * 60 + int(found[4])
    return QuietHours(begin, end, found[5] or "UTC")


MINUTE_MS = 60_000


def _model_name(text: str) -> str:
    """Return the name unchanged; ValueError for an invalid model name."""
    try:
        model_ref(text)
    except UsageError as exc:
        raise ValueError(f"{exc}; {exc.why}") from exc
    return text


ModelName = Annotated[str, AfterValidator(_model_name)]
ModelNames = Annotated[tuple[ModelName, ...], BeforeValidator(units.as_tuple)]


class Part(BaseModel):
    """A frozen group of settings; an unknown key or a wrong type is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Budget(Part):
    """Money in USD, and the estimated tokens and time of a run without history."""

    ceiling: units.Money = Decimal(10)
    per_run: units.Money | None = None
    estimate: units.Money = Decimal("0.75")
    estimate_tokens: int = Field(default=200_000, ge=0)
    estimate_time: units.Duration = 10 * MINUTE_MS


class SessionSettings(Part):
    """The cost limits of an interactive run, and of all interactive runs of one session; None: no limit.
    `tell`: an orchestrator's session is notified when the runs that it started end."""

    sitting_usd: Annotated[units.Money, Field(gt=0)] = Decimal(2)
    max_usd: units.Money | None = None
    on_cap: Literal["rest", "ask"] = "rest"
    tell: bool = True


class Dispatch(Part):
    """The defaults of a dispatch."""

    agent: str | None = None
    runtime: Annotated[str, AfterValidator(known_runtime)] | None = None
    mode: Annotated[Mode, Field(strict=False)] = Mode.BUILD
    safety: Annotated[Safety, Field(strict=False)] = Safety.AUTO_EDIT
    reasoning: units.Level | None = None
    max_depth: int = Field(default=2, ge=0, le=10)
    max_attempts: int | None = Field(default=None, ge=1, le=10)
    on_lost: Literal["ask", "retry"] = "ask"
    require: units.Labels = {}
    gpus: units.GpuCount | None = None
    gpu_memory: units.Size | None = None
    land: Annotated[LandRule, Field(strict=False)] = LandRule.ASK
    network: dict[Annotated[Mode, Field(strict=False)], Annotated[NetworkAccess, Field(strict=False)]] = {}


class LimitSettings(Part):
    """The limits of a run."""

    wall: units.Duration = 60 * MINUTE_MS
    idle: units.Duration | None = None
    output: units.Size = 64 * 2**20
    tokens: int | None = Field(default=None, gt=0)
    requests: int | None = Field(default=None, gt=0)
    wrap_up: bool = False
    memory: Annotated[units.Size, Field(ge=64 * 2**20)] | None = None
    processes: int | None = Field(default=None, ge=32)
    disk: Annotated[units.Size, Field(ge=64 * 2**20)] | None = None


HEALTH = HealthRules()


class HealthSettings(Part):
    """Monitoring of working agents: warns, reminds a silent agent once, then asks a user; stops nothing."""

    look: units.Duration = HEALTH.look_ms
    warn: units.Duration = HEALTH.warn_ms
    stuck: units.Duration = HEALTH.stuck_ms
    between: units.Duration = HEALTH.between_ms
    stable: units.Duration = HEALTH.stable_ms
    failures: int = Field(default=HEALTH.failures, ge=1, le=100)
    words: bool = HEALTH.words

    def rules(self) -> HealthRules:
        """Return the rules in the form that the monitoring uses."""
        return HealthRules(
            self.look, self.warn, self.stuck, self.between, self.stable, self.failures, self.words
        )


KEEP = KeepRules()


class KeepSettings(Part):
    """How long the commits and logs of an ended run are kept once not needed; receipts are always kept.

    `undecided`: commits without a user's decision; None: kept until then. `sessions`: an unused session
    counts as ended after this time. `logs_size`: of all logs; beyond it the oldest are deleted. Cleanup runs
    daily, and with `pancode admin gc`.
    """

    changes: units.Duration = KEEP.changes_ms
    logs: units.Duration = KEEP.logs_ms
    undecided: units.Duration | None = KEEP.undecided_ms
    sessions: units.Duration = KEEP.sessions_ms
    logs_size: units.Size = KEEP.logs_bytes

    def rules(self) -> KeepRules:
        """Return the rules in the form used for decisions."""
        return KeepRules(self.changes, self.logs, self.undecided, self.sessions, self.logs_size)


class BackupSettings(Part):
    """Sealed copies of the coordinator's home. `to`: nodes that get them, and folders of its machine
    (absolute paths); empty: only those of the command. `nightly`: one each night; `after_landing`: one after
    landings; `keep`: how many whole copies stay in each place, each with up to six that add to it."""

    to: units.Texts = ()
    nightly: bool = True
    after_landing: bool = True
    keep: int = Field(default=3, ge=1, le=1_000)


class Models(Part):
    """Models by role; None: the runtime's default. `tiers`: the owner's corrections of tiers, by model
    pattern. `machines`: addresses of model servers that the node on this machine checks."""

    orchestrator: ModelName | None = None
    worker: ModelName | None = None
    scout: ModelName | None = None
    choices: ModelNames = ()
    machines: units.Machines = ()
    tiers: dict[str, Annotated[ModelTier, Field(strict=False)]] = {}
    strict_tiers: bool = False


class Records(Part):
    """How track records affect choices."""

    explore: float = Field(default=EXPLORE, ge=0, le=1)


class NodeKeepSettings(Part):
    """How long a node keeps data for later runs after its last use, and the maximum size of the data.

    `mirrors`: copies of repositories. `checkouts`: of ended runs, for reuse. `set_ups`: folders that setup
    created. `sessions`: agents' session data; its size is that of the conversations. Size None: no limit.
    """

    mirrors: units.Duration = _OF_NODES.mirrors.age_ms
    mirrors_size: units.Size | None = _OF_NODES.mirrors.size
    checkouts: units.Duration = _OF_NODES.checkouts.age_ms
    checkouts_size: units.Size | None = _OF_NODES.checkouts.size
    set_ups: units.Duration = _OF_NODES.set_ups.age_ms
    set_ups_size: units.Size | None = _OF_NODES.set_ups.size
    sessions: units.Duration = _OF_NODES.sessions.age_ms
    sessions_size: units.Size | None = _OF_NODES.sessions.size

    def bounds(self) -> NodeKeep:
        """Return the limits in the form that a node reads."""
        return NodeKeep(
            mirrors=KeepBound(age_ms=self.mirrors, size=self.mirrors_size),
            checkouts=KeepBound(age_ms=self.checkouts, size=self.checkouts_size),
            set_ups=KeepBound(age_ms=self.set_ups, size=self.set_ups_size),
            sessions=KeepBound(age_ms=self.sessions, size=self.sessions_size),
        )


class Nodes(Part):
    """The defaults of a new node, and the limits of each node's data on the coordinator.

    `least`: how many slots a strained node uses; None: always all. `ahead`: how many jobs per slot may wait
    on a node; `ahead_usd`: the most that a waiting run without a limit of its own may cost.
    """

    slots: int = Field(default=4, ge=1, le=256)
    least: int | None = Field(default=None, ge=1, le=256)
    ahead: int = Field(default=8, ge=0, le=64)
    ahead_usd: Annotated[units.Money, Field(gt=0)] = Decimal(2)
    redis_quota: Annotated[units.Size, Field(ge=2**20)] = 64 * 2**20
    evidence_receipts: int = Field(default=1_000, ge=1, le=1_000_000)
    evidence_size: Annotated[units.Size, Field(ge=2**20)] = 64 * 2**20
    keep: NodeKeepSettings = NodeKeepSettings()


class ApiTls(Part):
    """Certificate and key for the API over TCP; PEM files."""

    cert: units.FilePath | None = None
    key: units.FilePath | None = None


class ApiListenerSettings(Part):
    """Where the API is available over TCP to clients with a token; by default it is not. `hosts`: host names
    that requests may use, besides its address and this machine's names."""

    listen: str | None = Field(default=None, pattern=r"^.+:[0-9]{1,5}$")
    hosts: units.Texts = ()
    tls: ApiTls = ApiTls()


class LedgerPlace(Part):
    """The ledger's place: without a URL, a file in the home. The password file is read at each connection."""

    url: str | None = Field(default=None, pattern=r"^(postgresql|postgres)://")
    password_file: units.FilePath | None = None


class Redis(Part):
    """Redis. Without a URL, the coordinator runs its own Valkey. The files are read at each connection."""

    url: str | None = Field(default=None, pattern=r"^(redis|rediss|unix)://")
    password_file: units.FilePath | None = None
    ca_file: units.FilePath | None = None
    cert_file: units.FilePath | None = None
    key_file: units.FilePath | None = None


class Metrics(Part):
    """The address that shows metrics to anyone who connects. By default disabled. `hosts`: host names that
    requests may use; an address and `localhost` are always allowed."""

    listen: str | None = Field(default=None, pattern=r"^.+:[0-9]{1,5}$")
    hosts: units.Texts = ()


class Land(Part):
    """How a landed change becomes commits on a branch."""

    how: Annotated[How, Field(strict=False)] = How.SQUASH


class SetUpCache(Part):
    """The results of setup that a node caches. `key`: patterns of the files that setup depends on; empty: all
    files."""

    folders: units.FolderNames = ()
    key: units.Texts = ()


class ReadingGate(Part):
    """A gate that judges ignored files or folders of the agent."""

    run: units.Command
    reads: units.ReportNames = ()


def _choose_form(value: object) -> str:
    return "[keyed]" if isinstance(value, dict | SetUpCache) else "[folders]"


GateCommand = Annotated[
    Annotated[units.Command, Tag("[command]")] | Annotated[ReadingGate, Tag("[reading]")],
    Discriminator(
        lambda one: "[reading]" if isinstance(one, ReadingGate | dict) and "run" in dict(one) else "[command]"
    ),
]

Cached = Annotated[
    Annotated[units.FolderNames, Tag("[folders]")] | Annotated[SetUpCache, Tag("[keyed]")],
    Discriminator(_choose_form),
]
"""Either only folders, or folders with a key."""


class Allow(Part):
    """The things that a repository may request from nodes besides its own files. Only the owner sets this.
    `files`: untracked files that are sent although their names usually indicate secrets."""

    env: units.Names = ()
    secrets: units.Names = ()
    files: units.Texts = ()


class Timing(Part):
    """Deadlines for silent nodes, and intervals of reports. `factor`: multiplies all of them."""

    factor: float = Field(default=1.0, gt=0, le=10)
    beat: units.Duration = 5_000
    ask: units.Duration = 15_000
    suspect: units.Duration = 30_000
    unreachable: units.Duration = 3 * MINUTE_MS
    lost: units.Duration = 15 * MINUTE_MS
    start_by: units.Duration = 2 * MINUTE_MS
    push_again: units.Duration = 30_000
    control_again: units.Duration = 10_000
    refused_pause: units.Duration = 5_000
    retry_pause: units.Duration = 10_000


class HistorySettings(Part):
    """How much a new run gets from the notes of earlier runs in its repository. `tokens` 0: nothing."""

    tokens: int = Field(default=800, ge=0, le=20_000)


class SkillSettings(Part):
    """Which skills runs get, and where to find more. `project` false: only skills that agents name, not the
    project's. `index`: a git address."""

    project: bool = True
    index: str = ""


class Settings(Part):
    """All settings. The last six are a repository's own."""

    budget: Budget = Budget()
    sessions: SessionSettings = SessionSettings()
    dispatch: Dispatch = Dispatch()
    limits: LimitSettings = LimitSettings()
    health: HealthSettings = HealthSettings()
    keep: KeepSettings = KeepSettings()
    backup: BackupSettings = BackupSettings()
    models: Models = Models()
    records: Records = Records()
    history: HistorySettings = HistorySettings()
    skills: SkillSettings = SkillSettings()
    nodes: Nodes = Nodes()
    redis: Redis = Redis()
    metrics: Metrics = Metrics()
    api: ApiListenerSettings = ApiListenerSettings()
    ledger: LedgerPlace = LedgerPlace()
    land: Land = Land()
    forge: dict[str, ForgeSettings] = {}
    notify: Notify = Notify()
    telemetry: Telemetry = Telemetry()
    theme: Literal["terminal", "dark", "light"] = "terminal"
    allow: Allow = Allow()
    timing: Timing = Timing()
    projects: dict[str, ProjectSettings] = {}
    setup: units.Commands = ()
    cache: Cached = ()
    verify: Annotated[tuple[GateCommand, ...], BeforeValidator(units.as_tuple)] = ()
    reports: units.ReportNames = ()
    env: units.Names = ()
    secrets: units.Names = ()
    ports: int = Field(default=0, ge=0, le=MOST_PORTS)
    copied: units.CopyPatterns = Field(default=(), alias="copy")

    def defaults(self) -> Defaults:
        """Return the settings in the form used to resolve dispatches."""
        return Defaults(
            agent=self.dispatch.agent,
            runtime=self.dispatch.runtime,
            model=self.models.worker,
            scout_model=self.models.scout,
            reasoning=self.dispatch.reasoning,
            mode=self.dispatch.mode,
            safety=self.dispatch.safety,
            wall_ms=self.limits.wall,
            idle_ms=self.limits.idle,
            output_bytes=self.limits.output,
            tokens=self.limits.tokens,
            requests=self.limits.requests,
            wrap_up=self.limits.wrap_up,
            memory_bytes=self.limits.memory,
            processes=self.limits.processes,
            disk_bytes=self.limits.disk,
            per_run_usd=self.budget.per_run,
            sitting_usd=self.sessions.sitting_usd,
            on_cap=self.sessions.on_cap,
            notifies=self.sessions.tell,
            estimate_usd=self.budget.estimate,
            estimate_tokens=self.budget.estimate_tokens,
            estimate_ms=self.budget.estimate_time,
            max_attempts=self.dispatch.max_attempts,
            on_lost=self.dispatch.on_lost,
            land=self.dispatch.land,
            network=self.dispatch.network,
            models=self.models.choices,
            explore=self.records.explore,
            tiers=self.models.tiers,
            strict_tiers=self.models.strict_tiers,
            history_tokens=self.history.tokens,
            require=self.dispatch.require,
            gpus=self.dispatch.gpus,
            gpu_memory=self.dispatch.gpu_memory,
            allowed_files=self.allow.files,
            land_how=self.land.how.value,
        )

    def project(self) -> Project:
        """Return the repository's own settings in the form for dispatches. ConfigError: forbidden name."""
        self._check_allowed("env", self.env, self.allow.env)
        self._check_allowed("secrets", self.secrets, self.allow.secrets)
        cache = self.cache if isinstance(self.cache, SetUpCache) else SetUpCache(folders=self.cache)
        reading = [one for one in self.verify if isinstance(one, ReadingGate)]
        reads = tuple(dict.fromkeys(name for one in reading for name in one.reads))
        if len(reads) > MAX_REPORTS:
            raise ConfigError(
                "the gates read too many files of the agent",
                why=f"`reads:` of all gates may together name {MAX_REPORTS} files or folders",
                fix="name a folder that contains the files",
            )
        return Project(
            setup=self.setup,
            cache=cache.folders,
            cache_key=cache.key,
            verify=tuple(one.run if isinstance(one, ReadingGate) else one for one in self.verify),
            reads=reads,
            reports=self.reports,
            env=self.env,
            secrets=self.secrets,
            ports=self.ports,
            copies=self.copied,
        )

    def _check_allowed(self, key: str, names: units.Names, allowed: units.Names) -> None:
        """Raise ConfigError for names that the owner has not allowed: setup and gates would get them."""
        refused = [name for name in names if name not in allowed]
        if refused:
            raise ConfigError(
                f"the repository requests {key} that are not allowed: {', '.join(refused)}",
                why=f"they are not listed in allow.{key} in your own pancode.yaml",
                fix=(
                    "if you trust this repository, add to pancode.yaml in PANCODE_HOME: allow: "
                    f"{{{key}: [{', '.join((*allowed, *refused))}]}}"
                ),
            )


BY_NAME = "projects"
"""The setting whose entries are set individually."""
OWN_OF_PROJECT = ("setup", "cache", "verify", "reports", "env", "secrets", "ports", "copy")
PROJECT_KEYS = (
    *OWN_OF_PROJECT,
    "dispatch.agent",
    "dispatch.gpus",
    "dispatch.gpu_memory",
    "dispatch.max_attempts",
    "dispatch.on_lost",
    "land.how",
    "limits",
    "models.worker",
    "models.scout",
)
"""The keys that a repository may set. All others are the owner's: a repository that raised a ceiling would be
an attack, as would one that chose the runtime `shell`, which runs the text of a task as a script."""
