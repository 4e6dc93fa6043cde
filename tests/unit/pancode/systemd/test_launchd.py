"""The property list for macOS, as a parser of such lists reads it. launchd itself is not here."""

from __future__ import annotations

import plistlib
from pathlib import Path

from pancode.systemd.launchd import label, property_list


def test_it_says_what_the_unit_of_systemd_says() -> None:
    home = Path("/Users/a b/<&>/.pancode")
    told = plistlib.loads(property_list(home, ("/py", "-m", "pancode"), {"PATH": "/bin", "X": "é <\n>"}))
    assert told["Label"] == label(home) != label(Path("/Users/b"))
    assert told["ProgramArguments"] == ["/py", "-m", "pancode"]
    assert told["EnvironmentVariables"] == {"PATH": "/bin", "X": "é <\n>", "PANCODE_HOME": str(home)}
    assert told["RunAtLoad"] is True and told["KeepAlive"] == {"SuccessfulExit": False}
    assert told["AbandonProcessGroup"] is True, "KillMode=process"
    assert told["Umask"] == 0o077 and told["SoftResourceLimits"] == {"Core": 0}
    assert told["StandardErrorPath"] == f"{home}/run/coordinator.log"
