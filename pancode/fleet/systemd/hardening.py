"""The hardening of our systemd units, and the reason for each restriction that is left out (pure).

The reasons are data, so that the documents and a test hold them to what the units really say.
"""

from __future__ import annotations

_BY_SECCOMP = "needs NoNewPrivileges where the manager is not root"

COORDINATOR = {
    "NoNewPrivileges": "yes",
    "LockPersonality": "yes",
    "RestrictRealtime": "yes",
    "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6 AF_NETLINK",
    "SystemCallArchitectures": "native",
    "SystemCallFilter": "~@clock @cpu-emulation @module @obsolete @raw-io @reboot @swap",
    "SystemCallErrorNumber": "EPERM",
}
"""The settings of every coordinator; a user's manager can apply them without any right of its own."""

SYSTEM_COORDINATOR = {
    "CapabilityBoundingSet": "",
    "AmbientCapabilities": "",
    "ProtectSystem": "full",
    "PrivateDevices": "yes",
    "ProtectClock": "yes",
    "ProtectControlGroups": "yes",
    "ProtectHostname": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelTunables": "yes",
    "KeyringMode": "private",
}
"""More settings for a coordinator that the system's manager starts."""

SYSTEM_NODE = {
    "CapabilityBoundingSet": (
        "~CAP_SYS_MODULE CAP_SYS_TIME CAP_SYS_BOOT CAP_SYS_RAWIO CAP_SYSLOG CAP_MAC_ADMIN CAP_MAC_OVERRIDE "
        "CAP_AUDIT_CONTROL CAP_WAKE_ALARM CAP_BLOCK_SUSPEND CAP_LEASE CAP_LINUX_IMMUTABLE CAP_SYS_PACCT"
    ),
    "KeyringMode": "private",
}
"""The settings of a node agent that the system's manager starts; a user's manager can apply none of them."""

NOT_COORDINATOR = {
    "ProtectHome": "projects, SSH keys and the fleet's own home are there, and landing writes to projects",
    "ProtectSystem": "not `strict`: a project may be anywhere, and landing writes to it",
    "PrivateTmp": "your SSH agent's socket is in /tmp, and projects may be",
    "PrivateNetwork": "the coordinator reaches machines over SSH",
    "IPAddressDeny": "which machines there are is known to the fleet, not to the unit",
    "PrivateUsers": "it looks at the processes that call it, to tell a run from a person",
    "ProtectProc": "as PrivateUsers",
    "ProcSubset": "as PrivateUsers",
    "MemoryDenyWriteExecute": "a landing's gates run the project's own tests, such as with Node.js",
    "RestrictNamespaces": "such gates may bring sandboxes of their own",
    "RestrictSUIDSGID": "git sets that bit on the folders of a repository that a group shares",
    "SystemCallFilter": "no shorter list: as MemoryDenyWriteExecute and RestrictNamespaces",
    "RestrictAddressFamilies": "what is left: SSH, Redis and PostgreSQL, unix sockets, asking for routes",
    "RootDirectory": "it uses the git and the Python of the machine",
    "DeviceAllow": "only the devices that PrivateDevices leaves",
    "PrivateMounts": "those above make a namespace of mounts already",
    "User": "it runs as you: your projects and keys are its work",
    "RemoveIPC": "you may have shared memory beside it",
}
"""Restrictions under which a coordinator could not work, each with the reason."""

NOT_NODE = {
    "NoNewPrivileges": "a set-uid bubblewrap, newuidmap, and sudo in runs on the machine itself",
    "SystemCallFilter": _BY_SECCOMP,
    "SystemCallArchitectures": _BY_SECCOMP,
    "LockPersonality": _BY_SECCOMP,
    "RestrictRealtime": _BY_SECCOMP,
    "RestrictSUIDSGID": _BY_SECCOMP,
    "RestrictAddressFamilies": _BY_SECCOMP,
    "RestrictNamespaces": "bubblewrap makes namespaces for each run",
    "MemoryDenyWriteExecute": "agents are JavaScript programs",
    "ProtectKernelTunables": "where /proc is covered in part, no sandbox gets a /proc of its own",
    "ProtectKernelLogs": "as ProtectKernelTunables",
    "ProtectKernelModules": _BY_SECCOMP,
    "ProtectControlGroups": "runs on the machine itself may use containers",
    "ProtectClock": _BY_SECCOMP,
    "ProtectHostname": _BY_SECCOMP,
    "ProtectProc": "it finds an attempt's leftovers among all processes",
    "ProcSubset": "as ProtectProc",
    "ProtectSystem": "runs on the machine itself may be there to change it",
    "ProtectHome": "its own home and the programs' logins are there",
    "PrivateTmp": "its sockets are there, and files that runs on this machine leave",
    "PrivateDevices": "a run may need the machine's GPU or /dev/kvm",
    "DeviceAllow": "as PrivateDevices",
    "PrivateMounts": "runs on the machine itself may mount",
    "CapabilityBoundingSet": "what is left: for a set-uid bubblewrap, sudo, and the machine's packages",
    "User": "it runs as its login does",
    "RemoveIPC": "its login may have shared memory beside it, its runs too",
    "PrivateNetwork": "agents ask models; behind the sandbox the gateway decides which hosts they reach",
    "PrivateUsers": "as NoNewPrivileges",
    "IPAddressDeny": "as PrivateNetwork",
    "RootDirectory": "it uses the programs of the machine",
}
"""Settings that would break a node agent: its child processes inherit them, sandboxes included."""


NOT_BY_A_USER = (
    *("CapabilityBoundingSet", "KeyringMode", "DeviceAllow", "PrivateDevices", "PrivateMounts"),
    *("ProtectClock", "ProtectControlGroups", "ProtectHostname", "ProtectKernelLogs", "ProtectKernelModules"),
    *("ProtectKernelTunables", "ProtectSystem"),
)
"""Settings that a user's manager cannot apply, or only where any user may make namespaces."""


def lines(*settings: dict[str, str]) -> str:
    """The settings as lines of a unit."""
    return "".join(f"{name}={value}\n" for one in settings for name, value in one.items())
