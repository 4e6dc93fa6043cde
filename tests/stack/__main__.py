"""`make stack`: the services of docker-compose.yml as plain processes, a run through all of them, the end."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.crowd import crowded
from tests.integration.packaging.wheelhouse import wheelhouse
from tests.lab.system import wait_for
from tests.stack.acts import ENDED, NODES, SCRAPED_S, dispatch, enrol, figure, finished
from tests.stack.containerfile import read
from tests.stack.plain import Ground
from tests.stack.running import running

ROOT = Path(__file__).parents[2]


def context_in(folder: Path) -> Ground:
    """What `docker compose build` would be given: the clone, its wheel, secrets; and the locked wheels."""
    folder.mkdir()
    for name in ("deploy", "pancode", "requirements", "docker-compose.yml"):
        (folder / name).symlink_to(ROOT / name)
    dist, secrets = (str(ROOT / ".ci/dist"), "dist"), (str(ROOT / "deploy/secrets.sh"), "secrets")
    for program, place in (dist, secrets):
        subprocess.run([program, str(folder / place)], check=True, capture_output=True, timeout=300)
    return Ground(read(ROOT / "deploy/Containerfile"), folder, wheelhouse())


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="stack-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        ground = context_in(folder / "context")
        with running(ground, ground.context / "docker-compose.yml", folder, {}) as stack:
            sys.stdout.write(f"healthy: {', '.join(stack)}\n{enrol(stack)}")
            for node in NODES:
                sys.stdout.write(dispatch(stack, node, "uname", "-sr"))
            for queue, jobs in finished(stack).items():
                sys.stdout.write(f"dashboard: {queue}: {', '.join(job['description'] for job in jobs)}\n")
            wait_for(lambda: figure(stack, ENDED), SCRAPED_S * crowded(), "Prometheus has seen both runs")
            sys.stdout.write("".join(f"{line}\n" for line in figure(stack, "up")))
        sys.stdout.write("stopped\n")


if __name__ == "__main__":
    main()
