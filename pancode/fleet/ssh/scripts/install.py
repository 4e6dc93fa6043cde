"""The constant scripts of bring-up: each is idempotent, and reports whether it changed anything."""

from __future__ import annotations

from pancode.fleet.ssh.scripts.link import wrap_script

AGENT = r"""
# Looked at together with whoever else looks: only an agent has it for itself.
held() { [ -e "$1/run/agent.lock" ] && ! flock -sn "$1/run/agent.lock" true 2>/dev/null; }
named() { # the pid in a file of this home, if that process' command line names this home
  p=$(sed -n '1s/^\([0-9]*\).*/\1/p' "$1/run/$2" 2>/dev/null)
  if [ -n "$p" ] && tr '\0' '\n' < "/proc/$p/cmdline" 2>/dev/null | grep -qxF -- "$1"; then echo "$p"; fi
}
agent() { named "$1" agent.pid; } # written when it can work
halt() { # ends the agent alone; the attempts continue
  n=0
  while held "$1" && [ $n -lt 150 ]; do
    p=$(agent "$1")
    if [ -z "$p" ]; then p=$(named "$1" .starting); fi # it hangs before it can work
    if [ -z "$p" ]; then sleep 0.1; n=$((n+1)); continue; fi
    if [ $n -lt 100 ]; then kill -TERM "$p" 2>/dev/null; else kill -KILL "$p" 2>/dev/null; fi
    sleep 0.1; n=$((n+1))
  done
  if held "$1"; then echo "the node agent does not end" >&2; return 1; fi
}
up() { # waits until an agent works in this home; gives up at once when the one that we started has ended
  n=0
  while ! held "$1" || [ -z "$(agent "$1")" ]; do
    p=$(cat "$1/run/.starting" 2>/dev/null)
    if [ $n -ge 300 ] || { [ -n "$p" ] && [ ! -d "/proc/$p" ] && ! held "$1"; }; then
      echo "the node agent did not start: $(tail -n 5 "$1/log/agent.out" 2>/dev/null)" >&2
      return 1
    fi
    sleep 0.1; n=$((n+1))
  done
}
"""

MAKE_HOME = wrap_script(
    r"""
c=no
if [ -L "$1" ]; then echo "$1 is a link" >&2; exit 72; fi
if [ ! -d "$1" ]; then mkdir -p "$1" || exit 71; c=yes; fi
if [ ! -O "$1" ]; then echo "$1 belongs to another user" >&2; exit 72; fi
if [ -e "$1/.pancode-node" ]; then
  if [ "$(cat "$1/.pancode-node")" != "$2" ]; then echo "$1 belongs to another fleet" >&2; exit 72; fi
else
  if [ -n "$(ls -A "$1")" ]; then echo "$1 holds files that are not ours" >&2; exit 72; fi
  printf '%s\n' "$2" > "$1/.pancode-node" || exit 71; c=yes
fi
chmod 700 "$1" || exit 71
# A login's home may be a repository (dotfiles): its snapshot must not carry our keys away.
if [ ! -e "$1/.gitignore" ]; then echo '*' > "$1/.gitignore" || exit 71; c=yes; fi
for d in bundles key run s log journal mirrors work cache; do
  if [ ! -d "$1/$d" ]; then mkdir "$1/$d" || exit 71; c=yes; fi
done
say changed $c"""
)
"""Makes the node home. $1 node home, $2 fleet."""

MAKE_FOLDERS = wrap_script(
    r"""if [ -d "$1" ]; then say changed no; else mkdir -p "$1" || exit 71; say changed yes; fi"""
)
"""Makes a folder. $1 the folder."""

UNPACK = wrap_script(
    r"""
b="$1/bundles"; t="$b/.$2.part"
rm -rf "$t"; mkdir "$t" || exit 71
trap 'rm -rf "$t" "$b/$2.tar.gz"' EXIT
if [ "$(sha256sum < "$b/$2.tar.gz" | cut -d' ' -f1)" != "$4" ]; then
  echo "the archive is not the one that was sent" >&2; exit 74
fi
tar -xzf "$b/$2.tar.gz" -C "$t" --no-same-owner || exit 71
python=$3
compiled() {
  "$python" -I -S -m compileall -q --invalidation-mode unchecked-hash -j 0 "$@" >/dev/null 2>&1 || :
}
compiled -o 2 "$t/lib" # the node agent, without docstrings
# Programs that the agent starts for a run keep their docstrings, and so do the modules that they import.
(cd "$t/lib/node_agent" && compiled -o 0 __init__.py files gateway sandbox shim \
  link/__init__.py link/trusting.py vault/__init__.py vault/redact.py \
  policy/__init__.py policy/commands/__init__.py policy/commands/tree.py)
"$3" -I -S -B -OO -c 'import sys
sys.path.insert(0,sys.argv[1])
import start
start.isolate()
import pydantic_core,pydantic,hiredis,node_agent.wire.job
from cryptography.hazmat.primitives.asymmetric import ed25519' "$t" || exit 75
# The sums of all that is here now, bytecode too, as that is what runs. The probe calls a bundle with another
# file absent, and it is sent again; a file that comes later has no sum, and does not count.
(cd "$t" && find . -type f ! -name .ready -exec sha256sum {} + > .ready) || exit 71
sync -f "$t/.ready" 2>/dev/null
rm -rf "${b:?}/$2" && mv "$t" "$b/$2" || exit 71
say changed yes"""
)
"""Unpacks a bundle and installs it after it was checked and tried. $1 node home, $2 bundle's name, $3 Python,
$4 the archive's sha256."""

