"""Connects the runtimes to the procedure's port: returns a job's launch and the reader of its output."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from node_agent.attempt import ports
from node_agent.attempt.gateways import GatewayAccess
from node_agent.attempt.ports import (
    NOTHING_LAID,
    LaidMessageOf,
    ReportedEnd,
    ReportedTurn,
    ReportedUsage,
    StepFailed,
)
from node_agent.machine.gpus import GpuAccess
from node_agent.machine.programs import LIBRARIES, PACKAGE
from node_agent.policy.judging import NO_BOUNDS, NOTHING_BROKEN, Bounds, Offences
from node_agent.runner.violations import Violations
from node_agent.runtimes import base, jobs
from node_agent.runtimes.logins import inner_secrets
from node_agent.runtimes.registry import RUNTIMES
from node_agent.runtimes.vendors import Way, local_way, proxy_variables, way_of
from node_agent.sandbox.policy import Network
from node_agent.sandbox.wrapper import Permissions, Sandbox
from node_agent.shim.process import AGENT_ONLY
from node_agent.shim.spool import PhasePlan, StepKind
from node_agent.vault.redact import redact_text
from node_agent.wire import receipt
from node_agent.wire.copied import find_hidden_values, is_secret_name
from node_agent.wire.endpoint import EndpointFact
from node_agent.wire.failure import FailureKind
from node_agent.wire.fleet import MOST_OPEN_FLEET_CALLS
from node_agent.wire.identity import LaidMessage
from node_agent.wire.job import Job
from node_agent.wire.policy import (
    NO_RULES,
    ActionClass,
    Enforcement,
    Isolation,
    NetworkAccess,
    PathAccess,
    PathRule,
    Policy,
    Rules,
    Safety,
    is_on_the_machine,
    with_rules,
)
from node_agent.wire.skill import TOOLS, JobSkill

MOST_READ = 1 << 20
_ESCAPED = re.compile(rb"\\u[0-9a-fA-F]{4}")


def brought_in(tree: Path, folder: str, kinds: tuple[base.Brought, ...]) -> str | None:
    """Return the path in the checkout of the first such file; None if there is none. The search covers the
    folder where the program starts, and all folders above it up to the top."""
    places = [tree]
    for name in filter(None, folder.split("/")):
        places.append(places[-1] / name)
    for place in places:
        for kind in kinds:
            for path in sorted(place.glob(kind.pattern)):
                if not kind.naming or _may_contain(path, kind.naming):
                    return str(path.relative_to(tree))
    return None


def hidden_code(job: Job, kinds: tuple[base.Brought, ...], tree: Path) -> tuple[PathRule, ...]:
    """Return rules that hide repository code from an orchestrator's program, because any code that reaches
    the socket of the fleet tools can dispatch in its name. Empty for an agent without these tools.

    Each file or folder with which a pattern begins is hidden as a whole, where `brought_in` searches.
    StepFailed for a link, which cannot be hidden.
    """
    if job.fleet_tools is None:
        return ()
    parts = [part for part in job.workspace.folder.split("/") if part]
    places = ["/".join((".", *parts[:count])) for count in range(len(parts) + 1)]
    tops = dict.fromkeys(kind.pattern.partition("/")[0] for kind in kinds)
    names = [f"{place}/{top}" for place in places for top in tops]
    link = next((name for name in names if (tree / name).is_symlink()), None)
    if link is not None:
        why = f"{link.removeprefix('./')} is a symlink, which the sandbox cannot hide"
        raise StepFailed(FailureKind.SANDBOX, _no_orchestrator(job, why))
    return tuple(PathRule(pattern=name, access=PathAccess.NONE) for name in names)


def _may_contain(path: Path, word: str) -> bool:
    """Whether the file may contain that string; a file that cannot be read completely may contain
    anything."""
    if not path.is_file():  # a pipe or a device could block forever
        return True
    try:
        with path.open("rb") as file:
            data = file.read(MOST_READ + 1)
    except OSError:
        return True
    return len(data) > MOST_READ or word.encode() in data or _ESCAPED.search(data) is not None


MOST_FALSE = 20
"""The maximum number of invalid lines of an output that are reported."""
NAME_CHARS = 200
"""The maximum number of characters of a session or model name from a program."""


class StreamReader:
    """Reads a runtime's output with its parser. `hidden`: values to remove from every text of the agent.

    `laid`: users' messages as the node delivered them. A process of the run may write any line into the
    stream, so number, name and text come from `laid`, and the stream only shows when a message was read.
    """

    def __init__(
        self,
        parser: base.Parser,
        held: Violations,
        tells_ran: bool,
        hidden: Mapping[str, str],
        laid: LaidMessageOf,
    ) -> None:
        self._parser, self._held, self._tells_ran, self._hidden = parser, held, tells_ran, hidden
        self._laid, self._taken, self._false = laid, set[int](), list[str]()
        self._tools: dict[str, int] = {}
        self._heard: list[int] = []
        self._turns: list[ReportedTurn] = []
        self._rests: receipt.SuspendReason | None = None
        self._fleet: dict[int, base.FleetCalled] = {}

    def feed(self, chunk: bytes) -> None:
        for activity in self._parser.feed(chunk):
            if isinstance(activity, base.ToolCall):
                self._tools[activity.action.value] = self._tools.get(activity.action.value, 0) + 1
                if not self._tells_ran:
                    self._held.take(activity, ran=False)
            elif isinstance(activity, base.Denial):
                self._held.deny(jobs.words_of(activity))
            elif isinstance(activity, base.TurnBegan | base.MessageTaken | base.TurnEnded | base.Suspended):
                self._take_turn(activity)
            elif isinstance(activity, base.FleetCalled) and len(self._fleet) < MOST_OPEN_FLEET_CALLS:
                self._fleet[activity.number] = activity
            elif isinstance(activity, base.FleetOver):
                self._fleet.pop(activity.number, None)
            elif isinstance(activity, base.Ran) and (activity.ok or activity.call.command):
                self._held.take(activity.call, ran=True)

    def _take_turn(self, activity: base.OfTurns) -> None:
        """Process a turn's event. Turns count from 1 without a gap, one at a time; others are ignored."""
        now = self._turns[-1] if self._turns and self._turns[-1].end is None else None
        match activity:
            case base.TurnBegan(number, message, said, wall_ms):
                fits = now is None and number == len(self._turns) + 1 <= receipt.MOST_TURNS
                words = self._heard_as(message, said) if fits else None
                if words is not None:
                    self._turns.append(ReportedTurn(number, (words,), wall_ms))
            case base.MessageTaken(message, said):
                words = self._heard_as(message, said)
                if now is not None and words is not None and len(now.words) < receipt.MOST_TURN_MESSAGES:
                    self._turns[-1] = replace(now, words=(*now.words, words))
            case base.TurnEnded():
                if now is not None:
                    self._turns[-1] = replace(now, end=replace(activity, why=self._redact_text(activity.why)))
            case base.Suspended(why):
                self._rests = why

    def _heard_as(self, message: int, text: LaidMessage) -> receipt.TurnMessage | None:
        """Return the message of that number; None if it cannot have been read now."""
        words = None if message in self._taken else self._laid(message)
        if words is None:
            self._note_doubt(f"its output names user message {message}, which was not delivered to it then")
            return None
        self._taken.add(message)
        if not words.are(text.by, text.text):
            self._note_doubt(
                f"the agent's output has another text for user message {message} than the delivered one"
            )
        if message:
            self._heard = [*self._heard, message][-100:]
        return words.model_copy(update={"by": self._redact_text(words.by)})

    def _note_doubt(self, words: str) -> None:
        if len(self._false) < MOST_FALSE and words not in self._false:
            self._false.append(words)

    def spent(self) -> ReportedUsage:
        ending = self._held.violation
        words = tuple(map(self._redact_text, (*self._held.words(), *self._false)))
        broken = Offences(words, None if ending is None else self._redact_text(ending))
        return self._make_usage(self._parser.usage, dict(self._tools), broken)

    def _make_usage(
        self, usage: receipt.Usage, tools: Mapping[str, int], broken: Offences = NOTHING_BROKEN
    ) -> ReportedUsage:
        return ReportedUsage(
            usage,
            tools,
            broken,
            tuple(self._heard),
            tuple(self._turns),
            self._rests,
            tuple(self._fleet.values()),
        )

    def finish(self, end: base.ExitInfo) -> ReportedEnd:
        events = self._parser.finish(end)
        tools = {action.value: count for action, count in events.tool_calls.items()}
        broken = self._held.violation
        return ReportedEnd(
            failure=events.failure if broken is None else FailureKind.RULE_BROKEN,
            reason=self._redact_text(events.reason if broken is None else broken),
            answer=self._redact_text(events.answer),
            session=_name(None if events.session is None else self._redact_text(events.session)),
            model=_name(None if events.model is None else self._redact_text(events.model)),
            spent=self._make_usage(events.usage, tools or self._tools),
            resets=events.resets,
            findings=tuple(
                dict.fromkeys(
                    map(
                        self._redact_text,
                        (*self._held.all_words(), *self._false, *jobs.list_findings(events)),
                    )
                )
            ),
        )

    def _redact_text(self, text: str) -> str:
        return redact_text(text, self._hidden)


