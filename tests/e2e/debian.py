"""Makes a host of the lab a machine to install programs on: its own /usr, and Debian's packages at hand.

Its packages are those that this machine has, packed again by dpkg-deb: apt needs no network to install them.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from pathlib import Path

from tests.lab import Lab

INFO = Path("/var/lib/dpkg/info")
SCRIPTS = ("preinst", "postinst", "prerm", "postrm", "conffiles", "triggers")
SHARED = "/var/lib/dpkg"
"""What a lab has to share with its hosts for this (`Spec(share=...)`)."""
OWN = """
set -e
mkdir -p /mnt/own; mount -t tmpfs -o size=600m,mode=755 tmpfs /mnt/own
of_the_machine=$(awk '$5 ~ "^/etc/" && $5 !~ "^/etc/ssh" { print $5 }' /proc/self/mountinfo)
for d in /usr /var/lib/dpkg $of_the_machine; do
  mkdir -p /mnt/own$d/up /mnt/own$d/work
  mount -t overlay -o lowerdir=$d,upperdir=/mnt/own$d/up,workdir=/mnt/own$d/work overlay $d
done
for d in apt.conf.d preferences.d trusted.gpg.d; do mkdir -p /etc/apt/$d; done
mkdir -p /var/lib/apt /var/cache/apt /var/log/apt /etc/dpkg /etc/init.d /etc/logrotate.d /var/backups
echo 'deb [trusted=yes] file:/home/ops/debs ./' > /etc/apt/sources.list
printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d
apt-get -qq update
"""
"""policy-rc.d: a package's own instance is not started; on this machine another one may have its port."""


def installable(lab: Lab, k: int, *packages: str) -> None:
    """Host k lacks these packages now, and apt has them to install."""
    place = Path(lab.path(k, "disk"), "home", "debs")
    place.mkdir()
    place.joinpath("Packages").write_text("\n".join(_packed(name, place) for name in packages))
    # Nothing is taken away before all that the machine lends it is the host's own.
    gone = f"dpkg --purge --force-depends {' '.join(packages)}"
    done = lab.run(k, OWN + gone)
    assert done.returncode == 0, done.stdout + done.stderr


def _packed(name: str, place: Path) -> str:
    """The package's entry in the list of a repository."""
    tree = place / name
    for path in map(Path, _said("dpkg", "-L", name).splitlines()):
        if path.is_dir():
            continue  # /lib among them, which leads to /usr/lib here
        to = tree / (path.parent.resolve() / path.name).relative_to("/")
        to.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() or path.is_symlink():
            shutil.copy2(path, to, follow_symlinks=False)
    fields = re.sub(r"(?m)^(Status|Conffiles):.*\n( .*\n)*", "", _said("dpkg", "-s", name))
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(fields)
    for script in SCRIPTS:
        if (INFO / f"{name}.{script}").exists():
            shutil.copy(INFO / f"{name}.{script}", tree / "DEBIAN" / script)
    deb = place / f"{name}.deb"
    _said("dpkg-deb", "-Znone", "--root-owner-group", "--build", str(tree), str(deb))
    shutil.rmtree(tree)
    digest = hashlib.sha256(deb.read_bytes()).hexdigest()
    return f"{fields}Filename: ./{deb.name}\nSize: {deb.stat().st_size}\nSHA256: {digest}\n"


def _said(*argv: str) -> str:
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout
