"""Proves the promises about GPUs on a machine that has one, and prints a transcript. Standard library only.

    python3 tests/gpu/on_a_machine.py pack KIT     here: fill a folder with all that the machine needs
    python3 KIT/on_a_machine.py run KIT            there, as root; minutes. No registry is asked.

The machine has Python 3.12 and PyTorch (TORCH names its Python). `run KIT --standin` tries the script where
there is no GPU: a stand-in takes the place of the driver, and the questions to CUDA are left out.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PLATFORMS = ("39", "35", "34", "31", "28", "27", "24", "17", "12", "5")
LEFT_OUT = ("psycopg", "psycopg_binary", "apprise", "pip")
"""Wheels that nothing of this script asks for, but for pip, which installs the others from its own wheel."""
TORCH = os.environ.get("TORCH", "/opt/torch/.venv/bin/python3")
GIB = 1 << 30
PROBE = """
import torch
assert torch.cuda.is_available(), "no CUDA"
a = torch.randn(1024, 1024, device="cuda")
assert torch.isfinite(a @ a).all()
print("PROBE", torch.cuda.device_count(), torch.cuda.get_device_name(0), flush=True)
"""
FENCED = """
import json, sys
from node_agent.sandbox.landlock import read_abi
from node_agent.sandbox.policy import Network, View, build_fence
from node_agent.sandbox.shown import this_system
tree, shown, names = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
view = View(tree, tree, True, Network.FULL, tree, this_system(), tuple(shown),
            devices=tuple((f"/dev/{name}", f"/dev/{name}") for name in names))
