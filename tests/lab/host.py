"""The inside of one host: its file system, its PID 1, its faults (all as shell text)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from shlex import quote as q

from . import systemd
from .system import read, which, write

ETC = (
    "alternatives bash.bashrc ca-certificates debian_version default environment host.conf java "
    "ld.so.cache ld.so.conf ld.so.conf.d localtime locale.alias login.defs mime.types "
    "nsswitch.conf os-release pki profile profile.d protocols python3 rpc services shells skel "
    "ssl terminfo timezone xattr.conf"
)
FAULTS = (
    "no-python",
    "no-venv",
    "plain-shell",
    "noisy-shell",
    "readonly-home",
    "noexec-home",
    "disk-full",
)
BASE_CONFIG = (
    "HostKey /etc/ssh/ssh_host_ed25519_key",
    "PidFile none",
    "UsePAM no",
    "UseDNS no",
    "PermitRootLogin no",
    "PasswordAuthentication no",
    "KbdInteractiveAuthentication no",
    "PrintMotd no",
    "PrintLastLog no",
    "LogLevel VERBOSE",
    "MaxStartups 100:30:200",
    "Subsystem sftp internal-sftp",
)


@dataclass(frozen=True, slots=True)
class Account:
    """The one user of a host; the same name on all hosts of a lab. `systemd`: it is PID 1 there."""

    user: str
    uid: int
    shell: str
    systemd: bool = False

    @property
    def home(self) -> str:
        return f"/home/{self.user}"


def sshd_config(user: str, extra: Sequence[str] = (), pam: bool = False) -> str:
    """The settings; each line of `extra` replaces that with the same keyword. `pam`: logins are sessions."""
    extra = [*extra, "UsePAM yes"] if pam else extra
    given = {x.split()[0].lower() for x in extra}
    base = [*BASE_CONFIG, "AllowUsers " + user]
    return "\n".join([*extra, *(x for x in base if x.split()[0].lower() not in given)]) + "\n"


def write_etc(d: str, name: str, who: Account, others: Sequence[tuple[str, str]]) -> None:
    """The files of /etc that differ from the machine's; `others` are (address, name) of the peers."""
    os.makedirs(d, exist_ok=True)
    for f, line in (
        ("passwd", f"{who.user}:*:{who.uid}:{who.uid}::{who.home}:{who.shell}"),
        ("group", f"{who.user}:x:{who.uid}:"),
    ):
        keep = [x for x in read("/etc/" + f).splitlines() if x.split(":")[0] != who.user]
        write(f"{d}/{f}", "\n".join([*keep, line]) + "\n")
    write(f"{d}/hostname", name + "\n")
    write(f"{d}/resolv.conf", "# offline\n")
    write(f"{d}/hosts", f"127.0.0.1 localhost {name}\n" + "".join(f"{a} {n}\n" for a, n in others))


def init_script(d: str, name: str, who: Account, share: Sequence[str], faults: Sequence[str]) -> str:
    """PID 1.  Builds a private root that shows the machine's programs and nothing else of it."""
    loop = [
        "while :; do                                # keep sshd running unless /run/no-sshd exists",
        "  if [ -e /run/no-sshd ]; then sleep 0.05; continue; fi",
        f"  {which('sshd')} -D -e -f /etc/ssh/sshd_config & echo $! > /run/sshd.pid; wait $!; sleep 0.05",
        "done",
    ]
    lines = [
        *_root(d, who),
        *(systemd.root_lines(d, who.user) if who.systemd else ()),
        *(f"mkdir -p .{q(s)}; mount --rbind {q(s)} .{q(s)}; mount -o remount,bind,ro .{q(s)}" for s in share),
        "pivot_root . old; cd /; umount -l /old; rmdir /old",
        f"echo {q(name)} > /proc/sys/kernel/hostname; ip link set lo up || :",
        "set +e",
        *(line for f in faults for line in fault_lines(f, who.home, on=True)),
        *(systemd.start_lines(loop) if who.systemd else loop),
    ]
    return "\n".join(lines) + "\n"