def _name(text: str | None) -> str | None:
    """Return a name from a program, truncated to the length that a receipt allows."""
    return None if text is None else base.keep_end(text, NAME_CHARS)


def reader_of(
    parser: base.Parser,
    policy: Policy,
    bounds: Bounds,
    able: base.Capabilities,
    hidden: Mapping[str, str],
    laid: LaidMessageOf,
    interactive_run: bool = False,
) -> StreamReader:
    """Return the reader of one attempt. `hidden`, `laid`: as for `StreamReader`."""
    policy = with_rules(policy, bounds.rules)
    held = Violations(policy, bounds.where, able.asks(interactive_run), bounds.allowed, bounds.fleet)
    return StreamReader(parser, held, able.tells_ran, hidden, laid)


OWN_WALL = frozenset({"codex"})
"""Runtimes whose own sandbox uses mounts, which Landlock would forbid; their own sandbox is also stricter."""


@dataclass(frozen=True, slots=True)
class LaunchSurroundings:
    """The facts on which a launch depends. `values`: the node's current variables and secrets by name."""

    path: str
    python: str
    values: Callable[[], Mapping[str, str]]
    version: Callable[[str], str | None] = lambda name: None
    """Returns the version of a runtime on this node."""
    sandbox: Sandbox | None = None
    owned: Callable[[], Collection[str]] = frozenset
    """Names in the owner's file of secrets: their values never leave the node."""
    why_missing: Callable[[str], str] = lambda name: ""
    node: str = "this node"
    server: Callable[[Job], EndpointFact | None] = lambda job: None
    """The endpoint that the job names, as last seen."""
    before: Callable[[Job], receipt.Usage] = lambda job: receipt.Usage()
    """The earlier usage of the session that the job resumes."""
    words_key: Callable[[Job], Mapping[str, bytes]] = lambda job: {}
    """Returns the key for checking users' messages, as a file that the program removes immediately."""
    channel: jobs.ChannelOf = lambda job, home: None
    """The folder in the run's home through which the run's program asks users."""
    rules: Callable[[], Rules] = Rules
    """Returns the current rules of the node's owner."""
    others: Callable[[], Mapping[str, base.Runtime]] = dict
    """Returns the runtimes that the node's owner has chosen now."""
    open_copied: Callable[[Job], Mapping[str, bytes]] = lambda job: {}
    """Returns the job's copies of ignored files by path. ValueError if they are sealed for another node."""
    gpus: Callable[[Job], GpuAccess] = lambda job: GpuAccess()
    """Returns the part of the node's GPUs that the run may use now. Raises StepFailed."""


