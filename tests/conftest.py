"""Decides what every test may rely on: a clean environment, a throw-away HOME, and no silent skip in CI."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests import fixes

# A skip whose reason does not start with one of these fails where CI=true: what can run there must run.
ALLOWED_SKIPS = ("not root", "not built yet", "kernel lacks", "no Python 3.1", "the real ")
# A program that no index brings now is no finding: tests/run.py says that its tests are not proven.
SLOW_S = 5.0
REASON_CHARS = 400

# Where tests/run.py wants the outcome of each test; a pytest that a test starts must not write there.
_RESULTS = os.environ.pop("TESTS_RESULTS", None)

_DROPPED = (
    "PANCODE_",
    "GIT_",
    "XDG_",
    "SSH_AUTH_SOCK",
    "SSH_AGENT_PID",
    "REDIS_URL",
    "PGHOST",
    "PGPORT",
    "PGUSER",
    "PGPASSWORD",
    "PYTHONDONTWRITEBYTECODE",
)
# GIT_SSL_CAINFO and the like say how this machine reaches the world; they carry no state of the user;
# a seed is given by hand to the simulation alone.
_KEPT = ("GIT_SSL_", "PANCODE_SIM_")
_CLIENT_SETTINGS = {"PIP_CONFIG_FILE": ".config/pip/pip.conf", "NPM_CONFIG_USERCONFIG": ".npmrc"}


def _clean_environment() -> Path:
    """Drop what could steer a test from outside; give it an empty home (a short path: sockets live in it)."""
    for name in list(os.environ):
        if name.startswith(_DROPPED) and not name.startswith(_KEPT):
            del os.environ[name]
    for variable, place in _CLIENT_SETTINGS.items():
        settings = Path.home() / place
        if settings.is_file():
            os.environ.setdefault(variable, str(settings))
    home = Path(tempfile.mkdtemp(prefix="pct-"))
    os.environ["HOME"] = str(home)
    os.environ.setdefault(
        "TESTS_SHARED", str(home)
    )  # of the process that all workers of this session come from
    os.environ["LC_ALL"] = "C.UTF-8"
    os.environ["TZ"] = "UTC"
    return home


def _usual_signals() -> None:
    """Who starts tests in the background, or under nohup, has Ctrl-C and hang-ups ignored below."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


