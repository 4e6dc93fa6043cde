"""Other names of commands: names in other groups, and words of earlier systems and of kubectl."""

from __future__ import annotations

from collections.abc import Mapping

VERBS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("list", "ls"), ("ls", "show")),
    **dict.fromkeys(("get", "view", "describe", "inspect"), ("show", "ls")),
    **dict.fromkeys(("remove", "delete", "del", "destroy"), ("rm",)),
    "info": ("show",),
    "create": ("add", "new"),
    "new": ("create", "add"),
}
"""Verbs that mean the same as others in every group; the first one that the group has is used."""


def _by_name(meanings: Mapping[str, str]) -> Mapping[str, str]:
    """Return a map from each other name to its meaning; the argument maps each meaning to a list of names."""
    return {name: meant for meant, names in meanings.items() for name in names.split(", ")}


WORDS = _by_name(
    {
        "--version": "version",
        "dispatch": "run",
        "workflow batch": "batch",
        "workflow ls --kind batch": "batches",
        "workflow chain": "chain",
        "workflow race": "race",
        "workflow explore": "explore",
        "stop": "runs stop, work kill",
        "stop --workflow": "workflow stop",
        "runs recover": "recover, work recover",
        "sessions attach": "attach",
        "sessions acp": "acp",
        "status --since last": "brief",
        "inbox review": "review",
        "budget spent": "cost, costs",
        "admin completion": "completion",
        "admin redis": "redis, redis users",
        "admin serve": "serve",
        "admin api-stdio": "api-stdio",
        "admin steps": "node steps",
        "logs": "runs logs",
        "logs -f": "runs follow",
        "land": "runs land",
        "diff": "runs diff",
        "why": "runs why",
        "approve": "inbox approve",
        "deny": "inbox deny",
        "answer": "inbox answer",
        "tell": "inbox tell, work tell, work hook mail",
        "lane": "hook",
        "lane add": "lane push, hook push, work hook push",
        "issue ls": "issues, issues ls, work, work status",
        "issue show": "issues show",
        "issue work": "work ..., work on, work issue",
        "issue plan": "work plan, plan, plan on",
        "agents record": "work cv, cv, workers",
        "agents runtimes": "runtimes",
        "config preset": "presets",
        "policy show": "safety",
        "policy show modes": "modes",
        "agents record --by agent": "work cv --rankings",
        "status --health": "work health, work health check",
        "status --health --all": "work health status",
        "lane ls": "work hook, work hook check",
        "history": "work context",
        "history find --told": "work context state",
        "history find": "work context history",
        "sessions checkpoint last": "work context checkpoint",
        "runs ls --waiting": "queue, queue ls",
        "node ls": "fleet status, get nodes, get node",
        "skills sync": "sync",
        "runs ls": "get runs, ps -a",
        "node show": "describe node",
        "runs show": "describe run",
        "runs ls --state running": "ps",
    }
)
"""Aliases of commands. A name that ends with ` ...` applies if more arguments follow."""
INSTEAD = _by_name(
    {
        "pancode stop RUN": "stoprun, delete",
        "pancode doctor, or pancode node install NODE PROGRAM": "install",
        "pancode status --health": "work health daemon",
        "pancode web": "up --minimal",
        "pancode config show": "settings",
        "pancode runs show RUN, or pancode node show NODE": "describe",
        "pancode land RUN, or pancode workflow chain FILE": "apply",
    }
)
"""Words of earlier systems and of kubectl that no command means alone, with what to use."""
