"""The control plane: all verbs of the coordinator by subject, and its rounds."""

from __future__ import annotations

from node_agent.wire.signing import SigningKey
from pancode.api.verbs.breakers import BreakerVerbs
from pancode.api.verbs.callers import CallerVerbs, RequestVerbs, TokenVerbs
from pancode.api.verbs.logs import LogVerbs
from pancode.api.verbs.models import ModelVerbs
from pancode.api.verbs.money import MoneyVerbs
from pancode.api.verbs.nodes import NodeVerbs
from pancode.api.verbs.people import PeopleVerbs
from pancode.api.verbs.queues import QueueVerbs
from pancode.api.verbs.records import RecordVerbs
from pancode.api.verbs.runs import RunVerbs
from pancode.api.verbs.unattended import OutgoingVerbs, ScheduleVerbs
from pancode.api.verbs.workflows import WorkflowVerbs
from pancode.control.core import ControlSettings, Core, Ports
from pancode.runs import rounds


class Plane:
    """One per coordinator. Verbs are safe to call from any thread; only one at a time writes."""

    def __init__(self, ports: Ports, key: SigningKey, fleet: str, rules: ControlSettings) -> None:
        self.core = core = Core(ports, key, fleet, rules)
        self.lock, self.feed = core.lock, core.feed
        self.runs = RunVerbs(core)
        self.logs = LogVerbs(core)
        self.nodes = NodeVerbs(core)
        self.people = PeopleVerbs(core)
        self.models = ModelVerbs(core)
        self.queues = QueueVerbs(core)
        self.money = MoneyVerbs(core)
        self.records = RecordVerbs(core)
        self.callers = CallerVerbs(core)
        self.workflows = WorkflowVerbs(core)
        self.outgoing = OutgoingVerbs(core)
        self.schedules = ScheduleVerbs(core)
        self.breakers = BreakerVerbs(core)
        self.tokens = TokenVerbs(core)
        self.requests = RequestVerbs(core)

    def start(self) -> None:
        """Begin a new epoch, in which every node hears its settings again; nothing is signed before."""
        rounds.start(self.core)

    def listen(self, wait_ms: int) -> bool:
        """Wait, without holding anything up, until a node has written or the time is over."""
        return rounds.listen(self.core, wait_ms)

    def turn(self, woken: bool = False) -> int:
        """One round: listen, decide, speak. Returns how many messages came in. `woken`: `listen` heard one.

        UnavailableError while Redis cannot be used: nothing is lost, call again.
        """
        return rounds.turn(self.core, woken)

    def act(self) -> None:
        """Decide and speak: the part of a round that acts on a change of ours. UnavailableError as `turn`."""
        rounds.act(self.core)
