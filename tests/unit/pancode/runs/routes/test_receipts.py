"""Five answers about a receipt, here and offline: PASS, TAMPERED, UNSIGNED, UNKNOWN_KEY, NOT_FOUND."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.failure import Outcome
from node_agent.wire.receipt import Blob
from node_agent.wire.signing import Envelope, SigningKey
from pancode.kernel.errors import ConfigError, UsageError
from pancode.kernel.records import StoredReceipt
from pancode.runs.receipts.offline_verification import verify_file
from tests.unit.pancode.interfaces.http.world import MemoryCoordinator, client_of
from tests.unit.pancode.runs.world import Desk, Puppet

Change = Callable[[Envelope, Desk], Envelope]


class Done:
    """One run with its countersigned receipt."""

    def __init__(self, home: Path) -> None:
        self.context = Desk()
        node = Puppet(self.context)
        node.breathe()
        self.run = self.context.dispatch("r-0001").id
        self.context.turn()
        job = node.take()
        node.start(job)
        self.coordinator = MemoryCoordinator(self.context, home)
        self.coordinator.streams.put(job.identity, "out", b"hello\n")
        node.deliver(job, exit_code=0, blobs=(Blob(name="out", size=6, sha256="0" * 64),))
        self.context.turn()
        self.http = client_of(self.coordinator)

    @property
    def stored(self) -> StoredReceipt:
        (row,) = self.context.rows(StoredReceipt)
        assert isinstance(row, StoredReceipt)
        return row

    def verdict(self, change: Change) -> dict[str, Any]:
        """After the ledger's copy was changed."""
        stored = self.stored
        envelope = change(Envelope.model_validate_json(stored.envelope), self.context)
        with self.context.ledger.transaction() as tx:
            tx.put(replace(stored, envelope=envelope.model_dump_json()))
        return dict(self.http.get(f"/v1/runs/{self.run}/verify").json())


@pytest.fixture
def done(tmp_path: Path) -> Done:
    return Done(tmp_path)


def _same(envelope: Envelope, context: Desk) -> Envelope:
    return envelope


def _edited(envelope: Envelope, context: Desk) -> Envelope:
    """The same signatures over other content."""
    body = json.loads(envelope.body())
    body["predicate"]["outcome"] = Outcome.ERROR
    return envelope.model_copy(update={"payload": base64.b64encode(json.dumps(body).encode()).decode()})


def _garbage(envelope: Envelope, context: Desk) -> Envelope:
    return envelope.model_copy(update={"payload": "not base64"})


def _bare(envelope: Envelope, context: Desk) -> Envelope:
    return envelope.model_copy(update={"signatures": ()})


def _uncountersigned(envelope: Envelope, context: Desk) -> Envelope:
    kept = tuple(s for s in envelope.signatures if s.keyid != context.key.public.keyid)
    return envelope.model_copy(update={"signatures": kept})


def _stranger(envelope: Envelope, context: Desk) -> Envelope:
    return SigningKey(b"x" * 32).sign(envelope.payloadType, envelope.body())


def _node_and_stranger(envelope: Envelope, context: Desk) -> Envelope:
    return SigningKey(b"x" * 32).countersign(_uncountersigned(envelope, context))


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        (_same, "PASS"),
        (_edited, "TAMPERED"),
        (_garbage, "TAMPERED"),
        (_bare, "UNSIGNED"),
        (_uncountersigned, "UNSIGNED"),
        (_stranger, "UNKNOWN_KEY"),
        (_node_and_stranger, "UNKNOWN_KEY"),
    ],
)
def test_each_verdict_here_and_offline(done: Done, tmp_path: Path, change: Change, verdict: str) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps(done.http.get("/v1/export").json()))
    told = done.verdict(change)
    assert told["verdict"] == verdict
    assert all(c["ok"] for c in told["checks"]) is (verdict == "PASS")
    receipt = tmp_path / "receipt.json"
    receipt.write_text(done.stored.envelope)
    assert verify_file(receipt, keys)["verdict"] == verdict


def test_an_export_is_judged_with_keys_from_elsewhere_only(done: Done, tmp_path: Path) -> None:
    receipt, keys = tmp_path / "r.json", tmp_path / "k.json"
    receipt.write_text(json.dumps(done.http.get("/v1/export", run="last").json()))
    keys.write_text(json.dumps(done.http.get("/v1/export").json()))
    judged = verify_file(receipt, keys)
    assert (judged["run"], judged["verdict"]) == (done.run, "PASS")
    assert verify_file(keys, keys)["verdict"] == "NOT_FOUND"
    assert verify_file(tmp_path / "none.json", keys)["verdict"] == "NOT_FOUND"
    for none in (None, receipt):
        with pytest.raises(UsageError, match="keys from another source"):
            verify_file(receipt, none)
    with pytest.raises(ConfigError, match="contains no public keys"):
        verify_file(receipt, tmp_path / "none.json")
    foreign = tmp_path / "other.json"
    foreign.write_text(
        json.dumps({"keys": [{"role": "node", "public": SigningKey(b"y" * 32).public.text()}]})
    )
    assert verify_file(receipt, foreign)["verdict"] == "UNKNOWN_KEY"
    assert verify_file(_text(tmp_path, "no json at all"), keys)["verdict"] == "TAMPERED"


def _text(folder: Path, text: str) -> Path:
    path = folder / "text.json"
    path.write_text(text)
    return path


def test_bytes_that_are_gone_are_not_a_pass(done: Done) -> None:
    done.coordinator.streams.bytes.clear()
    told = done.verdict(_same)
    assert told["verdict"] == "TAMPERED"
    assert [c["what"] for c in told["checks"] if not c["ok"]] == ["out is stored here as signed"]


def test_a_receipt_of_another_run_proves_nothing_here(done: Done) -> None:
    done.context.dispatch("r-0002")
    other = replace(done.stored, run="r-0002")
    with done.context.ledger.transaction() as tx:
        tx.put(other)
    told = done.http.get("/v1/runs/r-0002/verify").json()
    assert told["verdict"] == "TAMPERED"
    assert [c["what"] for c in told["checks"] if not c["ok"]] == ["belongs to this run"]


def test_no_receipt_is_not_found(done: Done) -> None:
    done.context.dispatch("r-0002")
    told = done.http.get("/v1/runs/r-0002/verify").json()
    assert told["verdict"] == "NOT_FOUND" and "r-0002" in told["checks"][0]["detail"]
    assert done.http.get("/v1/receipts/r-0002").json()["code"] == "receipt_not_found"


def test_receipts_are_listed_and_shown(done: Done) -> None:
    (row,) = done.http.get("/v1/receipts").json()["receipts"]
    assert (row["run"], row["node"], row["outcome"], row["rejected"]) == (done.run, "n1", "done", None)
    shown = done.http.get("/v1/receipts/last").json()
    assert shown["statement"]["predicate"]["identity"]["run"] == done.run
    assert len(shown["envelope"]["signatures"]) == 2
