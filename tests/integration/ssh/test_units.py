"""Where a user manager answers, the node agent is its unit: enabled, kept, restarted for a change, taken out.

The manager is a stand-in on the node's PATH that starts what the unit's ExecStart says; it is not systemd.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pancode.fleet.bundle.store import BundleStore
from pancode.fleet.ssh.loopback.server import LoopbackNode, LoopbackServer
from pancode.fleet.ssh.steps import StepName
from tests.integration.ssh.test_bringup import (
    FLEET,
    BringUp,
    agent,
    alive,
    files,
    home,
    nothing_is_left_running,
    pid,
    store,
)
from tests.integration.ssh.world import KEYS, remote, world

__all__ = ["agent", "nothing_is_left_running", "store"]

SYSTEMCTL = r"""#!/bin/sh
echo "$*" >> "$HOME/../calls"
shift # --user
u="$HOME/.config/systemd/user"
now=no
while [ "${2#--}" != "$2" ]; do
  if [ "$2" = --now ]; then now=yes; fi
  v=$1; shift 2; set -- "$v" "$@"
done
m="$HOME/../main"
stop() { if [ -f "$m" ]; then kill "$(cat "$m")" 2>/dev/null; fi; rm -f "$m"; }
case $1 in
  is-system-running) echo degraded; exit 1;;
  daemon-reload) ;;
  is-enabled) if [ -L "$u/default.target.wants/$2" ]; then echo enabled; else echo disabled; exit 1; fi;;
  enable) mkdir -p "$u/default.target.wants"; ln -s "../$2" "$u/default.target.wants/$2";;
  disable) rm -f "$u/default.target.wants/$2"; if [ $now = yes ]; then stop; fi;;
  is-active) if [ -f "$m" ] && kill -0 "$(cat "$m")" 2>/dev/null; then exit 0; fi; exit 3;;
  restart) stop; sleep 0.3
    eval "set -- $(sed -n 's/^ExecStart=//p' "$u/$2" | sed 's/[$][$]/\\$/g; s/%%/%/g')"
    setsid -f sh -c 'echo $$ > "$HOME/../main"; exec "$@"' sh "$@" </dev/null >/dev/null 2>&1;;
  *) echo "unknown: $*" >&2; exit 1;;
esac
"""
LOGINCTL = "#!/bin/sh\ncase $1 in show-user) echo Linger=yes;; esac\n"


@pytest.mark.slow
def test_a_unit_is_made_kept_and_taken_out(tmp_path: Path, store: BundleStore) -> None:
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for name, text in (("systemctl", SYSTEMCTL), ("loginctl", LOGINCTL)):
        (bin_folder / name).write_text(text)
        (bin_folder / name).chmod(0o755)

    async def go() -> None:
        async with world(tmp_path) as it:
            plain = it.server
            path = {"PATH": f"{bin_folder}:{plain.node.environ['PATH']}"}
            it.server = LoopbackServer(LoopbackNode("desk", "me", plain.node.home, KEYS, path))
            await it.server.start()
            it.pins[it.server.target.endpoint] = it.server.host_key
            async with remote(it) as node:
                fleet = BringUp(store)
                out = await fleet.up(node)
                assert out.ok, out.problems
                old = pid(it)
                assert (tmp_path / "main").read_text().strip() == str(old)
                unit = it.home / f".config/systemd/user/pancode-node-{FLEET}.service"
                assert unit.exists() and alive(old)

                assert (await fleet.up(node)).changed == () and pid(it) == old

                unit.write_text(unit.read_text() + "# somebody was here\n")
                assert (await fleet.up(node)).changed == (StepName.UNIT, StepName.START)
                assert pid(it) != old and not alive(old) and "somebody" not in unit.read_text()

                assert (await fleet.remove(node)).ok
                assert files(it.home) == []
                assert not home(it).exists() and not (tmp_path / "main").exists()
            await plain.stop()

    asyncio.run(go())
