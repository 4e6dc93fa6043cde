"""Runs one step of a phase: starts its process, watches its limits, ends it, and leaves no process alive.
Standard library only, with few imports, since the shim loads this module at every start."""

from __future__ import annotations

import errno
import os
import stat

from node_agent.shim import limits, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from typing import Any, Protocol

    class Ticks(Protocol):
        def wall_ms(self) -> int: ...
        def mono_ms(self) -> int: ...
else:
    import _signal as signal  # without `enum`, which costs 4 ms at each start

POLL_MS = 100
SWEEP_MS = 10_000  # after this time, processes that still run are reported
FADE_MS = 500
CROWD = 30
WAKE = (signal.SIGCHLD, signal.SIGUSR1, signal.SIGTERM)
STOP_FILE = "stop"
WALL_FILE = "wall"
STATUS_BYTES, SAID_BYTES, COPY_BYTES = 4096, 2000, 1 << 16
_DEFAULTS = tuple(n for n in range(1, 65) if n not in (signal.SIGKILL, signal.SIGSTOP, 32, 33))


class CannotStart(Exception):
    """Raised if the step's process cannot start. `what`: exec, cwd, below, stdin, stdout, stderr, wall."""

    def __init__(self, what: str, path: str, exc: OSError) -> None:
        super().__init__(what, path, exc)
        self.record = {
            "what": what,
            "errno": errno.errorcode.get(exc.errno or 0, str(exc.errno)),
            "path": path[:200],
        }


