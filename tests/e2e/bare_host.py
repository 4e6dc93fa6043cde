"""A host as its owner has it before Ansible comes: a live systemd, sudo, and packages to install."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.debian import SHARED, installable
from tests.integration.packaging.wheelhouse import wheelhouse
from tests.lab import Lab, missing, own_name, reap, systemd
from tests.lab.lab import Spec

PYTHON = () if sys.base_prefix == "/usr" else (sys.base_prefix,)
"""The host's own may be older, and want libraries that are not in the lock of this one."""
ROOM = """
mkdir /mnt/h; mount -t tmpfs -o size=1g,mode=755 tmpfs /mnt/h; cd /home
for d in *; do mkdir "/mnt/h/$d"; mount --rbind "$d" "/mnt/h/$d"; done; mount --rbind /mnt/h /home"""
"""Homes of new logins have room; what is there already, or shared by way of /home, stays."""
SSH_SERVICE = """
printf '[Service]\nExecReload=/bin/sh -c "kill -HUP $(cat /run/sshd.pid)"\n' > /tmp/reload
cd /etc/systemd/system; mkdir lab-sshd.service.d; mv /tmp/reload lab-sshd.service.d/reload.conf
ln -s lab-sshd.service ssh.service; systemctl daemon-reload"""
"""The lab's listener by the name of Debian's."""
SUDO = r"""
mkdir -p /etc/pam.d
for s in auth account session; do echo "$s required pam_permit.so"; done > /etc/pam.d/sudo
printf 'root ALL=(ALL) ALL\nops ALL=(ALL) NOPASSWD: ALL\n' > /etc/sudoers; chmod 440 /etc/sudoers
echo 'root:*:19000:0:99999:7:::' > /etc/shadow; chmod 600 /etc/shadow  # without it root is locked"""


@contextmanager
def bare_host(letter: str, *packages: str) -> Iterator[Lab]:
    """It lacks these packages, and the user and folders of Redis."""
    if lacks := "; ".join(missing()) or systemd.why_not():
        pytest.skip(lacks)
    reap()
    spec = Spec(home_mb=1536, systemd=True, share=(SHARED, str(wheelhouse()), *PYTHON))
    with Lab(own_name(letter), owned=True).up(1, spec, replace=True) as lab:
        assert lab.run(1, f"set -e; {SUDO}\n{ROOM}").returncode == 0
        installable(lab, 1, "redis-server", "redis-tools", *packages)
        assert lab.run(1, SSH_SERVICE).returncode == 0
        lab.run(1, "userdel redis; groupdel redis; rm -rf /var/lib/redis /etc/redis")
        yield lab


def inside(lab: Lab, script: str) -> str:
    return lab.run(1, script).stdout.strip()
