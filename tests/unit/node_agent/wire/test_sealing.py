"""Sealed files: only the right key opens them, for the subject for which they were sealed."""

from __future__ import annotations

import pytest

from node_agent.wire.sealing import MOST_COPIED, MOST_SEALED, open_files, seal_files
from node_agent.wire.signing import SigningKey

NODE, OTHER = SigningKey(b"n" * 32), SigningKey(b"o" * 32)
FILES = {".env.local": b"API_KEY=0123456789abcdef\n", "config/site.key": bytes(range(256))}


def test_the_key_for_which_files_were_sealed_opens_them_and_no_text_has_them() -> None:
    sealed = seal_files(FILES, NODE.public, "r-1.1.1")
    assert open_files(sealed, NODE, "r-1.1.1") == FILES
    assert sealed != seal_files(FILES, NODE.public, "r-1.1.1"), "each sealing has a key of its own"
    assert "0123456789abcdef" not in sealed and ".env" not in sealed


def test_all_files_of_a_run_fit_into_its_job() -> None:
    assert len(seal_files({"a": bytes(MOST_COPIED)}, NODE.public, "r-1.1.1")) < MOST_SEALED


@pytest.mark.parametrize(
    ("key", "subject", "change"),
    [(OTHER, "r-1.1.1", ""), (NODE, "r-1.2.1", ""), (NODE, "r-1.1.1", "A"), (NODE, "r-1.1.1", "?")],
)
def test_nothing_else_opens_them(key: SigningKey, subject: str, change: str) -> None:
    sealed = seal_files(FILES, NODE.public, "r-1.1.1")
    changed = sealed[:60] + change + sealed[60 + len(change) :]
    changed = changed if changed != sealed or not change else f"{sealed[:60]}B{sealed[61:]}"
    with pytest.raises(ValueError, match="sealed for another key"):
        open_files(changed, key, subject)


def test_the_exchange_keys_of_one_owner_belong_together() -> None:
    for key in (NODE, OTHER):
        theirs = key.exchange_key().public_key().public_bytes_raw()
        assert theirs == key.public.exchange_key().public_bytes_raw()