def _find_context(server: EndpointFact | None, job: Job) -> int | None:
    """Return the context, in tokens, of the job's model on this server; None if unknown."""
    model = server.model(job.model or "") if server is not None else None
    return None if model is None else model.ctx_usable


def _find_served(server: EndpointFact | None, job: Job) -> receipt.Served | None:
    if server is None or not job.model:
        return None
    model = server.model(job.model)
    return receipt.Served(
        endpoint=server.name,
        engine=server.dialect,
        engine_version=server.version,
        model=job.model if model is None else model.id,
        model_digest=None if model is None else model.digest,
    )


class NodeRuntimes:
    """The Runtimes port, implemented with the registry of runtimes."""

    def __init__(self, around: LaunchSurroundings) -> None:
        self._around = around

    def launch(
        self, job: Job, work: Path, home: Path, guide: str = "", entry: GatewayAccess | None = None
    ) -> ports.Launch:
        runtime, around = self._must_find(job.runtime), self._around
        # the gateway has the endpoint's key and limits its slots
        if job.endpoint is not None and entry is None:
            words = "the endpoint requires a model gateway, but node.json of this node has gateway: false"
            raise StepFailed(FailureKind.CANNOT_START, words)
        _check_able(job, runtime)
        _check_chosen(job, runtime, entry)
        allowed = self._list_allowed(job)
        logins = self._read_logins(runtime, allowed, job, entry)
        own = {**allowed, **logins}
        isolation = self._choose_isolation(job, runtime)
        _check_turns(job, runtime, entry)
        loose = self._list_loose(job, runtime, isolation, work)
        is_root = os.geteuid() == 0 and isolation is Isolation.NONE  # inside the sandbox no process is root
        place = base.Place(around.path, around.python, is_root, isolation, own, PACKAGE, LIBRARIES)
        owners = around.rules()
        policy = with_rules(job.policy, owners)  # for a program that checks calls before they run
        _check_network(policy, runtime, isolation, entry)
        launch_request = replace(
            self._request(job, str(work), str(home)), skills=_list_skills(job, work, isolation)
        )
        channel = (
            around.channel(job, str(home))
            if jobs.asks_users(policy, runtime, job.turns is not None)
            else None
        )
        request = replace(
            launch_request, context=_find_context(around.server(job), job), policy=policy, channel=channel
        )
        if job.limits.wrap_up and entry is not None and entry.is_priced and not entry.is_tunnel:
            # the program's own turn limit would stop the run before the last turn
            request = replace(request, limits=job.limits.model_copy(update={"usd": None}))
        if runtime.capabilities.prompted:
            length = len(request.prompt) + len(request.task)
            fits = jobs.fitted_guide(guide, length, request.context)
            request = replace(request, prompt=jobs.with_guide(request.prompt, fits))
        made, gpus = runtime.launch(request, place), around.gpus(job)
        hears = runtime.capabilities.hears or job.turns is not None
        return ports.Launch(
            argv=made.argv,
            env=gpus.added_to({**made.env, AGENT_ONLY: " ".join(logins)} if logins else made.env),
            stdin=made.stdin,
            files=made.files,
            login={**made.login, **(around.words_key(job) if hears else {})},
            enforced=(
                *jobs.list_enforced(job, runtime, isolation, owners),
                *loose,
                *_network_enforced(policy, runtime, isolation, entry),
                *gpus.enforced(isolation),
            ),
            version=around.version(job.runtime),
            served=_find_served(around.server(job), job),
            prompt=request.prompt,
            isolation=isolation,
            owner=self._find_owner(job) if isolation is Isolation.SANDBOX else None,
            unset=tuple(name for name in job.env if name not in allowed),
        )

    def enclose(
        self,
        job: Job,
        plan: PhasePlan,
        shown: tuple[Path, ...],
        entry: GatewayAccess | None,
        rules: Rules = NO_RULES,
    ) -> PhasePlan:
        runtime, sandbox = self._must_find(job.runtime), self._around.sandbox
        agent = any(step.kind is StepKind.AGENT for step in plan.steps)
        writable = not agent or base.may_write(job.mode, job.safety, job.agent.read_only)
        paths = (*job.policy.paths, *rules.paths)
        if agent:
            paths = (*paths, *hidden_code(job, runtime.brought, Path(plan.cwd)))
        network = network_of(with_rules(job.policy, rules), runtime, agent, entry)
        gpus = self._around.gpus(job)
        bounds = Permissions(writable, network, entry.port if entry else 0, paths, gpus.files)
        plan = replace(plan, env=gpus.added_to(plan.env))
        made = sandbox.around(plan, bounds, shown) if sandbox is not None else None
        if made is None:
            raise StepFailed(
                FailureKind.SANDBOX, f"the sandbox is no longer available: {self._no_sandbox_here()}"
            )
        return made

    def _must_find(self, name: str) -> base.Runtime:
        runtime = RUNTIMES.get(name) or self._around.others().get(name)
        if runtime is None:
            raise StepFailed(
                FailureKind.RUNTIME_MISSING, f"this node agent does not know the runtime {name!r}"
            )
        return runtime

    def _find_owner(self, job: Job) -> int | None:
        sandbox = self._around.sandbox
        try:
            return None if sandbox is None else sandbox.owner_of(str(job.identity))
        except OSError as exc:
            raise StepFailed(FailureKind.SANDBOX, f"there is no user id for this attempt: {exc}") from exc

    def _choose_isolation(self, job: Job, runtime: base.Runtime) -> Isolation:
        """Return the isolation: a sandbox if possible. StepFailed if it is missing and nothing else confines
        the run."""
        sandbox = self._around.sandbox
        if not job.policy.walled and is_on_the_machine(
            job.runtime,
            job.workspace.kind,
            job.safety,
            base.may_write(job.mode, job.safety, job.agent.read_only),
            job.depth,
        ):
            return Isolation.NONE
        if sandbox is not None and sandbox.find().tools is not None:
            return Isolation.SANDBOX
        if job.policy.walled or runtime.chosen:
            who = job.runtime if runtime.chosen else f"agent {job.agent.name}"
            words = f"{who} runs only in a sandbox: {self._no_sandbox_here()}"
            raise StepFailed(FailureKind.SANDBOX, words)
        how = runtime.enforcement(job.mode, job.safety, job.agent.read_only, Isolation.NONE)
        if how in (Enforcement.TOLD_ONLY, Enforcement.IMPOSSIBLE) and not _is_accepted(job, runtime, how):
            words = f"nothing limits {job.runtime} to {job.safety} on this node: {self._no_sandbox_here()}"
            raise StepFailed(FailureKind.SANDBOX, words)
        fenced = sandbox is not None and sandbox.find().landlock and job.runtime not in OWN_WALL
        return Isolation.LANDLOCK if fenced else Isolation.NONE

    def _list_loose(
        self, job: Job, runtime: base.Runtime, isolation: Isolation, work: Path
    ) -> tuple[receipt.Enforced, ...]:
        """Return repository programs that start despite the flags. StepFailed unless the user accepts it."""
        if isolation is Isolation.SANDBOX:
            return ()
        if runtime.loose_turns and job.turns is not None:
            if job.policy.told_only:
                return (
                    receipt.Enforced(rule=f"in a chat it {runtime.loose_turns}", how=Enforcement.TOLD_ONLY),
                )
            words = f"in a chat {job.runtime} {runtime.loose_turns}, whatever its flags are"
            fix = f"{self._no_sandbox_here()}; or use --allow-told-only"
            raise StepFailed(FailureKind.SANDBOX, f"{words}, and nothing on this node prevents that: {fix}")
        if not runtime.brought:
            return ()
        found = brought_in(work, job.workspace.folder, runtime.brought)
        if found is None:
            return ()
        if job.fleet_tools is not None:
            raise StepFailed(
                FailureKind.SANDBOX, _no_orchestrator(job, f"{found}; {self._no_sandbox_here()}")
            )
        if job.policy.told_only:
            return (receipt.Enforced(rule=f"{found} of the repository", how=Enforcement.TOLD_ONLY),)
        words = f"{job.runtime} would run or follow {found} of the repository, "
        words += "whatever its flags are"
        fix = f"{self._no_sandbox_here()}; or remove that file, or use --allow-told-only"
        raise StepFailed(FailureKind.SANDBOX, f"{words}, and nothing on this node prevents that: {fix}")

    def _no_sandbox_here(self) -> str:
        found = self._around.sandbox.find().problem if self._around.sandbox is not None else None
        return "this node has no sandbox" if found is None else f"{found.what}; fix: {found.fix}"

    def reader(
        self, job: Job, bounds: Bounds = NO_BOUNDS, laid: LaidMessageOf = NOTHING_LAID
    ) -> StreamReader:
        runtime = self._must_find(job.runtime)
        parser = runtime.parser(self._request(job, "/", "/"))
        able, interactive_run = runtime.capabilities, job.turns is not None
        return reader_of(parser, job.policy, bounds, able, self.hidden(job), laid, interactive_run)

    def _request(self, job: Job, work: str, home: str) -> base.LaunchRequest:
        if job.resume is None:
            return jobs.request_of(job, work, home)
        return jobs.request_of(job, work, home, base.Resume(job.resume.session, self._around.before(job)))

    def open_copied(self, job: Job) -> Mapping[str, bytes]:
        """Return the job's copies of ignored files by path. StepFailed if they cannot be opened."""
        try:
            return self._around.open_copied(job)
        except ValueError as exc:
            raise StepFailed(FailureKind.CANNOT_START, str(exc)) from exc

    def hidden(self, job: Job) -> dict[str, str]:
        """Return values that must not leave the node: the owner's secrets, logins, and the secrets that the
        job names or brings as copied files."""
        around = self._around
        return find_hidden(job, around.values(), around.owned(), around.open_copied)

    def _list_allowed(self, job: Job) -> dict[str, str]:
        """Return the variables that the job allows and that exist. StepFailed if a secret has no value."""
        values, why_of = self._around.values(), self._around.why_missing
        missing = [name for name in job.secrets if name not in values]
        if missing:
            listed = [f"{name} ({why})" if (why := why_of(name)) else name for name in missing]
            words = f"secrets missing on {self._around.node}: {', '.join(listed)}"
            raise StepFailed(FailureKind.MODEL_AUTH, words)
        return {name: values[name] for name in (*job.env, *job.secrets) if name in values}

    def _read_logins(
        self, runtime: base.Runtime, allowed: Mapping[str, str], job: Job, entry: GatewayAccess | None
    ) -> dict[str, str]:
        """Return this runtime's login on this node, for its own process only, not for repository programs.
        With a gateway, return the gateway's address and a placeholder instead of a key."""
        values = self._around.values()
        own = {n: values[n] for n in runtime.credentials if n in values and n not in allowed}
        if entry is not None and entry.is_tunnel:
            return {**own, **proxy_variables(entry.base, entry.token)}
        way = _find_way(job, values) if entry else None
        if entry is None or way is None:
            return own
        kept = {name: value for name, value in own.items() if name not in way.variables}
        return {**kept, **way.inside(entry.base, entry.token)}


