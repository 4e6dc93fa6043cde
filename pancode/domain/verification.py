"""Whether a receipt can be believed: one verdict, and each check that led to it. Needs keys only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from node_agent.wire.failure import Outcome
from node_agent.wire.receipt import Claims, Receipt
from node_agent.wire.signing import (
    Envelope,
    PublicKey,
    RefusalCode,
    Signature,
    WireRefusal,
    parse_envelope,
    parse_message,
    verify,
)


class ReceiptVerdict(StrEnum):
    """Five different answers."""

    PASS = "PASS"
    TAMPERED = "TAMPERED"
    UNSIGNED = "UNSIGNED"
    UNKNOWN_KEY = "UNKNOWN_KEY"
    NOT_FOUND = "NOT_FOUND"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    what: str
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Verified:
    """`claims` None: what it says could not be read, or must not be believed."""

    verdict: ReceiptVerdict
    checks: tuple[Check, ...]
    claims: Claims | None = None


@dataclass(frozen=True, slots=True)
class TrustedKeys:
    """Who may sign: nodes by key id, and the coordinators that may countersign."""

    nodes: Mapping[str, PublicKey]
    coordinators: Mapping[str, PublicKey]


_VERDICTS = {
    RefusalCode.UNSIGNED: ReceiptVerdict.UNSIGNED,
    RefusalCode.UNKNOWN_KEY: ReceiptVerdict.UNKNOWN_KEY,
}


def verify_receipt(envelope: Envelope, keys: TrustedKeys, run: str | None = None) -> Verified:
    """Signature of the node, countersignature of the coordinator, then whether the content fits itself."""
    checks: list[Check] = []
    try:
        _signatures(envelope, keys, checks)
        claims = _content(envelope, checks)
    except WireRefusal as refusal:
        checks.append(Check(_STEP[len(checks)], False, refusal.detail))
        return Verified(_VERDICTS.get(refusal.code, ReceiptVerdict.TAMPERED), tuple(checks))
    checks += _consistency(claims, keys, envelope, run)
    if all(check.ok for check in checks):
        return Verified(ReceiptVerdict.PASS, tuple(checks), claims)
    return Verified(ReceiptVerdict.TAMPERED, tuple(checks))


def verify_text(text: str | bytes, keys: TrustedKeys, run: str | None = None) -> Verified:
    """As `verify_receipt`, for bytes from anywhere: what is no envelope is TAMPERED."""
    try:
        envelope = parse_envelope(text)
    except WireRefusal as refusal:
        return Verified(ReceiptVerdict.TAMPERED, (Check("envelope", False, refusal.detail),))
    return verify_receipt(envelope, keys, run)


_STEP = ("signed by the node", "countersigned by the coordinator", "content")


def not_found(what: str) -> Verified:
    """There is no receipt to look at."""
    return Verified(ReceiptVerdict.NOT_FOUND, (Check("receipt", False, what),))


def _signatures(envelope: Envelope, keys: TrustedKeys, checks: list[Check]) -> None:
    signer = verify(envelope, keys.nodes)
    checks.append(Check(_STEP[0], True, f"key {signer.tag}"))
    if not _others(envelope, signer):
        raise WireRefusal(RefusalCode.UNSIGNED, "no countersignature: the coordinator never accepted it")
    second = verify(envelope, keys.coordinators)
    checks.append(Check(_STEP[1], True, f"key {second.tag}"))


def _others(envelope: Envelope, signer: PublicKey) -> list[Signature]:
    return [s for s in envelope.signatures if s.keyid != signer.keyid]


def _content(envelope: Envelope, checks: list[Check]) -> Claims:
    if envelope.payloadType != Receipt.payload_type():
        raise WireRefusal(RefusalCode.WRONG_TYPE, f"{envelope.payloadType} is no receipt")
    receipt = parse_message(Receipt, envelope.body())
    checks.append(Check(_STEP[2], True, "in-toto statement, every field known"))
    return receipt.predicate


def _consistency(claims: Claims, keys: TrustedKeys, envelope: Envelope, run: str | None) -> list[Check]:
    signer = next(s for s in envelope.signatures if s.keyid in keys.nodes)
    checks = [Check("signed by the node that it names", signer.keyid[:10] == claims.node, claims.node_name)]
    if run is not None:
        named = str(claims.identity)
        checks.append(Check("is of this run", claims.identity.run == run, named))
    failed = [gate.name for gate in claims.gates if not gate.passed]
    told = ", ".join(f"{gate.name} exit {gate.exit_code}" for gate in claims.gates) or "none was asked for"
    checks.append(Check("gates go with the outcome", claims.outcome is not Outcome.DONE or not failed, told))
    return checks
