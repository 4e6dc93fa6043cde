"""Verifies receipts and the chain of a node's receipts; each verdict comes with the checks that led to it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from node_agent.wire import signing
from node_agent.wire.failure import Outcome
from node_agent.wire.receipt import Claims, Receipt
from pancode.kernel.formatting import first_few

SHOWN = 5


@dataclass(frozen=True, slots=True)
class ChainLink:
    """One receipt of a chain; `attempt`: its attempt, as a name for users."""

    digest: str
    attempt: str
    previous: str | None


def judge_chain(key: str, links: Sequence[ChainLink], unanswered: Sequence[str]) -> list[VerificationCheck]:
    """Return the checks of one key's chain. `unanswered`: attempts assigned to this key that have no receipt.

    A receipt that the chain names but is missing here may belong to an unanswered attempt. If every attempt
    has its receipt, none can be missing, so the named digest was made up.
    """
    every = {link.digest for link in links}
    lost = [link for link in links if link.previous is not None and link.previous not in every]
    return [
        VerificationCheck(f"begins once ({key})", len(_list_starts(links)) <= 1, _format_starts(links)),
        *(_make_missing(link, unanswered) for link in lost),
        *_check_forks(links),
    ]


def verdict_of(checks: Iterable[VerificationCheck]) -> Verified:
    """Return the verdict of these checks: PASS or BROKEN; NOT_FOUND if there are none."""
    found = tuple(checks)
    if not found:
        return Verified(
            ReceiptVerdict.NOT_FOUND,
            (VerificationCheck("receipt", False, "the node has signed no receipts"),),
        )
    good = all(check.ok for check in found)
    return Verified(ReceiptVerdict.PASS if good else ReceiptVerdict.BROKEN, found)


def _list_starts(links: Sequence[ChainLink]) -> list[str]:
    return [link.attempt for link in links if link.previous is None]


def _format_starts(links: Sequence[ChainLink]) -> str:
    starts = _list_starts(links)
    if not starts:
        return f"{len(links)} receipts; the first of the chain is missing"
    return f"{len(links)} receipts, from {first_few(starts, SHOWN)}"


def _make_missing(link: ChainLink, unanswered: Sequence[str]) -> VerificationCheck:
    named = f"{link.attempt} names {str(link.previous)[:12]}..., which is missing"
    if unanswered:
        return VerificationCheck(
            "no gap", False, f"{named}; without a receipt: {first_few(unanswered, SHOWN)}"
        )
    return VerificationCheck(
        "no invented digest", False, f"{named}; every attempt assigned to the node has its receipt"
    )


def _check_forks(links: Sequence[ChainLink]) -> list[VerificationCheck]:
    after: dict[str, list[str]] = defaultdict(list)
    for link in links:
        if link.previous is not None:
            after[link.previous].append(link.attempt)
    return [
        VerificationCheck(
            "no fork", False, f"{first_few(names, SHOWN)} all name {digest[:12]}... as the previous one"
        )
        for digest, names in after.items()
        if len(names) > 1
    ]


class ReceiptVerdict(StrEnum):
    """The verdict on one receipt; BROKEN is only for a chain of receipts."""

    PASS = "PASS"
    TAMPERED = "TAMPERED"
    UNSIGNED = "UNSIGNED"
    UNKNOWN_KEY = "UNKNOWN_KEY"
    NOT_FOUND = "NOT_FOUND"
    BROKEN = "BROKEN"


@dataclass(frozen=True, slots=True)
class VerificationCheck:
    """One check of a receipt."""

    what: str
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Verified:
    """A verdict and its checks. `claims` None: they cannot be read, or must not be trusted."""

    verdict: ReceiptVerdict
    checks: tuple[VerificationCheck, ...]
    claims: Claims | None = None


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A key that signs or has signed, with the names of its node (empty: unknown). `from_ms`, `until_ms`:
    when it was in use by the coordinator's clock, for display only."""

    key: signing.PublicKey
    names: tuple[str, ...] = ()
    from_ms: int | None = None
    until_ms: int | None = None

    def joined(self, other: TrustedKey | None) -> TrustedKey:
        """Return this key with the names of both: a node may have left the fleet and come back."""
        if other is None:
            return self
        starts = [ms for ms in (self.from_ms, other.from_ms) if ms is not None]
        ends = [ms for ms in (self.until_ms, other.until_ms) if ms is not None]
        until = max(ends) if len(ends) == 2 else None
        return TrustedKey(
            self.key, (*other.names, *self.names), min(starts) if len(starts) == 2 else None, until
        )

    def words(self) -> str:
        """Return the key's name and the end of its use as text."""
        return f"key {self.key.tag}" + (
            "" if self.until_ms is None else f", in use until {_format_day(self.until_ms)}"
        )