print(json.dumps(build_fence(view) if read_abi() >= 3 else []))
"""
"""Prints the words before a command that only Landlock bounds."""
TAKES = """
import time, torch
held = torch.zeros(10 << 30, dtype=torch.uint8, device="cuda")
torch.cuda.synchronize()
print("PROBE holds", held.numel(), flush=True)
time.sleep(25)
"""


def pack(kit: Path) -> None:
    """Fill the folder: our own wheel, those of our libraries, and programs of Debian that may be missing."""
    kit.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    wheel = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(kit), str(ROOT)]
    subprocess.run(wheel, check=True)
    for_there = ["--only-binary=:all:", "--python-version", "3.12", "--implementation", "cp", "--no-deps"]
    for_there += [word for number in PLATFORMS for word in ("--platform", f"manylinux_2_{number}_x86_64")]
    for_there += ["--platform", "manylinux2014_x86_64", "--dest", str(kit)]
    listed = str(ROOT / "requirements/coordinator.txt")
    subprocess.run([*pip, "download", *for_there, "--requirement", listed], check=True)
    for name in (*LEFT_OUT[:3],):
        for path in kit.glob(f"{name}-*.whl"):
            path.unlink()
    subprocess.run(["apt-get", "download", "-q", "bubblewrap", "git", "libpcre2-8-0"], cwd=kit, check=True)
    shrink_git(kit)
    for name in ("on_a_machine.py", "standins.py", "nvml.c"):
        shutil.copy(ROOT / "tests/gpu" / name, kit / name)


def shrink_git(kit: Path) -> None:
    """Replace the package of git by its one program, a sixth of its size."""
    (package,) = kit.glob("git_*.deb")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["dpkg", "-x", str(package), folder], check=True)
        core = Path(folder, "usr/lib/git-core")
        links = [str(one.relative_to(folder)) for one in core.iterdir() if one.is_symlink()]
        names = ["usr/bin/git", "usr/bin/git-receive-pack", "usr/bin/git-upload-pack", *links]
        subprocess.run(["tar", "-C", folder, "-cJf", str(kit / "git.tar.xz"), *names], check=True)
    package.unlink()


class Failed(Exception):
    """A promise does not hold."""


class Machine:
    """A fleet of one node on this machine, in one folder."""

    def __init__(self, kit: Path, root: Path, standin: bool) -> None:
        self.kit, self.root, self.project = kit, root, root / "project"
        self.home = root / "home"
        self.python, self.pancode = root / "venv/bin/python", root / "venv/bin/pancode"
        self.stands_in = standin
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("PANCODE_", "GIT_"))
        }
        path = f"{self.python.parent}:/usr/local/bin:/usr/local/nvidia/bin:{kept.get('PATH', '')}"
        own = {"HOME": str(self.home), "PANCODE_HOME": str(root / "desk"), "PATH": path, "NO_COLOR": "1"}
        self.env = {**kept, **own}
        self.failed: list[str] = []

    # -- what the machine lacks

    def install(self) -> None:
        base = TORCH if os.path.exists(TORCH) and not self.stands_in else sys.executable
        run([base, "-m", "venv", "--without-pip", str(self.python.parent.parent)])
        (pip,) = self.kit.glob("pip-*.whl")
        wheels = [str(one) for one in self.kit.glob("*.whl") if one != pip]
        run([str(self.python), f"{pip}/pip", "install", "-q", "--no-index", "--no-deps", *wheels])
        if shutil.which("bwrap") is None:
            self._unpack("bubblewrap_*.deb", "/usr/bin/bwrap", "/usr/local/bin/bwrap")
        if shutil.which("git") is None:
            self._unpack("libpcre2-8-0_*.deb", "", "")
            run(["tar", "-C", "/", "-xJf", str(self.kit / "git.tar.xz")])
            Path("/usr/lib/git-core/git").symlink_to("/usr/bin/git")

    def _unpack(self, package: str, program: str, target: str) -> None:
        (found,) = self.kit.glob(package)
        folder = self.root / "deb"
        run(["dpkg", "-x", str(found), str(folder)])
        if program:
            shutil.copy(f"{folder}{program}", target)
        elif not any(Path("/usr/lib/x86_64-linux-gnu").glob("libpcre2-8.so.0")):
            run(["cp", "-a", f"{folder}/usr/lib/x86_64-linux-gnu/.", "/usr/lib/x86_64-linux-gnu/"])

    def begin(self) -> None:
        """Make the project and the fleet. PyTorch lies outside of /usr: the owner's file shows it to runs."""
        self.home.mkdir(parents=True)
        self.project.mkdir()
        (self.project / "README.md").write_text("A project.\n")
        for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "first"]):
            who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
            run(["git", *who, *words], cwd=self.project, env=self.env)
        self.tell("node", "add", "gpubox", "--local")
        self.tell("fleet", "up")
        (node,) = (self.home / ".pancode-node").glob("f-*")
        (node / "sandbox.json").write_text(json.dumps({"read": torch_folders()}))
        if self.stands_in:
            sys.path.insert(0, str(self.kit))
            from standins import GpuMachine, gpu  # type: ignore[import-not-found]

            self.gpus = GpuMachine(self.root / "gpu")
            self.gpus.make_devices()
            self.gpus.says(gpu(0))
            (node / "gpus.json").write_text(json.dumps(self.gpus.settings))
            self.tell("fleet", "down", "gpubox", "--now")
            self.tell("fleet", "up")

    # -- commands

    def call(self, *words: str) -> tuple[int, str]:
        done = subprocess.run(
            [str(self.pancode), *words], cwd=self.project, env=self.env, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=150, check=False,
        )  # fmt: skip
        return done.returncode, (done.stdout + "\n" + done.stderr).strip()

    def tell(self, *words: str) -> str:
        """Run a command and print it with its output, as a user would see it."""
        code, text = self.call(*words)
        shown = " ".join(
            word if word.isascii() and " " not in word and "\n" not in word else repr(word) for word in words
        )
        say(f"$ pancode {shown}\n{text}\n[exit {code}]")
        return text

    def asks(self, *words: str) -> Any:
        code, text = self.call(*words, "--json")
        try:
            return json.loads(text[: text.rindex("}") + 1])
        except ValueError:
            raise Failed(f"{words}: exit {code}: {text[-500:]}") from None

    def run_script(self, script: str, *words: str) -> str:
        """Dispatch a script of the shell, wait, and return the output of the run."""
        run = self.asks("dispatch", "--runtime", "shell", *words, script)["run"]
        return self.tell("runs", "logs", str(run))

    def begin_run(self, script: str, *words: str) -> str:
        return str(self.asks("dispatch", "--runtime", "shell", "--detach", *words, script)["run"])

    def gpu(self) -> dict[str, Any]:
        (node,) = self.asks("fleet", "status")["nodes"]
        return dict(node["gpus"][0]) if node["gpus"] else {}

    def state(self, run: str) -> str:
        return str(self.asks("runs", "show", run)["state"])

    # -- checks

    def check(self, what: str, holds: bool) -> None:
        say(f"{'ok  ' if holds else 'NO  '} {what}\n")
        if not holds:
            self.failed.append(what)

    def until(self, what: str, holds: Callable[[], bool], seconds: float) -> None:
        end = time.monotonic() + seconds
        while not (seen := holds()) and time.monotonic() < end:
            time.sleep(1)
        self.check(what, seen)

    def look(self) -> str:
        """A script that asks nvidia-smi and PyTorch."""
        if self.stands_in:
            return "ls /dev/nvidia0 && echo word > /dev/nvidia0 && echo PROBE 1 stand-in"
        smi = shutil.which("nvidia-smi", path=self.env["PATH"]) or "nvidia-smi"
        return f"{smi} -L; {TORCH} -c '{PROBE}'"


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def torch_folders() -> list[str]:
    """Return the folders of PyTorch and of its Python that are not below /usr."""
    if not os.path.exists(TORCH):
        return []
    found = [str(Path(TORCH).parents[2]), str(Path(os.path.realpath(TORCH)).parents[1])]
    return [one for one in found if one != "/" and not one.startswith("/usr")]