def _find_way(job: Job, values: Mapping[str, str]) -> Way | None:
    """Return the gateway's route to the model; None without one. Only the gateway gets an endpoint's key."""
    if job.endpoint is not None:
        return local_way(job.runtime, job.model)
    return way_of(job.runtime, values, (*job.env, *job.secrets), job.model)


def network_of(
    policy: Policy, runtime: base.Runtime, agent: bool, entry: GatewayAccess | None = None
) -> Network:
    """Return the network of a phase inside the sandbox: the route to its model, or the policy's network.

    An agent program without a gateway, such as one with a vendor's login, reaches its model directly, if the
    policy allows the node's network.
    """
    wide = policy.network is NetworkAccess.MACHINE
    if agent and not runtime.capabilities.own and policy.network is not NetworkAccess.NONE:
        return Network.MODEL if entry is not None else Network.FULL if wide else Network.NONE
    return Network.FULL if wide and ActionClass.NETWORK in policy.allowed else Network.NONE


def _check_network(
    policy: Policy, runtime: base.Runtime, isolation: Isolation, entry: GatewayAccess | None
) -> None:
    """Raise StepFailed for a network limit that cannot be enforced, or that would cut off the model."""
    access, agent = policy.network, not runtime.capabilities.own
    if access is NetworkAccess.MACHINE:
        return
    if isolation is not Isolation.SANDBOX:
        words = f"network: {access} requires a sandbox, and this run has none here"
        raise StepFailed(FailureKind.SANDBOX, words)
    if agent and (access is NetworkAccess.NONE or entry is None):
        words = f"network: {access} prevents {runtime.name} from reaching its model"
        fix = (
            "use network: gateway"
            if access is NetworkAccess.NONE
            else "give this node an API key of the runtime's vendor"
        )
        raise StepFailed(FailureKind.CANNOT_START, f"{words}: {fix}")


