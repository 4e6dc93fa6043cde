"""Judges an exported receipt with exported public keys alone: no coordinator, no ledger, no network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from node_agent.wire.signing import PublicKey
from pancode.control.query_receipts import EXPORT, shape
from pancode.control.query_shapes import VerdictShape
from pancode.domain.verification import ReceiptVerdict, TrustedKeys, Verified, not_found, verify_text
from pancode.errors import ConfigError, UsageError


def verify_file(path: Path, keys: Path | None) -> VerdictShape:
    """The verdict on the receipt in `path`. Keys come from a file that you got another way.

    UsageError without keys, or with its own: those inside a receipt's own file prove nothing about it.
    ConfigError for a keys file that is none.
    """
    if not path.is_file():
        return shape(str(path), not_found(f"there is no file {path}"))
    if keys is None:
        raise _own_keys(path)
    trusted = read_keys(keys)
    run, verified = _judge(path, trusted)
    if keys.samefile(path) and verified.verdict is not ReceiptVerdict.NOT_FOUND:
        raise _own_keys(path)
    return shape(run, verified)


def _own_keys(path: Path) -> UsageError:
    return UsageError(
        "an exported receipt is judged with public keys from elsewhere",
        why="keys that come with a receipt prove nothing about it",
        fix=f"pancode receipt export > keys.json on the coordinator, then: "
        f"pancode receipt verify {path} --keys keys.json",
    )


def read_keys(path: Path) -> TrustedKeys:
    """The public keys of an export; ConfigError when it holds none."""
    try:
        rows = json.loads(path.read_text())["keys"]
        parsed = [(row["role"], PublicKey.parse(row["public"])) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise ConfigError(
            f"{path} holds no public keys",
            why=f"{type(exc).__name__}: {exc}",
            fix="pancode receipt export > keys.json",
        ) from exc
    nodes = {key.keyid: key for role, key in parsed if role == "node"}
    return TrustedKeys(nodes, {key.keyid: key for role, key in parsed if role == "coordinator"})


def _judge(path: Path, keys: TrustedKeys) -> tuple[str, Verified]:
    """From a whole export, or from the bare envelope as the coordinator's archive keeps it."""
    text = path.read_text(errors="replace")
    try:
        data: Any = json.loads(text)
    except ValueError:
        data = None
    if isinstance(data, dict) and data.get("format") == EXPORT:
        if data.get("receipt") is None:
            return str(path), not_found(f"{path} holds keys and no receipt")
        text = json.dumps(data["receipt"])
    verified = verify_text(text, keys)
    run = verified.claims.identity.run if verified.claims is not None else str(path)
    return run, verified