class Keeper:
    """Owns every process of one phase: reaps, signals and kills them, and receives the request to stop."""

    def __init__(self, clock: Ticks, folder: str, marker: str, reaper: bool) -> None:
        self.clock, self.marker, self.reaper = clock, marker, reaper
        self.ended: dict[int, int] = {}  # pid -> wait status
        self.cpu_ms, self.max_rss_kb = 0.0, 0
        self.folder, self._stop_file = folder, f"{folder}/{STOP_FILE}"
        self._terminated = False
        self.scope = process.own_scope()
        self._groups = (self.scope,) if self.scope else ()
        self._birth = process.Birth()
        own = process.read_stat(os.getpid())
        self._since = own.start if own else 0

    def stop_asked(self) -> bool:
        """Whether the stop file exists or SIGTERM arrived (a shutdown, or no disk space for the file)."""
        if not self._terminated and signal.sigtimedwait((signal.SIGTERM,), 0) is not None:
            self._terminated = True
        return self._terminated or os.access(self._stop_file, os.F_OK)

    def pause(self, ms: int) -> None:
        """Sleep until a child ends, a signal arrives, or `ms` have passed."""
        info = signal.sigtimedwait(WAKE, max(ms, 0) / 1000)
        if info is not None and info.si_signo == signal.SIGTERM:
            self._terminated = True

    def reap(self) -> bool:
        """Reap ended children. False: no child is left, which for a subreaper proves no process is left."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            self.ended[pid] = status
            self.cpu_ms += (usage.ru_utime + usage.ru_stime) * 1000
            self.max_rss_kb = max(self.max_rss_kb, usage.ru_maxrss)

    def empty(self, thorough: bool = False) -> bool:
        """Whether no process is left. For a subreaper, having no children is enough, unless `thorough`, which
        also searches by scope."""
        return not self.reap() and ((self.reaper and not thorough) or not self.members())

    def members(self) -> list[process.Proc]:
        """Return the living processes of the phase. For a subreaper these are descendants and those of its
        scope: any program can set the marker of another attempt, so it is needed only without a subreaper."""
        marker = "" if self.reaper else self.marker
        return process.find_members(marker, os.getpid(), self._since, self._groups, self._birth)

    def list_measured(self) -> list[process.Proc]:
        """Return the processes whose use is measured: for a subreaper, all that it may have started."""
        found = process.find_descendants(os.getpid()) if self.reaper else None
        return self.members() if found is None else found

    def strike(self, number: int, leader: int, sandboxed: bool) -> None:
        """Signal the leader's process group at once, then each process outside it; continue stopped ones.

        With a sandbox, only processes inside it get the signal: ending the outer ones would kill all others.
        """
        if sandboxed:
            for proc in self.members():
                if process.is_inside(proc[0]):
                    process.signal_exact(proc, number)
                    process.signal_exact(proc, signal.SIGCONT)
            return
        # the leader is not reaped, so its pid cannot have been reused
        group = leader if leader not in self.ended else 0
        for each in (number, signal.SIGCONT) if group else ():
            try:
                os.killpg(group, each)
            except OSError:  # another user's process: `sweep` will report it
                break
        for proc in self.members():
            if not group or _find_group(proc[0]) != group:
                process.signal_exact(proc, number)
                process.signal_exact(proc, signal.SIGCONT)

    def end(self, leader: int, grace: dict[str, int], sandboxed: bool = False) -> None:
        """Send SIGINT, then SIGTERM, to all processes, each with a grace period. `sweep` sends SIGKILL."""
        for number, ms in ((signal.SIGINT, grace["int_ms"]), (signal.SIGTERM, grace["term_ms"])):
            if self.empty():
                return
            self.strike(number, leader, sandboxed)
            self._await_empty(self.clock.mono_ms() + ms)

    def fell(self, leader: int) -> None:
        """Kill the step's group without grace, in which it could use more. Sandboxed processes end first."""
        if leader not in self.ended:
            try:
                os.killpg(leader, signal.SIGKILL)
            except OSError:  # another user's process: `sweep` will report it
                return

    def sweep(self, thorough: bool) -> tuple[int, int]:
        """Send SIGKILL until no process is left; return how many were killed, and how many survived."""
        struck: set[process.Proc] = set()
        deadline = self.clock.mono_ms() + SWEEP_MS
        while not self.empty(thorough):
            targets = self.members()
            if len(targets) > CROWD:
                self._fell_groups(targets)
            for proc in targets:
                if process.signal_exact(proc, signal.SIGKILL):
                    struck.add(proc)
            if self.clock.mono_ms() > deadline:
                return len(struck), len(targets)
            self.pause(20)
        return len(struck), 0

    def _fell_groups(self, crowd: list[process.Proc]) -> None:
        """Kill whole process groups at once, since new processes may start faster than they can be killed one
        by one. All members of these groups belong to the step."""
        for group in {_find_group(pid) for pid, _ in crowd} - {0, os.getpgid(0)}:
            try:
                os.killpg(group, signal.SIGKILL)
            except OSError:  # the group is already empty
                continue

    def fade(self) -> None:
        """Wait briefly for processes that a sandbox ends after its program: they are not leftovers."""
        self._await_empty(self.clock.mono_ms() + FADE_MS)

    def _await_empty(self, deadline: int) -> None:
        while not self.empty():
            left = deadline - self.clock.mono_ms()
            if left <= 0:
                return
            self.pause(min(left, POLL_MS))


class StepRun:
    """One step: its process, its files, and the records of its start and end."""

    def __init__(self, index: int, spec: dict[str, Any], plan: dict[str, Any], keeper: Keeper) -> None:
        self.index, self.spec, self.plan, self.keeper = index, spec, plan, keeper
        self.pid, self.start_ticks = 0, 0
        self._files: list[int] = []
        self._before = [0, 0]
        self._log, self._copied = -1, 0
        self.taking = limits.Consumption(plan["limits"], keeper.list_measured, keeper.scope)
        written = [plan["cwd"], *(path for path in (plan["env"].get("HOME"),) if path)]
        self.filling = limits.Filling(plan["limits"], written, keeper.list_measured, keeper.clock.mono_ms)

    def start(self) -> dict[str, Any]:
        """Start the process; return the record of its start. Raises CannotStart."""
        self.keeper.cpu_ms, self.keeper.max_rss_kb = 0.0, 0
        self._files = self._open_files()
        if self.spec["joins"]:
            try:
                self._log = _open_file(self.spec["joins"], os.O_CREAT | os.O_APPEND | os.O_WRONLY)
            except OSError as exc:
                raise CannotStart("stderr", self.spec["joins"], exc) from exc
        self._before = self._read_sizes()
        try:
            self._enter()
            with limits.FairGame():
                self.pid = self._execute()
        finally:
            os.chdir("/")
        found = process.read_stat(self.pid)  # a zombie is still listed, since only this process reaps it
        self.start_ticks = found.start if found else 0
        return {"index": self.index, "name": self.spec["name"], "pid": self.pid, "start": self.start_ticks}

    def _enter(self) -> None:
        """Enter the plan's folder and `below`. Raises CannotStart if an earlier phase put a symlink there."""
        cwd, below = self.plan["cwd"], self.plan["below"]
        try:
            os.chdir(cwd)
        except OSError as exc:
            raise CannotStart("cwd", cwd, exc) from exc
        if not below:
            return
        top = os.getcwd()
        try:
            os.chdir(f"{cwd}/{below}")
            if os.getcwd() != f"{top}/{below}":
                raise OSError(errno.ELOOP, "the path leads through a symbolic link", below)
        except OSError as exc:
            raise CannotStart("below", below, exc) from exc

    def watch(self, step: limits.StepLimits) -> str:
        """Wait for the step or end it at a limit or stop; return the cause: none, stop, or a limit's name."""
        keeper, clock = self.keeper, self.keeper.clock
        step.start(clock.mono_ms())
        self.taking.start(clock.mono_ms())
        self.filling.start()
        while True:
            keeper.reap()
            self._join()
            if self.pid in keeper.ended:
                why = self.taking.refused() or step.at_the_end(sum(self.written()))
                return limits.DISK if why == "none" and self.filling.ended() else why
            now = clock.mono_ms()
            why = "stop" if keeper.stop_asked() else step.broken(now, sum(self.written()))
            if why:
                keeper.end(self.pid, self.plan["grace"], self.spec["walled"])
                return why
            why = self.taking.over(now) or (limits.DISK if self.filling.over() else "")
            if why:
                keeper.fell(self.pid)
                return why
            keeper.pause(min(step.wait_ms(now), self.taking.wait_ms(now)))

    def written(self) -> list[int]:
        """Return the bytes that the step has added to its stdout and to its stderr."""
        return [now - before for now, before in zip(self._read_sizes(), self._before, strict=True)]

    def result(self) -> tuple[int | None, int | None]:
        """Return (exit code, signal): one of them is set, or neither if the process could not be reaped."""
        status = self.keeper.ended.get(self.pid)
        if status is None:
            return None, None
        if os.WIFSIGNALED(status):
            return None, os.WTERMSIG(status)
        return os.WEXITSTATUS(status), None

    def sandbox_error(self) -> dict[str, str] | None:
        """Return the sandbox's own error if it ended without reporting the program's status; else None."""
        if not self.spec["walled"] or self.result()[0] in (0, None):
            return None
        if b'"exit-code"' in os.pread(self._files[3], STATUS_BYTES, 0):
            return None
        stderr = os.pread(self._files[2], SAID_BYTES, max(0, self._read_sizes()[1] - SAID_BYTES))
        words = stderr.decode("utf-8", "replace").strip()
        begin = words.rfind("bwrap: ")  # a program's name may contain line breaks
        words = words[begin:] if begin >= 0 else words.rpartition("\n")[2]
        return {"what": "wall", "errno": "EPERM", "path": words[:200]}

    def close(self) -> None:
        self._join()
        if self._log >= 0:
            os.close(self._log)
            os.unlink(self.spec["stderr"])
            self._log = -1
        for fd in self._files:
            os.close(fd)
        self._files = []

    def _join(self) -> None:
        """Copy the step's new output to the log that it joins. A process can reopen and truncate its own
        output by its descriptor, but not that of earlier steps."""
        end = self._read_sizes()[1] if self._log >= 0 else 0
        while self._copied < end and (data := os.pread(self._files[2], COPY_BYTES, self._copied)):
            self._copied += os.write(self._log, data)

    def _read_sizes(self) -> list[int]:
        return [os.fstat(fd).st_size for fd in self._files[1:3]] or [0, 0]

    def _open_files(self) -> list[int]:
        append, fresh = (os.O_CREAT | how for how in (os.O_APPEND, os.O_TRUNC))
        wanted = [
            ("stdin", self.spec["stdin"] or os.devnull, os.O_RDONLY),
            ("stdout", self.spec["stdout"], append | os.O_WRONLY),
            ("stderr", self.spec["stderr"], append | os.O_RDWR),
        ]
        if self.spec["walled"]:
            wanted.append(("wall", f"{self.keeper.folder}/{WALL_FILE}", fresh | os.O_RDWR))
        if self.spec["walled"] and self.spec["calls"]:
            wanted.append(("wall", self.spec["calls"], os.O_RDONLY))
        files: list[int] = []
        for what, path, flags in wanted:
            try:
                files.append(_open_file(path, flags))
            except OSError as exc:
                for fd in files:
                    os.close(fd)
                raise CannotStart(what, path, exc) from exc
        return files

    def _make_environment(self) -> dict[str, str]:
        """Return this step's environment: only the agent gets the agent-only variables."""
        env = dict(self.plan["env"])
        own = env.pop(process.AGENT_ONLY, "").split()
        return env if self.spec["kind"] == "agent" else {k: v for k, v in env.items() if k not in own}

    def _execute(self) -> int:
        """Execute the program. Raises CannotStart if exec fails, so that status 127 is always the agent's."""
        argv = [_encode_text(arg) for arg in (*self.spec["wall"], *self.spec["argv"])]
        env = {_encode_text(name): _encode_text(value) for name, value in self._make_environment().items()}
        env[process.MARKER.encode()] = _encode_text(self.plan["marker"])
        if self.spec["wall"]:
            process.leave_keyring()
        failed: OSError = FileNotFoundError(errno.ENOENT, "not found")
        for path in _list_candidates(argv[0], env):
            try:
                return _spawn_process(path, argv, env, self._files)
            # as a shell does: try each folder of PATH; "permission denied" precedes "not found"
            except OSError as exc:
                failed = exc if failed.errno == errno.ENOENT else failed
        raise CannotStart("exec", os.fsdecode(argv[0]), failed)