def _check_turns(job: Job, runtime: base.Runtime, entry: GatewayAccess | None) -> None:
    """Raise StepFailed for a turn limit that nothing on this node can enforce."""
    able = runtime.capabilities
    counted = entry is not None and not entry.is_tunnel
    # over ACP a program reports its usage once per answered message, however often it called its model
    reports_turns = able.tells_turns and (job.turns is None or able.turn_limit)
    if job.limits.turns is None or counted or reports_turns:
        return
    where = "" if job.turns is None else " in an interactive run"
    raise StepFailed(
        FailureKind.MODEL_AUTH,
        f"{job.runtime} does not report its turns{where}, and its calls bypass this node's model gateway: "
        f"give the node an API key or a model server, or remove max_turns from agent {job.agent.name}",
    )


def _network_enforced(
    policy: Policy, runtime: base.Runtime, isolation: Isolation, entry: GatewayAccess | None
) -> tuple[receipt.Enforced, ...]:
    """Return the receipt's entries for the network; the node's own network has no enforced limit."""
    if isolation is not Isolation.SANDBOX:
        return ()
    network = network_of(policy, runtime, agent=True, entry=entry)
    how = Enforcement.TOLD_ONLY if network is Network.FULL else Enforcement.SANDBOX
    rest = network_of(policy, runtime, agent=False)
    rest_how = Enforcement.TOLD_ONLY if rest is Network.FULL else Enforcement.SANDBOX
    return (
        receipt.Enforced(rule=f"network {network}", how=how),
        receipt.Enforced(rule=f"network of set-up and gates {rest}", how=rest_how),
    )


