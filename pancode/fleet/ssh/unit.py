"""The text and path of the systemd unit that keeps a node agent running (pure)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unit:
    """The systemd unit of one fleet on one node."""

    fleet: str
    node_home: str
    argv: tuple[str, ...]
    user: str | None = None
    """The user whose node the system manager's unit runs; None: a unit of the user's own manager."""
    hardened: str = ""

    @property
    def name(self) -> str:
        return f"pancode-node-{self.fleet}.service"

    def path(self, home: str) -> str:
        """Return the unit's path under the login user's home."""
        return f"{home}/.config/systemd/user/{self.name}"

    def text(self) -> str:
        """Return the unit's text. KillMode=process leaves attempts running when the agent is stopped."""
        return UNIT.format(
            fleet=escape_percent(self.fleet),
            command=" ".join(quote_argument(word) for word in self.argv),
            folder=escape_percent(self.node_home),
            user=f"User={escape_percent(self.user)}\n" if self.user is not None else "",
            hardened=self.hardened,
            target="default.target" if self.user is None else "multi-user.target",
        )


# WatchdogSec is longer than one cleanup of old runs takes. Attempts continue without the agent.
UNIT = """\
[Unit]
Description=PanCode node agent of fleet {fleet}
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
WatchdogSec=300
{user}ExecStart={command}
WorkingDirectory={folder}
KillMode=process
KillSignal=SIGTERM
TimeoutStopSec=20
Restart=always
RestartSec=2
# 73: another one holds this home; 78: settings that cannot be used. Starting again would not help.
RestartPreventExitStatus=73 78
LimitCORE=0:infinity
UMask=0077
OOMPolicy=continue
{hardened}
[Install]
WantedBy={target}
"""


def escape_percent(text: str) -> str:
    """Return the text with `%` escaped, which systemd would otherwise expand as a specifier."""
    return text.replace("%", "%%")


def quote_argument(word: str) -> str:
    """Return the word as one argument of ExecStart: without specifiers, variables or splitting."""
    text = escape_percent(word).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{text}"'