def _open_file(path: str, flags: int) -> int:
    """Open a regular file safely: an earlier step may have put a link there, or a pipe, which would block."""
    fd = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    if not stat.S_ISREG(os.fstat(fd).st_mode) and path != os.devnull:
        os.close(fd)
        raise OSError(errno.EINVAL, "not a regular file", path)
    os.set_blocking(fd, True)
    return fd


def _list_candidates(name: bytes, env: dict[bytes, bytes]) -> list[bytes]:
    """Return possible paths of argv[0]: itself if it has a slash, else those in PATH's absolute folders."""
    if b"/" in name:
        return [name]
    return [folder + b"/" + name for folder in env.get(b"PATH", b"").split(b":") if folder.startswith(b"/")]


def _spawn_process(path: bytes, argv: list[bytes], env: dict[bytes, bytes], files: list[int]) -> int:
    """Start `path` in a new session with `files` as 0, 1, 2, ... Raises OSError if it cannot be executed."""
    actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(files)]
    try:
        return os.posix_spawn(
            path, argv, env, file_actions=actions, setsid=True, setsigmask=(), setsigdef=_DEFAULTS
        )
    except NotImplementedError:  # a Python built for a C library from before 2018 lacks setsid for this call
        return _fork_exec(path, argv, env, files)


def _fork_exec(path: bytes, argv: list[bytes], env: dict[bytes, bytes], files: list[int]) -> int:
    reader, failed = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            for number, fd in enumerate(files):
                os.dup2(fd, number)
            for number in _DEFAULTS:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            os.execve(path, argv, env)
        except OSError as exc:
            os.write(failed, b"%d" % (exc.errno or errno.EIO))
        finally:
            os._exit(127)
    os.close(failed)
    number_text = os.read(reader, 16)  # the pipe is empty once exec has closed the other end
    os.close(reader)
    if number_text:
        os.waitpid(pid, 0)
        raise OSError(int(number_text), "exec")
    return pid


def _find_group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except OSError:
        return 0


def _encode_text(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
