"""Verifies an exported receipt with exported public keys, without coordinator, ledger or network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from node_agent.wire.signing import PublicKey
from pancode.kernel.errors import ConfigError, UsageError, describe_cause
from pancode.runs.answers import VerdictShape
from pancode.runs.receipts import verification
from pancode.runs.receipts.service import EXPORT, describe_verdict


def verify_file(path: Path, keys: Path | None) -> VerdictShape:
    """Return the verdict on the receipt in `path`. The keys must come from a file with another source.

    Raises UsageError without keys, or if they are in the receipt's own file, as such keys prove nothing about
    it. Raises ConfigError for a file without keys.
    """
    if not path.is_file():
        return describe_verdict(str(path), verification.not_found(f"file {path} not found"))
    if keys is None:
        raise _own_keys(path)
    trusted = read_keys(keys)
    run, verified = _judge(path, trusted)
    if keys.samefile(path) and verified.verdict is not verification.ReceiptVerdict.NOT_FOUND:
        raise _own_keys(path)
    return describe_verdict(run, verified)


def _own_keys(path: Path) -> UsageError:
    return UsageError(
        "an exported receipt must be verified with keys from another source",
        why="keys that come with a receipt do not prove that it is genuine",
        fix=f"on the coordinator: pancode receipt export > keys.json; then here: "
        f"pancode receipt verify {path} --keys keys.json",
    )


def read_keys(path: Path) -> verification.TrustedKeys:
    """Return the public keys of an export. ConfigError if it has none."""
    try:
        rows = json.loads(path.read_text())["keys"]
        parsed = [(row["role"], _parse_key(row)) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise ConfigError(
            f"{path} contains no public keys",
            why=describe_cause(exc),
            fix="pancode receipt export > keys.json",
        ) from exc
    return verification.TrustedKeys(_select_keys("node", parsed), _select_keys("coordinator", parsed))


def _parse_key(row: Mapping[str, Any]) -> verification.TrustedKey:
    names = (str(row["name"]),) if "name" in row else ()
    times = [_parse_ms(row.get(name)) for name in ("from", "until")]
    return verification.TrustedKey(PublicKey.parse(row["public"]), names, *times)


def _parse_ms(text: str | None) -> int | None:
    return None if text is None else int(datetime.fromisoformat(text).timestamp() * 1000)


def _select_keys(
    role: str, parsed: Sequence[tuple[str, verification.TrustedKey]]
) -> dict[str, verification.TrustedKey]:
    """Return the keys of this role (node or coordinator) by key id; one key may have several names."""
    found: dict[str, verification.TrustedKey] = {}
    for whose, known in parsed:
        if whose == role:
            found[known.key.keyid] = known.joined(found.get(known.key.keyid))
    return found


def _judge(path: Path, keys: verification.TrustedKeys) -> tuple[str, verification.Verified]:
    """Return the verdict on the file's receipt: an export, or an envelope from the coordinator's archive."""
    text = path.read_text(errors="replace")
    try:
        data: Any = json.loads(text)
    except ValueError:
        data = None
    if isinstance(data, dict) and data.get("format") == EXPORT:
        if data.get("receipt") is None:
            return str(path), verification.not_found(f"{path} contains keys but no receipt")
        text = json.dumps(data["receipt"])
    if isinstance(data, dict) and {"workflow", "envelope"} <= data.keys():
        what = f"{path} is a workflow's receipt of version 0.1.0; verify the receipts of its runs instead"
        return str(path), verification.not_found(what)
    verified = verification.verify_text(text, keys)
    run = verified.claims.identity.run if verified.claims is not None else str(path)
    return run, verified
