"""Which claims on a node stop its link."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from node_agent.wire.signing import SigningKey
from pancode.fleet.seat import Seat, SeatKeeper, sign_claim, take_seat
from pancode.fleet.ssh import links
from pancode.fleet.ssh.connection import SshTiming
from pancode.fleet.ssh.errors import ConnectError, LinkFault, LinkLost, SshError
from pancode.fleet.ssh.home import Home
from pancode.fleet.ssh.link import Backoff
from pancode.fleet.ssh.reach import reach_to
from pancode.fleet.ssh.remote import OUTPUT_LIMIT, Completed, Remote
from pancode.fleet.ssh.target import Target
from pancode.fleet.ssh.tunnel import TunnelTargets
from pancode.fleet.standing import HeldError
from pancode.kernel.errors import PancodeError
from tests.fakes.ledger import MemoryLedger


class ClaimedNode(Remote):
    """A node that answers every command with this outcome, and takes every file."""

    def __init__(self, answer: bytes | SshError) -> None:
        self.answer = answer
        self.puts: list[str] = []

    async def run(
        self, argv: Sequence[str], timeout_s: float, stdin: bytes = b"", limit: int = OUTPUT_LIMIT
    ) -> Completed:
        if isinstance(self.answer, SshError):
            raise self.answer
        return Completed(tuple(argv), 0 if self.answer else 1, self.answer, b"cat: Input/output error")

    async def put(self, path: str, source: bytes | Path, mode: int = 0o600) -> None:
        self.puts.append(path)


KEY = SigningKey(b"k" * 32)
NEWER = sign_claim(Seat(200, "b"), "f-1", KEY)
FORGED = sign_claim(Seat(200, "b"), "f-1", SigningKey(b"x" * 32))


def _settings(folder: Path, mine: Seat) -> links.LinkSettings:
    ledger = MemoryLedger()
    with ledger.transaction() as tx:
        take_seat(tx, mine, 1, "t")
    return links.LinkSettings(
        "f-1",
        Home(folder),
        folder,
        TunnelTargets(folder, folder),
        SshTiming(),
        Backoff(),
        lambda _: None,
        seat=SeatKeeper(ledger, "f-1", lambda: KEY, lambda: 1, lambda words: None),
    )


@pytest.mark.parametrize(
    ("mine", "answer", "fault"),
    [
        (Seat(), NEWER, LinkFault.FENCED),
        (Seat(), FORGED, None),
        (Seat(), b"nonsense", None),
        (Seat(), b"", None),
        (Seat(100, "a"), b"none", None),
        (Seat(100, "a"), b"", None),
        (Seat(100, "a"), LinkLost("late"), None),
        (Seat(100, "a"), FORGED, LinkFault.FOREIGN_CLAIM),
        (Seat(100, "a"), NEWER, LinkFault.FENCED),
    ],
)
def test_only_a_valid_or_a_foreign_claim_stops_a_link(
    tmp_path: Path, mine: Seat, answer: bytes | SshError, fault: LinkFault | None
) -> None:
    node = ClaimedNode(answer)
    check = links.Links(_settings(tmp_path, mine))._check_seat(
        node, reach_to(Target("n", "h", 22, "u"), installed_home="/n")
    )
    if fault is None:
        asyncio.run(check)
        assert node.puts == (["/n/seat.json"] if answer == b"none" else [])
        return
    with pytest.raises(ConnectError) as caught:
        asyncio.run(check)
    assert caught.value.fault is fault and caught.value.permanent
    if fault is LinkFault.FOREIGN_CLAIM:
        assert caught.value.fix_at("gpubox").endswith(
            "ssh gpubox rm /n/seat.json, then pancode fleet up gpubox"
        )


@pytest.mark.parametrize("looks", [False, True])
def test_a_coordinator_that_does_not_lead_connects_only_to_look(tmp_path: Path, looks: bool) -> None:
    settings = _settings(tmp_path, Seat())
    assert settings.seat is not None
    settings.seat.held = HeldError("this home was restored")
    with pytest.raises(PancodeError, match="not in the ledger" if looks else "was restored"):
        asyncio.run(links.Links(settings).dial("n1", looks=looks))
    settings.seat.lead()
    with pytest.raises(PancodeError, match="not in the ledger"):
        asyncio.run(links.Links(settings).dial("n1"))