POINT = wrap_script(
    r"""
if [ "$(readlink "$1/current")" = "bundles/$2" ]; then say changed no
else
  ln -sfn "bundles/$2" "$1/.current.new" && mv -fT "$1/.current.new" "$1/current" || exit 71
  say changed yes
fi
# The current one, the one before it and those that an attempt still runs from stay. By a pipe, or each search
# would find itself.
n=0; for d in $(ls -1td "$1"/bundles/*/ 2>/dev/null); do
  case $d in *"/$2/") continue;; esac
  n=$((n+1)); if [ $n -le 1 ]; then continue; fi
  if printf '%s\n' "$d" | grep -qF -f - /proc/[0-9]*/cmdline 2>/dev/null; then continue; fi
  rm -rf "$d"
done"""
)
"""Points `current` to a bundle and removes old ones. $1 node home, $2 bundle's name."""

START_DETACHED = wrap_script(
    AGENT
    + r"""
h=$1; again=$2; shift 2
if held "$h"; then
  if [ "$again" = keep ]; then say pid "$(agent "$h")"; say changed no; return 0; fi
  halt "$h" || exit 76
fi
cd "$h" || exit 71
rm -f run/.starting
setsid -f sh -c 'echo $$ > run/.starting; exec "$@"' sh "$@" </dev/null >>log/agent.out 2>&1 || exit 71
up "$h" || exit 76
rm -f run/.starting
say pid "$(agent "$h")"; say changed yes"""
)
"""Starts the node agent without a service manager. $1 node home, $2 keep|restart, $3... its argument list."""

START_UNIT = wrap_script(
    AGENT
    + r"""
c=no
if [ "$(loginctl show-user "$(id -un)" -p Linger 2>/dev/null)" = Linger=no ]; then
  if timeout 5 loginctl --no-ask-password enable-linger 2>/dev/null; then
    : > "$1/.linger"; say linger enabled; c=yes
  fi
fi
systemctl --user daemon-reload || exit 77
if [ "$(systemctl --user is-enabled "$2" 2>/dev/null)" != enabled ]; then
  systemctl --user enable "$2" 2>/dev/null || exit 77; c=yes
fi
if [ "$3" = restart ] || ! systemctl --user is-active --quiet "$2"; then
  if ! systemctl --user is-active --quiet "$2" && held "$1"; then halt "$1" || exit 76; fi
  systemctl --user restart "$2" || exit 77; c=yes
fi
up "$1" || exit 76
say changed $c"""
)
"""Starts the node agent as a user unit. $1 node home, $2 unit, $3 keep|restart."""

ADD_FLEET_KEY = wrap_script(
    r"""
f="$HOME/.ssh/authorized_keys"; if [ -L "$f" ]; then f=$(readlink -f "$f"); fi
if [ -f "$f" ] && grep -qxF -- "$1" "$f"; then say changed no; return 0; fi
if [ ! -d "$HOME/.ssh" ]; then mkdir -m 700 "$HOME/.ssh" || exit 71; fi
t="$f.pancode.$$"
{ if [ -f "$f" ]; then grep -vE -- " $2\$" "$f"; fi; printf '%s\n' "$1"; } > "$t" || exit 71
if [ -f "$f" ]; then chmod --reference="$f" "$t"; fi
mv -f "$t" "$f" || exit 71
say changed yes"""
)
"""Adds a line to authorized_keys. $1 the line, $2 its marker (letters, digits, blanks, `-`, `_` only)."""

WHICH_DIFFER = wrap_script(
    r"""
while [ $# -ge 4 ]; do
  if [ ! -f "$1" ]; then say need "$1"
  elif [ "$4" != keep ]; then
    if [ "$(sha256sum < "$1" | cut -d' ' -f1)" != "$2" ]; then say need "$1"
    elif [ "$(stat -c %a "$1")" != "$3" ]; then say need "$1"; fi
  fi
  shift 4
done"""
)
"""Prints `need=PATH` for files to put. Repeated: $1 path, $2 sha256, $3 octal mode, $4 keep|write."""

STOP_AGENT = wrap_script(
    AGENT
    + r"""
if ! held "$1"; then say changed no; return 0; fi
if systemctl --user is-active --quiet "$2" 2>/dev/null; then systemctl --user stop "$2" || exit 77; fi
halt "$1" || exit 76
say changed yes"""
)
"""$1 node home, $2 unit. Stops only the agent; its attempts continue."""