def run(argv: list[str], **more: Any) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, **more)
    if done.returncode:
        raise Failed(f"{' '.join(argv)[:200]}: {(done.stdout + done.stderr)[-1500:]}")


def prove(machine: Machine) -> None:
    """Each promise once."""
    status = machine.tell("fleet", "status")
    machine.tell("node", "show", "gpubox")
    machine.tell("doctor", "gpubox")
    machine.check("the GPU is found, and fleet status shows it", "1x " in status and "free" in status)
    look = machine.look()
    text = machine.run_script(look)
    machine.check("a plain run computes on the GPU in the sandbox", "PROBE 1" in text)
    machine.check("no more than that GPU is needed", machine.gpu().get("holder") is None)
    prove_holds(machine, look)
    machine.tell("node", "set", "gpubox", "--gpus", "asked")
    text = machine.run_script(look)
    machine.check("with --gpus asked a plain run sees none", "PROBE 1" not in text)
    text = machine.run_script(look, "--gpus", "1")
    machine.check("... and a run that asks sees it", "PROBE 1" in text)
    machine.tell("node", "set", "gpubox", "--gpus", "all")
    prove_memory(machine)
    none = machine.asks("dispatch", "--runtime", "shell", "--gpus", "0", "true")
    machine.check("--gpus 0 is allowed, and the run reserves none", none["outcome"] == "done")
    for words in (("--gpus", "two"), ("--gpus", "2"), ("--gpu-memory", "900g")):
        text = machine.tell("dispatch", "--runtime", "shell", *words, "true")
        machine.check(f"{' '.join(words)} is refused, with a fix", "error:" in text and "fix:" in text)