def _is_accepted(job: Job, runtime: base.Runtime, how: Enforcement) -> bool:
    """Whether an unenforced limit is acceptable: the user allows it, or runs an own program below full-auto.

    A program started by a run does not count as the user's: its job must allow unenforced limits explicitly.
    """
    own = runtime.capabilities.own and how is Enforcement.TOLD_ONLY and job.depth == 0
    return job.policy.told_only or (own and job.safety is not Safety.FULL_AUTO)


def _check_chosen(job: Job, runtime: base.Runtime, entry: GatewayAccess | None) -> None:
    """Raise StepFailed for a job that a program of the owner's choice cannot carry out on this node."""
    if not runtime.chosen:
        return
    if job.turns is None:
        words = f"{job.runtime} can be used in chats only; fix: pancode chat --runtime {job.runtime}"
        raise StepFailed(FailureKind.CANNOT_START, words)
    if entry is None or entry.is_tunnel:
        fix = "pancode node secret NODE OPENAI_API_KEY, or OPENAI_BASE_URL of a server with that API"
        words = (
            f"{job.runtime} reaches its model only through the gateway, which has no key for it on this node"
        )
        raise StepFailed(FailureKind.MODEL_AUTH, f"{words}; fix: {fix}")


def _list_skills(job: Job, work: Path, isolation: Isolation) -> tuple[JobSkill, ...]:
    """Return the job's skills; `place` is cleared if the checkout lacks the skill. Raises StepFailed. A
    stored tool requires a sandbox; without one the run does not get the tool."""
    found = []
    for skill in job.skills:
        if skill.place == TOOLS and isolation is not Isolation.SANDBOX:
            continue
        try:
            skill.files()
        except ValueError as wrong:
            raise StepFailed(FailureKind.CANNOT_START, str(wrong)) from wrong
        is_there = skill.place == TOOLS or (
            skill.place and (work / skill.place / skill.name / "SKILL.md").is_file()
        )
        found.append(skill if is_there else skill.model_copy(update={"place": ""}))
    return tuple(found)


