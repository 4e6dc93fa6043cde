"""What becomes of direct links where the coordinator has few files left, and how it comes to have many."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack, suppress

from node_agent.link.direct import dial
from pancode.kernel.host.open_files import is_spare
from tests.integration.direct.conftest import Asking, House, Visitor
from tests.integration.git.depot_world import until
from tests.open_files import few_files


def test_at_the_limit_some_are_turned_away_and_the_rest_goes_on(house: House, anna: Visitor) -> None:
    entrance = house.open()
    place = anna.end()
    inside = Asking(place, f"node-{anna.tag}", anna.password)
    assert inside.ask(("PING",)) == [True]
    with ExitStack() as opened:
        for _ in range(3):
            opened.enter_context(dial(place, 20))
        with few_files(80):
            _leave_the_spare_ones(opened)
            with suppress(OSError):
                dial(place, 5).close()
            until(lambda: "open files" in entrance.short, "it is turned away", told=lambda: entrance.short)
            assert entrance.trouble == "", "the port is open all the same"
            assert inside.ask(("PING",)) == [True]
            os.close(os.dup(0))  # some are left for who asks what is wrong
        opened.close()
        dial(place, 20).close()
        until(lambda: entrance.short == "", "nobody is turned away", told=lambda: entrance.short)
    inside.close()


def _leave_the_spare_ones(opened: ExitStack) -> None:
    """Until the next file that is opened is one that the coordinator keeps in reserve.

    Which numbers are free depends on the tests before, so they are looked at, and not counted.
    """
    taken = [os.dup(0)]
    with suppress(OSError):  # none is left where the tests before hold those in reserve
        while not is_spare(taken[-1]):
            taken.append(os.dup(0))
    os.close(taken.pop())
    for number in taken:
        opened.callback(os.close, number)


def test_the_soft_limit_is_raised_and_never_lowered() -> None:
    ask = (
        "import resource; from pancode.kernel.host.open_files import raise_limit\n"
        "before = {}\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, before)\n"
        "print(raise_limit(), *resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    for before, after in (((64, 900), "900 900 900"), ((300, 300), "300 300 300")):
        done = subprocess.run([sys.executable, "-c", ask.format(before)], capture_output=True, text=True)
        assert done.stdout.strip() == after, done.stderr
