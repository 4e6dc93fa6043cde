"""Remembers what a user has agreed to: a file with the digest of the content that was approved, by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pancode.kernel.errors import ConfigError
from pancode.kernel.host.files import make_private, write_durable


def read_agreements(file: Path) -> dict[str, str]:
    """Return the approved digests by name; none without a file. ConfigError for a damaged file."""
    try:
        return {str(name): str(digest) for name, digest in json.loads(file.read_text()).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError) as exc:
        raise ConfigError(f"cannot read {file}", why=str(exc), fix=f"mv {file} {file}.old") from exc


def add_agreements(file: Path, new: Mapping[str, str]) -> None:
    """Store these approved digests, by name, beside the earlier ones. ConfigError for a damaged file."""
    make_private(file.parent)
    text = json.dumps({**read_agreements(file), **new}, indent=1, sort_keys=True)
    write_durable(file, text.encode())
