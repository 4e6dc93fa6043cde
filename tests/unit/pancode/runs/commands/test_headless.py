"""A headless run that is interrupted while it is queued is known by name first, so that it can be stopped."""

from __future__ import annotations

import os
import signal

import pytest

from pancode.runs.commands.headless import _hold_signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_waits_for_the_answer(number: int) -> None:
    before, answer = signal.getsignal(number), ""
    with pytest.raises(KeyboardInterrupt), _hold_signals():
        os.kill(os.getpid(), number)
        answer = "r-named"
    assert answer == "r-named"
    assert signal.getsignal(number) == before


def test_the_second_signal_does_not_wait() -> None:
    answer = ""
    with pytest.raises(KeyboardInterrupt), _hold_signals():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        answer = "never"
    assert answer == ""
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
