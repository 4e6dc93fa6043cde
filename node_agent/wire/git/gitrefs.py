"""The git refs of a run in the depot and in a node's mirror, and the allowed names of stored streams."""

from __future__ import annotations

import re

from node_agent.wire.identity import AttemptId

_RUN = re.compile(r"r-[a-z0-9]{4,24}")
_REPO = re.compile(r"[a-z0-9-]{4,80}")
_OBJECT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_STREAM = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,119}")


def snap_ref(run: str) -> str:
    """The commit that holds the user's tree as it was at dispatch."""
    return f"refs/pancode/snap/{checked_run(run)}"


def base_ref(run: str) -> str:
    """The commit on which the user stood at dispatch."""
    return f"refs/pancode/base/{checked_run(run)}"


def store_ref(commit: str) -> str:
    """In a node's mirror: a commit that runs began at, which later fetches need not bring again."""
    return f"refs/pancode/stores/{checked_object(commit)}"


def result_prefix(run: str) -> str:
    """The prefix of all results of a run, one ref per attempt and fence."""
    return f"refs/pancode/{checked_run(run)}/"


def salvage_ref(identity: AttemptId) -> str:
    """The ref of a result that a node saved and never delivered."""
    return f"refs/pancode/salvage/{identity}"


def checked_run(run: str) -> str:
    """`run` itself; ValueError when it is not a run's id."""
    return _checked(_RUN, run, "a run id")


def checked_repo(repo: str) -> str:
    """`repo` itself; ValueError when it is not a repository's id."""
    return _checked(_REPO, repo, "a repository id")


def checked_object(oid: str) -> str:
    """`oid` itself; ValueError when it is not a full object id."""
    return _checked(_OBJECT, oid, "an object id")


def checked_stream(name: str) -> str:
    """`name` itself; ValueError unless it is one plain file name (no slash, no leading dot or dash)."""
    return _checked(_STREAM, name, "a stream's name")


def _checked(pattern: re.Pattern[str], text: str, what: str) -> str:
    if pattern.fullmatch(text) is None:
        raise ValueError(f"not {what}: {text!r}")
    return text