def _root(d: str, who: Account) -> list[str]:
    """The lines that build the private root."""
    r = f"{d}/root"
    return [
        "set -eu; umask 022",
        f"read -r pid rest < /proc/self/stat; echo $pid > {q(d)}/pid",  # as the machine counts
        "mount --make-rprivate /",
        f"mount -t tmpfs -o mode=755,size=64m tmpfs {q(r)}; cd {q(r)}",
        "for p in bin sbin usr lib lib32 lib64 libx32; do",
        "  if [ -L /$p ]; then cp -P /$p $p; elif [ -d /$p ]; then",
        "    mkdir $p; mount --rbind /$p $p; mount -o remount,bind,ro $p; fi; done",
        "mkdir -p dev proc sys run/sshd run/lock etc tmp var/tmp var/log var/lib root opt srv mnt old"
        f" .{who.home}",
        "mount --rbind /dev dev; mount -t proc -o nosuid,nodev,noexec proc proc",
        "mount -t sysfs -o ro,nosuid,nodev,noexec sysfs sys",
        "mount -t tmpfs -o mode=1777 tmpfs dev/shm",
        "mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts",
        "mount --bind dev/pts/ptmx dev/ptmx",
        "for t in tmp var/tmp; do mount -t tmpfs -o mode=1777 tmpfs $t; done",
        f"mkdir -p -m 700 run/user/{who.uid}; chown {who.uid}:{who.uid} run/user/{who.uid}",
        f"for e in {ETC}; do",
        "  if [ -d /etc/$e ] && [ ! -L /etc/$e ]; then mkdir etc/$e; mount --bind /etc/$e etc/$e",
        "  elif [ -e /etc/$e ]; then cp -P /etc/$e etc/; fi; done",
        f"cp -r {q(d)}/etc/* etc/; ln -s /proc/self/mounts etc/mtab",
        f"mkdir etc/ssh; mount --bind {q(d)}/ssh etc/ssh",
        f"mount --bind {q(d)}/disk/home .{who.home}",
    ]


# Really ENOENT: the folders are replaced by links to all programs but Python.
NO_PYTHON = [
    "for d in /usr/bin /usr/local/bin; do m=/run/real$d; mkdir -p $m; mount --bind $d $m",
    "  t=$(mktemp -d /run/tXXXXXX); mount -t tmpfs -o mode=755,size=16m tmpfs $t",
    "  find $m -mindepth 1 -maxdepth 1 ! -name 'py*' ! -name 'uv*' -exec ln -s -t $t {} +",
    "  mount --move $t $d; rmdir $t; done",
]
PYTHON_BACK = ["umount /usr/bin /usr/local/bin; umount -l /run/real/usr/bin /run/real/usr/local/bin"]


def fault_lines(name: str, home: str, on: bool) -> list[str]:
    """Shell lines, run as root in the host, that make or undo a fault."""
    if name == "no-python":
        return NO_PYTHON if on else PYTHON_BACK
    if name == "no-venv":  # Debian without python3-venv
        return [
            "for d in /usr/lib/python3*/ensurepip /usr/local/lib/python3*/ensurepip; do [ -d $d ] &&",
            "  mount -t tmpfs -o size=16k tmpfs $d; done; :" if on else "  umount $d; done; :",
        ]
    if name == "plain-shell":
        old, new = ("/bin/bash", "/bin/sh") if on else ("/bin/sh", "/bin/bash")
        return [f"sed -i 's#\\({home}\\):{old}$#\\1:{new}#' /etc/passwd"]
    if name == "noisy-shell":
        noise = f"echo 'echo Welcome, 3 updates available' >> {home}/.bashrc"
        return [noise if on else f"sed -i /^echo.Welcome/d {home}/.bashrc"]
    if name in ("readonly-home", "noexec-home"):
        flag = {"readonly-home": ("ro", "rw"), "noexec-home": ("noexec", "exec")}[name][not on]
        return [f"mount -o remount,bind,{flag} {home}"]
    return []  # disk-full is made from outside
