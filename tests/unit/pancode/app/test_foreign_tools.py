"""Tools of others verify our receipts, with the very lines that the how-to page shows."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement

from node_agent.wire.signing import SigningKey, parse_envelope
from tests.unit.node_agent.wire.samples import KEY, receipt

PAGE = Path(__file__).parents[4] / "docs/howto/receipts.md"
COORDINATOR = SigningKey(b"c" * 32)


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """As `receipt export --dsse` and `key show` leave it."""
    envelope = COORDINATOR.countersign(receipt().signed(KEY))
    (tmp_path / "receipt.dsse.json").write_text(envelope.model_dump_json())
    (tmp_path / "node.pem").write_text(KEY.public.pem())
    (tmp_path / "coordinator.pem").write_text(COORDINATOR.public.pem())
    return tmp_path


def block(language: str) -> str:
    """The last block of that language on the page."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.S)[-1]


def change(folder: Path) -> None:
    """One byte of the payload."""
    path = folder / "receipt.dsse.json"
    envelope: dict[str, Any] = json.loads(path.read_text())
    body = bytearray(base64.b64decode(envelope["payload"]))
    body[10] ^= 1
    path.write_text(json.dumps({**envelope, "payload": base64.b64encode(body).decode()}))


def by_python(folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "verify.py").write_text(block("python"))
    argv = [sys.executable, "verify.py", "receipt.dsse.json", "node.pem", "coordinator.pem"]
    return subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)


def by_openssl(folder: Path, number: int, key: str) -> subprocess.CompletedProcess[str]:
    text = block("sh").replace("signatures[0]", f"signatures[{number}]").replace("node.pem", key)
    return subprocess.run(["bash", "-ec", text], cwd=folder, capture_output=True, text=True, check=False)


def test_securesystemslib_verifies_both_signatures_and_refuses_a_changed_byte(exported: Path) -> None:
    assert by_python(exported).stdout == "verified 2 signatures\n"
    change(exported)
    assert "VerificationError" in by_python(exported).stderr


def test_openssl_verifies_each_signature_and_refuses_a_changed_byte(exported: Path) -> None:
    for number, key in enumerate(("node.pem", "coordinator.pem")):
        assert "Verified Successfully" in by_openssl(exported, number, key).stdout
    assert by_openssl(exported, 0, "coordinator.pem").returncode != 0
    change(exported)
    assert by_openssl(exported, 0, "node.pem").returncode != 0


def test_the_statement_is_one_of_in_toto_with_no_field_of_ours(exported: Path) -> None:
    payload = parse_envelope((exported / "receipt.dsse.json").read_text()).body()
    assert list(json.loads(payload)) == ["_type", "predicate", "predicateType", "subject"]
    read = json_format.Parse(payload, statement_pb2.Statement())
    Statement.copy_from_pb(read).validate()
