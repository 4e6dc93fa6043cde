"""A host whose PID 1 is a live systemd, with D-Bus, logind and user managers: its files and first lines.

It touches nothing of the machine: own control group, own /run, /proc/sys read-only, no kernel log.
"""

from __future__ import annotations

import os
from shlex import quote as q

from .system import find, sh, which, write

PROGRAMS = {"systemctl": "systemd", "loginctl": "systemd", "dbus-daemon": "dbus", "setpriv": "util-linux"}
PAM = ("/usr/share/pam-configs/systemd", "libpam-systemd")
INIT = "/lib/systemd/systemd"
# Only what is named here is started, whatever the machine has in its own folders.
EMPTIED = ("sysinit", "sockets", "timers", "local-fs", "multi-user", "graphical")
SSHD_LOOP = "/etc/lab-sshd.sh"
UNITS = {
    "lab.target": """\
[Unit]
Requires=dbus.socket systemd-logind.service lab-sshd.service
After=dbus.socket systemd-logind.service lab-sshd.service
""",
    # As Debian's ssh.service: sessions outlive the listener.
    "lab-sshd.service": f"""\
[Unit]
After=dbus.socket systemd-logind.service
[Service]
ExecStart=/bin/sh {SSHD_LOOP}
KillMode=process
StandardOutput=append:/dev/console
StandardError=append:/dev/console
""",
}
STACK = "account required pam_unix.so\nsession required pam_unix.so\nsession optional pam_systemd.so\n"
_REMOVE = """
mount -t cgroup2 none /mnt || exit 0
for g in /mnt/"$1"*; do if [ -d "$g" ]; then find "$g" -depth -type d -exec rmdir {} + 2>/dev/null; fi; done
"""
_TRIAL = 'mount -t cgroup2 none /mnt && mkdir "/mnt/pancode-lab-trial$$" && rmdir "/mnt/pancode-lab-trial$$"'


def lacks() -> list[str]:
    """What this machine lacks for such a host, beyond a plain one's needs."""
    out = [f"{p} (package {package})" for p, package in PROGRAMS.items() if not find(p)]
    out += [] if os.path.exists(PAM[0]) else [f"pam_systemd (package {PAM[1]})"]
    return out or _kernel_lacks()


def _kernel_lacks() -> list[str]:
    trial = sh("unshare", "-m", "sh", "-c", _TRIAL, check=False)
    return [f"cgroup v2: {trial.stderr.strip()[-200:]}"] if trial.returncode else []


def why_not() -> str:
    """Why a test cannot have such a host, empty when it can; what no package brings is the kernel's."""
    found = lacks()
    who = "kernel" if any(one.startswith("cgroup v2") for one in found) else "this machine"
    return f"{who} lacks " + "; ".join(found) if found else ""


def write_etc(d: str, name: str) -> None:
    """Units, PAM stacks and the machine's id, as files of the host's /etc."""
    units, pam = f"{d}/systemd/system", f"{d}/pam.d"
    for folder in (units, pam):
        os.makedirs(folder, exist_ok=True)
    for unit, text in UNITS.items():
        write(f"{units}/{unit}", text)
    for stack in ("sshd", "systemd-user", "other"):
        write(f"{pam}/{stack}", STACK)
    write(f"{d}/machine-id", name.encode().hex().rjust(32, "0")[-32:] + "\n")


def boot_script(d: str, group: str) -> str:
    """Enters a control group of the host's own, then runs `init.sh` in a namespace rooted there."""
    at = f"{d}/root"
    return "\n".join(
        [
            "set -eu; mount --make-rprivate /",
            f"mount -t cgroup2 none {q(at)}; g={q(at)}/{q(group)}; mkdir -p $g",
            "find $g -mindepth 1 -depth -type d -exec rmdir {} +",  # of an earlier boot
            "echo $$ > $g/cgroup.procs",
            f"umount {q(at)}; exec unshare -C sh {q(d)}/init.sh\n",
        ]
    )


def root_lines(d: str, user: str) -> list[str]:
    """More lines that build the private root, run in it before it becomes the root."""
    return [
        "mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 sys/fs/cgroup",
        "mount -t tmpfs -o mode=755,size=64m tmpfs run; mkdir run/sshd run/lock",
        f"mount --bind {q(d)}/boot.log dev/console; mount --bind dev/null dev/kmsg",
        f"for t in {' '.join(EMPTIED)}; do w=usr/lib/systemd/system/$t.target.wants",
        "  if [ -d $w ]; then mount -t tmpfs -o ro,size=4k tmpfs $w; fi; done",
        "ln -s /dev/null etc/systemd/system/modprobe@.service",
        f"mkdir -p var/lib/systemd/linger; : > var/lib/systemd/linger/{q(user)}",
    ]


def start_lines(loop: list[str]) -> list[str]:
    """The last lines of the host's first program, which becomes systemd; `loop` keeps its sshd running."""
    return [
        f"cat > {SSHD_LOOP} <<'END'",
        *loop,
        "END",
        "mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys",
        f"exec env -i container=lab PATH=$PATH {which('setpriv')} --bounding-set -sys_module,-sys_time"
        f" {INIT} --unit=lab.target --log-target=console --log-level=notice --show-status=false",
    ]


def remove_groups(prefix: str) -> None:
    """Take away the control groups of a lab's hosts, once their processes are gone."""
    sh("unshare", "-m", "sh", "-c", _REMOVE, "sh", prefix, check=False)