def prove_holds(machine: Machine, look: str) -> None:
    first = machine.begin_run(f"{look}; sleep 20", "--gpus", "1")
    machine.until("the first run with --gpus 1 works", lambda: machine.state(first) == "running", 30)
    second = machine.begin_run(look, "--gpus", "1")
    time.sleep(2)
    text = machine.tell("why", second)
    machine.check("the second waits, and why says for what", "waits for a GPU" in text and first in text)
    machine.tell("fleet", "status")
    text = machine.run_script(look)
    machine.check("a plain run does not see a GPU that another run holds", "PROBE 1" not in text)
    machine.until(
        "the second run begins when the first has ended", lambda: machine.state(second) == "ended", 90
    )
    machine.check("... and computes on the GPU", "PROBE 1" in machine.tell("runs", "logs", second))


def prove_landlock(machine: Machine) -> None:
    """As a node agent of a plain user has it where bubblewrap does not work."""
    tree = machine.root / "fenced"
    tree.mkdir()
    (tree / "syscalls.bpf").touch()
    os.chown(tree, 65_534, 65_534)
    names, shown = ["nvidia0", "nvidiactl", "nvidia-uvm"], [*torch_folders(), str(machine.root / "venv")]
    ask = [str(machine.python), "-c", FENCED, str(tree), json.dumps(shown)]
    step_down = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]
    for devices, sees in ((names, True), ([], False)):
        done = subprocess.run([*ask, json.dumps(devices)], capture_output=True, text=True, check=True)
        words = json.loads(done.stdout)
        if not words:
            say("no Landlock in this kernel: not tried\n")
            return
        env = {"HOME": str(tree), "TMPDIR": str(tree), "PATH": machine.env["PATH"]}
        argv = [*step_down, *words, TORCH, "-c", PROBE]
        seen = subprocess.run(
            argv, capture_output=True, text=True, env=env, timeout=90, check=False, cwd=tree
        )
        say(f"$ landlock.py ... with {devices}: exit {seen.returncode}\n{(seen.stdout + seen.stderr)[-600:]}")
        what = "sees the GPU" if sees else "without its device files sees none"
        machine.check(f"a program under Landlock {what}", ("PROBE 1" in seen.stdout) is sees)


def prove_memory(machine: Machine) -> None:
    before = machine.gpu()["memory_free"]
    if machine.stands_in:
        from standins import gpu

        taker = machine.begin_run("sleep 12", "--gpus", "1")
        machine.gpus.says(gpu(0, free=68 * GIB))
    else:
        taker = machine.begin_run(f"{TORCH} -c '{TAKES}'", "--gpus", "1")
    fell = [0]

    def has_fallen() -> bool:
        fell[0] = max(fell[0], before - (machine.gpu().get("memory_free") or before))
        return fell[0] >= 10 * GIB

    machine.until("free memory in fleet status falls by 10 GiB while a run holds it", has_fallen, 60)
    machine.tell("fleet", "status")
    machine.tell("runs", "stop", taker)


def main(words: list[str]) -> int:
    if len(words) < 2 or words[0] not in ("pack", "run"):
        sys.stderr.write(__doc__ or "")
        return 2
    kit = Path(words[1]).resolve()
    if words[0] == "pack":
        pack(kit)
        return 0
    began, root = time.monotonic(), Path(tempfile.mkdtemp(prefix="pcgpu-", dir="/tmp"))
    root.chmod(0o755)
    machine = Machine(kit, root, "--standin" in words)
    try:
        machine.install()
        say(f"installed after {time.monotonic() - began:.0f} s")
        machine.begin()
        prove(machine)
        if not machine.stands_in:
            prove_landlock(machine)
    except (Failed, OSError, subprocess.SubprocessError, LookupError, TypeError, ValueError) as exc:
        machine.failed.append(f"{type(exc).__name__}: {exc}")
        for log in [*root.glob("desk/run/*.log"), *root.glob("home/.pancode-node/*/log/*")]:
            say(f"--- {log}\n{log.read_text(errors='replace')[-3000:]}")
    finally:
        if machine.pancode.exists():
            machine.call("fleet", "down", "--now")
    say(
        f"{time.monotonic() - began:.0f} s; {'all holds' if not machine.failed else f'NOT: {machine.failed}'}"
    )
    return 1 if machine.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