# At import, not in a fixture: a test module may read the environment when it is collected.
_HOME = _clean_environment()
_usual_signals()
fixes.watch()
# A property holds or not; how long an example takes depends on what else the machine does at that moment.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--time-factor", type=float, default=0.1, help="scales the product's waits in tests (default 0.1)"
    )
    parser.addoption("--scopes", help="a file that names what stays together (tests/together.py): only that")
    parser.addoption("--chosen", action="store_true", help="only what `make test` runs (tests/journeys.py)")
    parser.addoption("--slice", help="only the tests of this slice (tests/slices.py)")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Not a failed test alone runs again: the tests of some files go through one life in order."""
    if config.getoption("chosen"):
        from tests.journeys import chosen

        _keep(config, items, chosen)
    if wanted := config.getoption("slice"):
        from tests.slices import slice_of

        _keep(config, items, lambda nodeid: slice_of(nodeid) == wanted)
    if scopes := config.getoption("scopes"):
        from tests.together import scope_of

        named = Path(scopes).read_text().splitlines()
        _keep(config, items, lambda nodeid: scope_of(nodeid) in named)


def pytest_collection_finish() -> None:
    """Modules and tests stay to the end: the collector of garbage need not look at them again and again."""
    gc.collect()
    gc.freeze()


def _keep(config: pytest.Config, items: list[pytest.Item], wanted: Callable[[str], bool]) -> None:
    config.hook.pytest_deselected(items=[item for item in items if not wanted(item.nodeid)])
    items[:] = [item for item in items if wanted(item.nodeid)]


def pytest_unconfigure() -> None:
    shutil.rmtree(_HOME, ignore_errors=True)


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip into a failure in CI, unless its reason is on the list or it is an expected failure."""
    if os.environ.get("CI") != "true" or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    reason = reason.removeprefix("Skipped: ")
    if not reason.startswith(ALLOWED_SKIPS):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI, and {reason!r} is not an allowed reason: {ALLOWED_SKIPS}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_skip(report)
    if report.when == "call" and report.duration > SLOW_S and item.get_closest_marker("slow") is None:
        report.user_properties.append(("unmarked_slow", f"{report.duration:.1f} s"))
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Say at once, in a line, which test failed and why: a reader of a log that is cut short sees it too."""
    if (terminal := _TERMINAL.get("reporter")) is None:  # a worker: the process that started it does all this
        return
    why = ""
    if report.failed:
        why = getattr(getattr(report.longrepr, "reprcrash", None), "message", str(report.longrepr))
        why = f"({report.when}): {' '.join(why.split())[:REASON_CHARS]}"
        terminal.write_line("")
        terminal.write_line(f"FAILED {report.nodeid} {why}")
    elif report.skipped and isinstance(report.longrepr, tuple):
        why = " ".join(report.longrepr[2].removeprefix("Skipped: ").split())[:REASON_CHARS]
    outcome = report.outcome if report.when == "call" or not report.passed else "took"
    _note(outcome, report.nodeid, report.duration, why)


def pytest_runtest_logstart(nodeid: str) -> None:
    if _TERMINAL:
        _note("began", nodeid)


def pytest_runtest_logfinish(nodeid: str) -> None:
    if _TERMINAL:
        _note("ended", nodeid)


def _note(outcome: str, nodeid: str, seconds: float = 0, why: str = "") -> None:
    if _RESULTS:
        with open(_RESULTS, "a", encoding="utf-8") as results:
            results.write(f"{outcome}\t{nodeid}\t{seconds:.2f}\t{why}\n")


_TERMINAL: dict[str, pytest.TerminalReporter] = {}


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        _TERMINAL["reporter"] = reporter


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the tests that are slow without saying so; a note, since a busy node may be the cause."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "unmarked_slow":
                terminalreporter.write_line(f"slow, not marked so: {report.nodeid} took {value}")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Files are handed to the workers as xdist does, but the longest of them in parts."""
    if config.getoption("dist") != "loadfile":
        return None
    from tests.together import scheduler_of, scope_of, scope_of_chosen

    return scheduler_of(config, log, scope_of_chosen if config.getoption("chosen") else scope_of)


@pytest.fixture(autouse=True)
def same_process() -> Generator[None, None, None]:
    """What all tests of a worker share is as it was: a mask that one leaves breaks others, far away."""
    before = _shared()
    yield
    after = _shared()
    if after != before:
        os.umask(int(before[0], 8))
        os.chdir(before[1])
        pytest.fail(f"the test leaves umask and folder as {after}, they were {before}")


@pytest.fixture(autouse=True)
def commands_that_are_there() -> Generator[None, None, None]:
    """Each command that the fix of an error prints is one that PanCode has, with these options."""
    yield
    while fixes.MET:
        wrong = list(fixes.wrong_in(fixes.MET.pop()))
        assert not wrong, wrong


def _shared() -> tuple[str, str]:
    """Read, never set: other threads make files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith("Umask:")), os.getcwd()


@pytest.fixture(scope="session")
def postgres() -> Generator[Any, None, None]:
    """A PostgreSQL server of this session's, with a database for whoever asks; only where a test wants it."""
    from tests.contract.postgres_server import running

    with running() as server:
        yield server


@pytest.fixture(scope="session")
def time_factor(request: pytest.FixtureRequest) -> float:
    """What the product's waits and limits are multiplied by in this session; 1.0 means as shipped."""
    factor: float = request.config.getoption("--time-factor")
    return factor