@dataclass(frozen=True, slots=True)
class TrustedKeys:
    """The keys that may sign: those of nodes, and those of coordinators for countersignatures, by key id."""

    nodes: Mapping[str, TrustedKey]
    coordinators: Mapping[str, TrustedKey]


def _format_day(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).date().isoformat()


def _strip_keys(keys: Mapping[str, TrustedKey]) -> dict[str, signing.PublicKey]:
    return {keyid: known.key for keyid, known in keys.items()}


_VERDICTS = {
    signing.RefusalCode.UNSIGNED: ReceiptVerdict.UNSIGNED,
    signing.RefusalCode.UNKNOWN_KEY: ReceiptVerdict.UNKNOWN_KEY,
}


def verify_text(text: str | bytes, keys: TrustedKeys, run: str | None = None) -> Verified:
    """Check the node's signature, the countersignature, and whether the content is consistent. Bytes that are
    not an envelope are TAMPERED."""
    try:
        envelope = signing.parse_envelope(text)
    except signing.WireRefusal as refusal:
        return Verified(ReceiptVerdict.TAMPERED, (VerificationCheck("envelope", False, refusal.detail),))
    checks: list[VerificationCheck] = []
    try:
        signer = signing.verify_envelope(envelope, _strip_keys(keys.nodes))
        checks.append(VerificationCheck(_STEP[0], True, keys.nodes[signer.keyid].words()))
        if not [s for s in envelope.signatures if s.keyid != signer.keyid]:
            raise signing.WireRefusal(
                signing.RefusalCode.UNSIGNED,
                "no countersignature: the coordinator never accepted the receipt",
            )
        second = signing.verify_envelope(envelope, _strip_keys(keys.coordinators))
        checks.append(VerificationCheck(_STEP[1], True, keys.coordinators[second.keyid].words()))
        if envelope.payloadType != Receipt.payload_type():
            raise signing.WireRefusal(
                signing.RefusalCode.WRONG_TYPE, f"{envelope.payloadType} is not a receipt"
            )
        receipt = signing.parse_message(Receipt, envelope.body())
        checks.append(VerificationCheck(_STEP[2], True, "in-toto statement, every field known"))
        claims = receipt.predicate
    except signing.WireRefusal as refusal:
        checks.append(VerificationCheck(_STEP[len(checks)], False, refusal.detail))
        return Verified(_VERDICTS.get(refusal.code, ReceiptVerdict.TAMPERED), tuple(checks))
    checks += _check_consistency(claims, keys, envelope, run)
    if all(check.ok for check in checks):
        return Verified(ReceiptVerdict.PASS, tuple(checks), claims)
    return Verified(ReceiptVerdict.TAMPERED, tuple(checks))


_STEP = ("signed by the node", "countersigned by the coordinator", "content")


def not_found(what: str) -> Verified:
    """Return the verdict for a missing receipt."""
    return Verified(ReceiptVerdict.NOT_FOUND, (VerificationCheck("receipt", False, what),))


def _check_consistency(
    claims: Claims, keys: TrustedKeys, envelope: signing.Envelope, run: str | None
) -> list[VerificationCheck]:
    checks = [_check_name(claims, signer_of(envelope, keys))]
    if run is not None:
        named = str(claims.identity)
        checks.append(VerificationCheck("belongs to this run", claims.identity.run == run, named))
    failed = [gate.name for gate in claims.gates if not gate.passed]
    results = ", ".join(f"{gate.name} exit {gate.exit_code}" for gate in claims.gates) or "none was required"
    checks.append(
        VerificationCheck(
            "gates match the outcome", claims.outcome is not Outcome.DONE or not failed, results
        )
    )
    return checks


def signer_of(envelope: signing.Envelope, keys: TrustedKeys) -> TrustedKey:
    """Return the key of the node that signed a verified receipt."""
    return next(keys.nodes[s.keyid] for s in envelope.signatures if s.keyid in keys.nodes)


def _check_name(claims: Claims, signer: TrustedKey) -> VerificationCheck:
    """Check that the key was enrolled under the receipt's node name, which else is only a claim."""
    what = "signed by the node that it names"
    if signer.key.tag != claims.node:
        return VerificationCheck(what, False, f"it names {claims.node}, but its key is {signer.key.tag}")
    if not signer.names:
        return VerificationCheck(
            what,
            True,
            f"{claims.node}; the keys contain no name, and the node calls itself {claims.node_name!r}",
        )
    if claims.node_name in signer.names:
        return VerificationCheck(what, True, claims.node_name)
    return VerificationCheck(
        what, False, f"it names {claims.node_name!r}, but its key is that of {' and '.join(signer.names)}"
    )
