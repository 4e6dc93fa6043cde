"""Maps environment variables to settings. Standard library only, as the command line imports it too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


def _split_list(text: str) -> list[str]:
    """Return the items of a comma-separated value."""
    return [word.strip() for word in text.split(",") if word.strip()]


_WORDS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


def _parse_bool(text: str) -> bool:
    if text.lower() not in _WORDS:
        raise ValueError(f"write {', '.join(_WORDS)}")
    return _WORDS[text.lower()]


VARIABLES: dict[str, tuple[str, Callable[[str], object]]] = {
    "PANCODE_BUDGET_CEILING": ("budget.ceiling", str),
    "PANCODE_PER_RUN_BUDGET": ("budget.per_run", str),
    "PANCODE_SAFETY": ("dispatch.safety", str),
    "PANCODE_LAND_HOW": ("land.how", str),
    "PANCODE_DEFAULT_AGENT": ("dispatch.agent", str),
    "PANCODE_REASONING": ("dispatch.reasoning", str),
    "PANCODE_DISPATCH_MAX_DEPTH": ("dispatch.max_depth", int),
    "PANCODE_NODE_CONCURRENCY": ("nodes.slots", int),
    "PANCODE_MODEL": ("models.orchestrator", str),
    "PANCODE_WORKER_MODEL": ("models.worker", str),
    "PANCODE_SCOUT_MODEL": ("models.scout", str),
    "PANCODE_LOCAL_MACHINES": ("models.machines", _split_list),
    "PANCODE_STRICT_TIERS": ("models.strict_tiers", _parse_bool),
    "PANCODE_REDIS_URL": ("redis.url", str),
    "PANCODE_REDIS_PASSWORD_FILE": ("redis.password_file", str),
    "PANCODE_REDIS_CA_FILE": ("redis.ca_file", str),
    "PANCODE_REDIS_CERT_FILE": ("redis.cert_file", str),
    "PANCODE_REDIS_KEY_FILE": ("redis.key_file", str),
    "PANCODE_METRICS_LISTEN": ("metrics.listen", str),
    "PANCODE_METRICS_HOSTS": ("metrics.hosts", _split_list),
    "PANCODE_API_LISTEN": ("api.listen", str),
    "PANCODE_API_HOSTS": ("api.hosts", _split_list),
    "PANCODE_API_TLS_CERT": ("api.tls.cert", str),
    "PANCODE_API_TLS_KEY": ("api.tls.key", str),
    "PANCODE_DATABASE_URL": ("ledger.url", str),
    "PANCODE_DATABASE_PASSWORD_FILE": ("ledger.password_file", str),
    "PANCODE_TIME_FACTOR": ("timing.factor", float),
}
"""By variable: the key that it sets, and the function that parses its text (ValueError if invalid)."""
REMOVED_VARIABLES = {"PANCODE_DIRECT_LISTEN": "direct.listen", "PANCODE_DIRECT_ADVERTISE": "direct.advertise"}
"""By variable of an earlier version: the removed setting that it sets (`config.removed`)."""

FOR_NEW_NODES = {
    key: f"{key} applies to nodes added from now on; for an existing node: {fix}"
    for key, fix in {
        "nodes.slots": "pancode node set NAME --slots N",
        "nodes.least": "pancode node set NAME --slots LEAST-MOST",
    }.items()
}
"""For each setting that a node keeps as it was when the node was added: a sentence that explains this."""

BUILT_IN = "built-in"
"""The origin of a value that is not set anywhere."""

PER_DISPATCH = (
    *("PANCODE_SAFETY", "PANCODE_DEFAULT_AGENT", "PANCODE_REASONING", "PANCODE_PER_RUN_BUDGET"),
    *("PANCODE_MODEL", "PANCODE_WORKER_MODEL", "PANCODE_SCOUT_MODEL"),
)
"""Variables that also apply when set for a single command: the command line passes them on as flags."""

LOG = "PANCODE_LOG"
"""The variable with the format of the log, as in `node_agent.wire.logs`."""
PLACES = (
    "PANCODE_HOME",
    "PANCODE_COORDINATOR",
    "PANCODE_NODE_HOME",
    "PANCODE_PRESET",
    "PANCODE_PUSH_REF",
    LOG,
)
"""Variables that are read elsewhere and set no key."""
_PREFIX = "PANCODE_"
_GIVEN_TO_RUNS = ("PANCODE_RUN", "PANCODE_ATTEMPT", "PANCODE_DEPTH")
_GIVEN_TO_WORKERS = ("PANCODE_MODEL_KEY", "PANCODE_MODEL_CONTEXT")
_OF_TESTS = ("PANCODE_SIM_", "PANCODE_LAB_")
_KNOWN = frozenset((*VARIABLES, *REMOVED_VARIABLES, *PLACES, *_GIVEN_TO_RUNS, *_GIVEN_TO_WORKERS))

LIMITING = (
    *("PANCODE_SAFETY", "PANCODE_BUDGET_CEILING", "PANCODE_PER_RUN_BUDGET", "PANCODE_DISPATCH_MAX_DEPTH"),
    *("PANCODE_STRICT_TIERS", "PANCODE_PRESET"),
)
"""Variables that limit what a run may do or cost: if one of them is misspelled, the command must fail."""


@dataclass(frozen=True, slots=True)
class UnknownVariable:
    """A PANCODE_ variable that PanCode does not read, and the variable that was probably meant (`near`)."""

    name: str
    near: str | None

    @property
    def limits(self) -> bool:
        """Return whether the variable that was probably meant limits a run."""
        return self.near in LIMITING

    @property
    def words(self) -> str:
        meant = f"did you mean {self.near}?" if self.near else "it has no effect"
        return f"unknown variable {self.name} is set: {meant}"


def unknown_variables(environ: Mapping[str, str]) -> list[UnknownVariable]:
    """Return the unknown variables, sorted by name; an empty variable counts as not set."""
    return [
        UnknownVariable(name, _find_similar(name))
        for name, value in sorted(environ.items())
        if name.startswith(_PREFIX) and value.strip()
        if name not in _KNOWN and not name.startswith(_OF_TESTS)
    ]


def may_change_settings(environ: Mapping[str, str]) -> bool:
    """Whether a variable sets a setting or a preset, or may be a misspelling of one that does."""
    names = (*VARIABLES, "PANCODE_PRESET")
    return any(environ.get(name, "").strip() for name in names) or bool(unknown_variables(environ))


def _find_similar(name: str) -> str | None:
    # imported only here, since every command makes this check and few find an unknown variable
    from difflib import get_close_matches

    words = {known.removeprefix(_PREFIX): known for known in (*VARIABLES, *PLACES)}
    near = get_close_matches(name.removeprefix(_PREFIX), words, n=1, cutoff=0.6)
    return words[near[0]] if near else None
