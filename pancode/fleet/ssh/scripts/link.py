"""The constant shell scripts that run on a node: POSIX sh; values are passed as arguments $1, $2, ..."""

from __future__ import annotations

from node_agent.wire.node import TOOL_FOLDERS

BEGIN, END = "@@pancode-begin@@", "@@pancode-end@@"
"""The marks around a script's output, since login shells may add their own output."""

_ME = r"""
say() { printf '%s=%s\n' "$1" "$2"; }
boot() { cat /proc/sys/kernel/random/boot_id 2>/dev/null; }
began() { sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }
above() { sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f2; }
session() { # the sshd process of this login: only that may ever be ended as stale
  p=$PPID; n=0
  while [ "${p:-1}" -gt 1 ] && [ $n -lt 8 ]; do
    case $(cat "/proc/$p/comm" 2>/dev/null) in
      sshd*) echo "$(boot) $p $(began "$p")"; return 0;;
    esac
    p=$(above "$p"); n=$((n+1))
  done
  echo none
}
"""

_TAIL = '\nmain "$@" </dev/null\n'
"""The end of a script: the whole script is read before anything runs, so no command can consume its rest."""


def wrap_script(body: str) -> str:
    """Return a whole script around `body`, which may `return`, or `exit` with its own status."""
    begin, end = f"printf '\\n%s\\n' '{BEGIN}'", f"printf '%s\\n' '{END}'"
    inner = f"body() {{\n{body.strip()}\n}}\n"
    return f'export LC_ALL=C\numask 077\n{_ME}{inner}main() {{\n{begin}\nbody "$@"\n{end}\n}}{_TAIL}'


PROBE = wrap_script(
    r"""
for d in @TOOLS@ /usr/local/bin /usr/bin /bin /usr/sbin /sbin /snap/bin; do
  if [ -d "$d" ]; then PATH="$PATH:$d"; fi
done
say os "$(uname -s)"; say arch "$(uname -m)"; say kernel "$(uname -r)"; say hostname "$(uname -n)"
say uid "$(id -u)"; say user "$(id -un)"; say home "$HOME"; say shell "$SHELL"
say libc "$( (getconf GNU_LIBC_VERSION || ldd --version) 2>&1 | head -n 1)"
say wall_ms "$(date +%s%3N)"; say boot_id "$(boot)"; say session "$(session)"
say cpus "$(getconf _NPROCESSORS_ONLN 2>/dev/null)"
say memory_kb "$(sed -n 's/^MemTotal: *\([0-9]*\).*/\1/p' /proc/meminfo 2>/dev/null)"
for q in python3.13 python3.12 python3.11 python3.14 python3; do
  for d in $(command -v "$q") "${PANCODE_PYTHON_BIN:-/nowhere}/$q" \
    "$HOME"/.pyenv/versions/3.1[1234]*/bin/"$q" \
    "$HOME"/.local/share/uv/python/cpython-3.1[1234]*/bin/"$q" /opt/python*/bin/"$q"; do
    if [ -x "$d" ]; then
      say python "$("$d" -I -S -c 'import sys
v=sys.version_info
print(sys.implementation.name,"%d.%d.%d"%v[:3],sys.abiflags or "-",8 if sys.maxsize>2**32 else 4,v[3],
getattr(sys,"_base_executable","") or sys.executable)' 2>&1 | head -n 1)"
    fi
  done
done
say git "$(git --version 2>&1 | head -n 1)"
say disk "$(df -Pk "$HOME" 2>/dev/null | tail -n 1)"
t=$(mktemp -d "$HOME/.pancode-probe.XXXXXX" 2>&1)
if [ -d "$t" ]; then # nothing is said while it is there: who listens may be gone, which ends us
  w=ok x=
  if printf '#!/bin/sh\nexit 0\n' > "$t/x" 2>/dev/null && chmod 700 "$t/x"; then
    if "$t/x" 2>/dev/null; then x=yes; else x=no; fi
  else w=full; fi
  rm -rf "$t"
  say home_write $w; say home_exec $x
else say home_write "no $t"; fi
if command -v systemctl >/dev/null 2>&1; then
  say user_services "$(timeout 5 systemctl --user is-system-running 2>&1 | head -n 1)"
  say linger "$(timeout 5 loginctl show-user "$(id -un)" -p Linger 2>/dev/null | head -n 1)"
else say user_services missing; fi
for q in timeout mktemp sha256sum cut tr head tail sort stat readlink id setsid flock tar gzip sed grep \
  find git bwrap tmux systemd-run systemd-analyze claude codex gemini \
  opencode copilot qwen node npm docker nvidia-smi ollama; do
  say "tool.$q" "$(command -v "$q" 2>/dev/null)"
done
h=${2:-${PANCODE_NODE_HOME:-$HOME/.pancode-node/$1}}
say node_home "$h"
if [ -L "$h/current" ]; then say current "$(readlink "$h/current")"; fi
for d in "$h"/bundles/*/.ready; do
  if [ -f "$d" ]; then
    d=${d%/.ready}
    if (cd "$d" && sha256sum -c --status .ready 2>/dev/null); then say bundle "${d##*/}"; fi
  fi
done
if [ -f "$h/layout" ]; then say layout "$(head -n 1 "$h/layout")"; fi
if [ -f "$h/key/node.key" ]; then say has_key yes; fi
say named "$(sed -n 's/^ *"name": *"\([^"]*\)".*/\1/p' "$h/node.json" 2>/dev/null | head -n 1)"
say path "$(sed -n 's/.*"path": *"\([^"\\]*\)".*/\1/p' "$h/node.json" 2>/dev/null | head -n 1)"
if [ -e "$h/run/agent.lock" ]; then
  if flock -sn "$h/run/agent.lock" true 2>/dev/null; then say agent stopped; else say agent running; fi
fi
if [ -f "$h/run/agent.pid" ]; then say agent_pid "$(head -n 1 "$h/run/agent.pid")"; fi""".replace(
        "@TOOLS@", " ".join(f'"$HOME"/{one}' for one in TOOL_FOLDERS)
    )
)
"""Collects all facts that bring-up needs, in one command. $1 fleet id, $2 node home or empty."""


