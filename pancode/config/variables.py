"""Which environment variable sets which key. Standard library only: the command line reads it too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches


def _words(text: str) -> list[str]:
    """What stands between commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


_WORDS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


def _truth(text: str) -> bool:
    if text.lower() not in _WORDS:
        raise ValueError(f"write {', '.join(_WORDS)}")
    return _WORDS[text.lower()]


VARIABLES: dict[str, tuple[str, Callable[[str], object]]] = {
    "PANCODE_BUDGET_CEILING": ("budget.ceiling", str),
    "PANCODE_PER_RUN_BUDGET": ("budget.per_run", str),
    "PANCODE_SAFETY": ("dispatch.safety", str),
    "PANCODE_DEFAULT_AGENT": ("dispatch.agent", str),
    "PANCODE_REASONING": ("dispatch.reasoning", str),
    "PANCODE_DISPATCH_MAX_DEPTH": ("dispatch.max_depth", int),
    "PANCODE_NODE_CONCURRENCY": ("nodes.slots", int),
    "PANCODE_MODEL": ("models.orchestrator", str),
    "PANCODE_WORKER_MODEL": ("models.worker", str),
    "PANCODE_SCOUT_MODEL": ("models.scout", str),
    "PANCODE_LOCAL_MACHINES": ("models.machines", _words),
    "PANCODE_STRICT_TIERS": ("models.strict_tiers", _truth),
    "PANCODE_REDIS_URL": ("redis.url", str),
    "PANCODE_REDIS_PASSWORD_FILE": ("redis.password_file", str),
    "PANCODE_REDIS_CA_FILE": ("redis.ca_file", str),
    "PANCODE_REDIS_CERT_FILE": ("redis.cert_file", str),
    "PANCODE_REDIS_KEY_FILE": ("redis.key_file", str),
    "PANCODE_DIRECT_LISTEN": ("direct.listen", str),
    "PANCODE_DIRECT_ADVERTISE": ("direct.advertise", str),
    "PANCODE_METRICS_LISTEN": ("metrics.listen", str),
    "PANCODE_DATABASE_URL": ("ledger.url", str),
    "PANCODE_DATABASE_PASSWORD_FILE": ("ledger.password_file", str),
    "PANCODE_TIME_FACTOR": ("timing.factor", float),
}
"""Variable to (key, what makes a value of its text: ValueError when it cannot)."""

PER_DISPATCH = (
    *("PANCODE_SAFETY", "PANCODE_DEFAULT_AGENT", "PANCODE_REASONING", "PANCODE_PER_RUN_BUDGET"),
    *("PANCODE_MODEL", "PANCODE_WORKER_MODEL", "PANCODE_SCOUT_MODEL"),
)
"""Those that also count when they are set for one command: the command line hands them on as flags."""

PLACES = (
    "PANCODE_HOME",
    "PANCODE_NODE_HOME",
    "PANCODE_PRESET",
    "PANCODE_PUSH_REF",
)
"""Read elsewhere; they set no key."""
_GIVEN_TO_RUNS = ("PANCODE_RUN", "PANCODE_ATTEMPT", "PANCODE_DEPTH")


def odd_variables(environ: Mapping[str, str]) -> list[str]:
    """A sentence for each PANCODE_ variable that has no effect and looks as if it was meant to have one."""
    said = []
    for name in sorted(environ):
        if not name.startswith("PANCODE_") or name in VARIABLES or name in PLACES or name in _GIVEN_TO_RUNS:
            continue
        near = get_close_matches(name, VARIABLES, n=1, cutoff=0.8)
        if near:
            said.append(f"{name} is set and unknown: did you mean {near[0]}?")
    return said
