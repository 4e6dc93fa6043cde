"""What the images of others would start, by this machine's own programs of the same name."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from pancode.queue.valkey.binary import find_server
from tests.stack.compose import Service
from tests.stack.containerfile import Stage, Step
from tests.stack.plain import OWN, Image

POSTGRES = """
set -e
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  initdb -D "$PGDATA" --username="$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" \
    --auth-host=scram-sha-256 --auth-local=trust --encoding=UTF8 --locale=C --no-sync >/dev/null
  echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
  echo "CREATE DATABASE $POSTGRES_DB" | postgres --single -D "$PGDATA" postgres >/dev/null
fi
exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/run/postgresql
"""
"""What the entry point of that image does with its variables."""


def borrow(service: Service, folder: Path) -> tuple[Image, tuple[str, ...]]:
    """An image for it, and what it begins its command with. AssertionError for one that we do not know."""
    assert service.user is not None, f"{service.name}: an image of others says which user it is"
    for name in OWN:
        (folder / name).mkdir(parents=True)
        (folder / name).chmod(0o755)
    subprocess.run(["cp", "-a", "/etc/.", str(folder / "etc")], check=True)
    with (folder / "etc/passwd").open("a") as file:
        file.write(f"stack:x:{service.user[0]}:{service.user[1]}::/:/bin/sh\n")
    programs = folder / "opt/bin"
    programs.mkdir()
    path = "/opt/bin:/usr/bin:/bin"
    entry: tuple[str, ...] = ()
    if "valkey:" in service.image:
        shutil.copy(find_server(), programs)
        (programs / "valkey-cli").symlink_to("/usr/bin/redis-cli")
    elif "prometheus:" in service.image:
        entry = ("prometheus",)
    else:
        assert "postgres:" in service.image, service.image
        path = f"{sorted(Path('/usr/lib/postgresql').glob('*/bin'))[-1]}:{path}"
        entry = ("sh", "-c", POSTGRES)
    stage = Stage(service.name, service.image, [Step("ENV", f"PATH={path}")])
    uid, gid = service.user
    stage.steps.append(Step("USER", f"{uid}:{gid}"))
    return Image(stage, folder), entry