OPEN_LINK = wrap_script(
    r"""
for d in "$1" "$2"; do # never the node home itself: one that a link made would be nobody's
  [ -d "$d" ] || mkdir "$d" || exit 71
  if [ -L "$d" ] || [ ! -O "$d" ]; then echo "$d is not ours" >&2; exit 72; fi
  chmod 700 "$d" || exit 71
done
me=$(session)
for f in "$2"/*/session; do
  if [ -f "$f" ] && read -r b p s < "$f" && [ "$b $p $s" != "$me" ] && [ "$b" = "$(boot)" ]; then
    case $(cat "/proc/$p/comm" 2>/dev/null) in
      sshd*) if [ "$(began "$p")" = "$s" ]; then kill "$p" 2>/dev/null && say ended "$p"; fi;;
    esac
  fi
done
g=$(mktemp -d "$2/XXXXXXXX") || exit 71
printf '%s\n' "$me" > "$g/session" || exit 71
say folder "$g"; say session "$me" """
)
"""Ends stale sessions, makes the folder for sockets. $1 folder of the pointer, $2 folder of the sockets."""


PUBLISH_LINK = wrap_script(
    r"""
for f in "$2"/*.sock; do
  if [ -S "$f" ]; then chmod 600 "$f" || exit 71; fi
done
printf '%s\n' "$3" > "$1/.current.new" && mv -f "$1/.current.new" "$1/current" || exit 71
for d in "${2%/*}"/*/; do
  if [ "${d%/}" != "$2" ] && [ -f "${d}session" ]; then rm -rf "${d%/}"; fi
done
say published yes"""
)
"""Publishes a generation, removes older ones. $1 pointer's folder, $2 generation's, $3 pointer's text."""


CHECK_LINK = wrap_script(
    r"""
if [ "$(cat "$1" 2>/dev/null)" != "$2" ]; then say gone "$1"; fi
shift 2
for f in "$@"; do
  if [ ! -S "$f" ]; then say gone "$f"; fi
done"""
)
"""Prints `gone=PATH` per missing file. $1 the pointer's file, $2 its expected text, $3... the sockets."""


def parse_report(text: str) -> list[tuple[str, str]]:
    """Return the key=value lines between the last begin mark and the first end mark after it. Raises
    ValueError if a mark is missing: the script did not run, or did not finish."""
    _, begin, rest = text.rpartition(f"{BEGIN}\n")
    inside, end, _ = rest.partition(f"{END}")
    if not begin or not end:
        raise ValueError(f"the node's shell did not finish PanCode's script: {text[-400:]!r}")
    pairs = (line.partition("=") for line in inside.splitlines())
    return [(key, value.strip()) for key, sep, value in pairs if sep]
