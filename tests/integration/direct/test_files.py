"""What becomes of direct links where the coordinator has few files left, and how it comes to have many."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack, suppress

from node_agent.link.direct import dial
from tests.integration.direct.conftest import Asking, House, Visitor
from tests.integration.git.depot_world import until
from tests.open_files import few_files


def test_at_the_limit_some_are_turned_away_and_the_rest_goes_on(house: House, anna: Visitor) -> None:
    entrance = house.open()
    place = anna.end()
    inside = Asking(place, f"node-{anna.tag}", anna.password)
    assert inside.ask(("PING",)) == [True]
    with ExitStack() as opened:
        with few_files(80):
            for _ in range(80):
                with suppress(OSError):
                    opened.enter_context(dial(place, 5))
                if entrance.short:
                    break
            until(lambda: "files open" in entrance.short)
            assert entrance.trouble == "", "the port is open all the same"
            assert inside.ask(("PING",)) == [True]
            os.close(os.dup(0))  # some are left for who asks what is wrong
        opened.close()
        dial(place, 20).close()
        until(lambda: entrance.short == "")
    inside.close()


def test_the_soft_limit_is_raised_and_never_lowered() -> None:
    ask = (
        "import resource; from pancode.host.open_files import raise_limit\n"
        "before = {}\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, before)\n"
        "print(raise_limit(), *resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    for before, after in (((64, 900), "900 900 900"), ((300, 300), "300 300 300")):
        done = subprocess.run([sys.executable, "-c", ask.format(before)], capture_output=True, text=True)
        assert done.stdout.strip() == after, done.stderr
