"""The constant scripts that remove everything of PanCode from a node and verify that nothing is left."""

from __future__ import annotations

from pancode.fleet.ssh.scripts.install import AGENT
from pancode.fleet.ssh.scripts.link import wrap_script

_OURS = r"""
state_of() { sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f1; }
tty_of() { sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f5; }
ours() { # a node home that we made, and nothing else, may be taken away
  case $1 in /*/*) ;; *) echo "$1 is not a node home" >&2; return 1;; esac
  if [ -L "$1" ] || [ ! -O "$1" ]; then echo "$1 is not ours" >&2; return 1; fi
  if [ "$(cat "$1/.pancode-node" 2>/dev/null)" != "$2" ]; then
    echo "$1 is not the node home of fleet $2" >&2; return 1
  fi
}
below() { # whether it is one of this script's own children
  b=$1
  while [ "${b:-1}" -gt 1 ]; do if [ "$b" = $$ ]; then return 0; fi; b=$(above "$b"); done
  [ ! -d "/proc/$1" ]
}
scopes() { # of this fleet's attempts, whatever runs in them
  timeout 20 systemctl --user list-units --plain --no-legend "pancode-$1:*.scope" 2>/dev/null | cut -d' ' -f1
}
mine() { # pids of this user whose command, folder or environment is of this home, whoever started them
  # not this script's own line, and not what a user at a terminal does there
  r=$(cd "$1" 2>/dev/null && pwd -P); r=${r:-$1}
  skip=" $$ "; p=$$
  while [ "${p:-1}" -gt 1 ]; do p=$(above "$p"); skip="$skip$p "; done
  {
    grep -lF -- "$1/" /proc/[0-9]*/cmdline /proc/[0-9]*/environ
    find /proc/[0-9]*/cwd -maxdepth 0 -printf '%p %l/\n' | grep -F -- " $r/"
  } 2>/dev/null | cut -d/ -f3 | sort -un | while read -r q; do
    case $skip in *" $q "*) continue;; esac
    if [ ! -O "/proc/$q" ] || below "$q" || [ "$(state_of "$q")" = Z ]; then continue; fi
    if [ "$(tty_of "$q")" = 0 ] || grep -qF PANCODE_ "/proc/$q/environ" 2>/dev/null; then echo "$q"; fi
  done
}
"""

STOP_ALL = wrap_script(
    AGENT
    + _OURS
    + r"""
if [ ! -e "$1" ]; then say changed no; return 0; fi
ours "$1" "$2" || exit 72
if command -v systemctl >/dev/null 2>&1; then
  timeout 30 systemctl --user disable --now "$3" >/dev/null 2>&1
fi
halt "$1" || exit 76
n=0; c=no
while :; do
  left=$(mine "$1"); if [ -z "$left" ]; then break; fi
  c=yes
  if [ $n -ge 100 ]; then echo "these do not end: $(echo $left)" >&2; exit 76; fi
  for q in $left; do
    if [ $n -lt 30 ]; then kill -TERM "$q" 2>/dev/null; else kill -KILL "$q" 2>/dev/null; fi
  done
  sleep 0.1; n=$((n+1))
done
# What left its tree and its environment is still in the control group where it began.
if command -v systemctl >/dev/null 2>&1; then
  timeout 20 systemctl --user kill --signal=KILL "$3" >/dev/null 2>&1
fi
n=0
while [ -n "$(scopes "$2")" ] && [ $n -lt 50 ]; do
  c=yes; timeout 20 systemctl --user kill --signal=KILL "pancode-$2:*.scope" 2>/dev/null
  sleep 0.1; n=$((n+1))
done
say changed $c"""
)
"""Ends all processes of the fleet. $1 node home, $2 fleet, $3 unit, $4 sockets' folder."""

REMOVE_ALL = wrap_script(
    _OURS
    + r"""
c=no
u="$HOME/.config/systemd/user/$3"
if [ -e "$u" ]; then
  rm -f "$u" "$HOME/.config/systemd/user/default.target.wants/$3" || exit 71
  timeout 20 systemctl --user daemon-reload >/dev/null 2>&1; c=yes
  # One that was ended by force is remembered as failed, without a file, until somebody says that it is known.
  timeout 20 systemctl --user reset-failed "$3" >/dev/null 2>&1
  d="$HOME/.config" # empty folders only
  rmdir "$d/systemd/user/default.target.wants" "$d/systemd/user" "$d/systemd" "$d" 2>/dev/null
fi
f="$HOME/.ssh/authorized_keys"; if [ -L "$f" ]; then f=$(readlink -f "$f"); fi
if [ -f "$f" ] && grep -qE -- " $5\$" "$f"; then
  t="$f.pancode.$$"
  grep -vE -- " $5\$" "$f" > "$t"; chmod --reference="$f" "$t" && mv -f "$t" "$f" || exit 71
  c=yes
fi
if [ -e "$1" ]; then
  ours "$1" "$2" || exit 72
  if [ -e "$1/.linger" ]; then timeout 5 loginctl --no-ask-password disable-linger 2>/dev/null; fi
  case $4 in "$1"/*) ;; /tmp/pancode-*) if [ -O "$4" ] && [ ! -L "$4" ]; then rm -rf "$4"; fi;; esac
  chmod -R u+rwX "$1" 2>/dev/null
  for e in secrets prices gateway endpoints sandbox; do # files that the owner writes by hand
    if [ -e "$1/$e.json" ]; then say owners "$1/$e.json"; fi
  done
  for e in "$1"/* "$1"/.[!.]*; do if [ "$e" != "$1/.pancode-node" ]; then rm -rf "$e"; fi; done
  if [ -n "$(ls -A "$1" | grep -vxF .pancode-node)" ]; then
    echo "cannot remove: $(find "$1" -mindepth 1 | head -n 5)" >&2; exit 78
  fi
  rm -rf "$1" || exit 78
  case $1 in "$HOME/.pancode-node/"*) rmdir "$HOME/.pancode-node" 2>/dev/null;; esac
  c=yes
fi
# One of a probe that was cut off; none lasts a minute.
find "$HOME" -maxdepth 1 -name '.pancode-probe.*' -user "$(id -u)" -mmin +1 -exec rm -rf {} +
say changed $c"""
)
"""Removes all, the home's mark last. $1 node home, $2 fleet, $3 unit, $4 sockets' folder, $5 key's marker."""

LEFTOVERS = wrap_script(
    _OURS
    + r"""
if [ -e "$1" ]; then say left "file $1"; fi
u="$HOME/.config/systemd/user/$3"
for e in "$u" "$HOME/.config/systemd/user/default.target.wants/$3"; do
  if [ -e "$e" ] || [ -L "$e" ]; then say left "unit $e"; fi
done
if grep -qE -- " $5\$" "$HOME/.ssh/authorized_keys" 2>/dev/null; then
  say left "key $HOME/.ssh/authorized_keys"
fi
if [ -e "$4" ]; then say left "sockets $4"; fi
for e in "$HOME"/.pancode-probe.*; do if [ -e "$e" ]; then say left "file $e"; fi; done
for q in $(mine "$1"); do
  say left "process $q $(tr '\0' ' ' < "/proc/$q/cmdline" 2>/dev/null | cut -c 1-200)"
done
for s in $(scopes "$2"); do say left "scope $s"; done
say looked yes"""
)
"""Prints `left=KIND WHAT` for each thing of the fleet that still exists. Arguments as for REMOVE_ALL."""
