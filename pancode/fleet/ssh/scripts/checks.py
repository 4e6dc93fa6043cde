"""The constant scripts that only report whether a step of bring-up or removal would change anything."""

from __future__ import annotations

from pancode.fleet.ssh.scripts.install import AGENT
from pancode.fleet.ssh.scripts.link import wrap_script

HOME = wrap_script(
    r"""
c=no
for e in "$1/.pancode-node" "$1/.gitignore"; do if [ ! -e "$e" ]; then c=yes; fi; done
for d in bundles key run s log journal mirrors work cache; do
  if [ ! -d "$1/$d" ]; then c=yes; fi
done
say changed $c"""
)
"""Reports what MAKE_HOME would change. Same arguments."""

POINT = wrap_script(
    r"""if [ "$(readlink "$1/current")" = "bundles/$2" ]; then say changed no; else say changed yes; fi"""
)

FOLDERS = wrap_script(r"""if [ -d "$1" ]; then say changed no; else say changed yes; fi""")

STARTED = wrap_script(
    AGENT
    + r"""
case $2 in
  *.service)
    if systemctl --user is-active --quiet "$2" && [ "$(systemctl --user is-enabled "$2")" = enabled ]; then
      say changed no
    else say changed yes; fi;;
  *) if held "$1"; then say changed no; else say changed yes; fi;;
esac"""
)
"""Reports what START_UNIT, or START_DETACHED with `keep`, would change. Same arguments."""

FLEET_KEY = wrap_script(
    r"""
c=yes
if grep -qxF -- "$1" "$HOME/.ssh/authorized_keys" 2>/dev/null; then c=no; fi
say changed $c"""
)

AT_WORK = wrap_script(
    AGENT
    + r"""
if held "$1"; then say changed yes; else say changed no; fi"""
)
"""Reports whether STOP_ALL would stop the node agent. Same arguments."""
