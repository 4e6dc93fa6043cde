"""Finds out whether anything has the names of a filter: an empty answer must not stand for a typo."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pancode.control.core import Core
from pancode.core.names import not_found
from pancode.core.ports import Grouping
from pancode.core.records import EndedRun, Node, Run
from pancode.work.workflow import rows as workflows

_LISTED = {"agent": "pancode agents", "node": "pancode node ls", "repository": "pancode cost --by repository"}


def filters(core: Core, wanted: Mapping[str, str], agents: Collection[str] = ()) -> dict[str, str]:
    """The filters by agent, node, repository and workflow, the workflow by its id; `agents`: those of files.

    NotFoundError for a name that nothing has, nor any run has had.
    """
    with core.ports.ledger.transaction() as tx:
        for kind, fix in _LISTED.items():
            word = wanted.get(kind)
            now = agents if kind == "agent" else [node.name for node in tx.find(Node)]
            if word is None or (kind != "repository" and word in now):
                continue
            # what runs have had, also what is gone by now
            found = tx.tally(EndedRun, Grouping(by=(kind,)))
            if kind != "node":  # the node of a run that has not ended is one of the fleet
                found += tx.tally(Run, Grouping(by=("project" if kind == "repository" else kind,)))
            had = {str(one.key[0]) for one in found if one.key[0] is not None}
            known = {*(now if kind != "repository" else ()), *had}
            if word not in known:
                raise not_found(kind, word, known, fix)
        workflow = wanted.get("workflow")
        whole = {} if workflow is None else {"workflow": workflows.find(tx, workflow).id}
    return {**wanted, **whole}
