"""Judges a result commit by the policy and by the rules of the node's owner."""

from __future__ import annotations

from node_agent.attempt.ports import AttemptResult
from node_agent.attempt.procedure.context import Case
from node_agent.attempt.verdict import Fault, change_fault, rules_fault
from node_agent.policy.breaches import breaches
from node_agent.wire.policy import ActionClass


def judged_by_rules(
    case: Case, result: AttemptResult, fault: Fault | None
) -> tuple[Fault | None, tuple[str, ...]]:
    """The result against the policy and the node owner's rules, and what broke them in words."""
    policy, owner = case.order.policy, case.context.ceiling()
    broken = breaches(result.changes, (*policy.paths, *owner.rules.paths))
    if owner.closed and result.changes:
        broken = (f"nobody can check whether the result follows them: {owner.closed}", *broken)
    read_only = case.order.agent.read_only or ActionClass.FILE_WRITE not in policy.allowed
    changed = change_fault(read_only, result.kind, result.files_changed, fault)
    return rules_fault(broken, fault) if changed is fault else changed, broken