def _no_orchestrator(job: Job, why: str) -> str:
    words = (
        f"{job.runtime} would run code of the repository, which could use the fleet tools of {job.agent.name}"
    )
    fix = f"pancode chat --agent {job.agent.name} --runtime native; or remove that file from the repository"
    return f"{words}: {why}; fix: {fix}"


def _check_able(job: Job, runtime: base.Runtime) -> None:
    """Raise StepFailed for an effort or interactive run that the runtime does not support; coordinators check
    this earlier."""
    if job.turns is not None and not runtime.capabilities.takes_turns:
        raise StepFailed(FailureKind.CANNOT_START, f"runtime {job.runtime} does not support interactive runs")
    if job.reasoning is not None and job.reasoning not in runtime.capabilities.reasoning:
        raise StepFailed(
            FailureKind.CANNOT_START, f"runtime {job.runtime} does not support reasoning {job.reasoning}"
        )


def find_hidden(
    job: Job,
    values: Mapping[str, str],
    owned: Iterable[str],
    open_copied: Callable[[Job], Mapping[str, bytes]],
) -> dict[str, str]:
    """Return the values that must not leave the node, as `NodeRuntimes.hidden`. `values`: of all names here;
    `owned`: the names that the owner has set; `open_copied`: returns the job's copied files."""
    names = {*owned, *job.secrets, *filter(is_secret_name, job.env)}
    names.update(*(runtime.credentials for runtime in RUNTIMES.values()))
    with suppress(ValueError):  # such an attempt never started
        values = {**values, **(mine := find_hidden_values(open_copied(job)))}
        names.update(mine)
    return {**{name: values[name] for name in names if name in values}, **inner_secrets(values)}
