"""Starting, watching and ending processes.

Everything that a run starts belongs to one Place, which ends it, by pid, when it is left in whatever way: by
return, by an exception, by Ctrl-C. A child also gets a SIGTERM from the kernel should this process be killed.
"""
import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

MARK = "FORKFRONT_BENCH"
"""Variable by which the processes of one system are found again, whoever their parent is by then."""
PATIENCE = 8.0
"""Seconds from SIGTERM to SIGKILL."""
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


def die_with_parent():
    """Runs in the child between fork and exec."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Program:
    """One process that was started here, in a session of its own, its output in a file."""

    def __init__(self, argv, env, log, stdin=subprocess.DEVNULL, stdout=None):
        self.argv = [str(word) for word in argv]
        self.log = log
        with open(log, "ab") as sink:
            self.child = subprocess.Popen(
                self.argv,
                env=env,
                stdin=stdin,
                stdout=stdout or sink,
                stderr=sink,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        self.pid = self.child.pid

    def ended(self):
        """Whether it is gone. It is left a zombie, so that its pid belongs to nobody else before the end."""
        if self.reaped():
            return True
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def reaped(self):
        """Whether its pid may be another's by now."""
        return self.child.returncode is not None

    def last_words(self):
        """The last line that it printed, for whoever wants to know why it failed."""
        with open(self.log, encoding="utf-8", errors="replace") as log:
            lines = [line.strip() for line in log if line.strip()]
        return lines[-1][:200] if lines else f"{self.argv[0]} said nothing"


class Place:
    """A directory for one run, and all that was started in it."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="forkfront-bench-")
        self.programs = []
        self.addresses = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # A second Ctrl-C would leave processes behind.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        self.end(self.programs)
        shutil.rmtree(self.directory, ignore_errors=True)

    def file(self, name):
        """A path in the directory."""
        return os.path.join(self.directory, name)

    def start(self, argv, env=None, name="program", mark="-", **pipes):
        """Starts a program that is ended at the latest with the place."""
        everything = {**os.environ, **(env or {}), MARK: f"{os.getpid()}-{mark}"}
        program = Program(argv, everything, self.file(f"{name}.log"), **pipes)
        self.programs.append(program)
        return program

    def address(self):
        """A loopback address that nobody else uses, with a free port there: `127.A.B.C:PORT`."""
        self.addresses += 1
        host = f"127.{65 + (os.getpid() >> 8) % 64}.{os.getpid() & 255}.{1 + self.addresses % 250}"
        with contextlib.closing(socket.socket()) as probe:
            probe.bind((host, 0))
            return "%s:%d" % probe.getsockname()

    def end(self, programs):
        """Asks them to end, and kills what does not: them and all that descends from them."""
        programs = list(programs)
        roots = [program.pid for program in programs if not program.reaped()]
        family = members(roots)
        for pid in roots:
            signal_to(pid, signal.SIGTERM)
        limit = time.monotonic() + PATIENCE
        while time.monotonic() < limit and any(alive(pid, born) for pid, born in family.items()):
            time.sleep(0.02)
        for pid, born in family.items():
            if alive(pid, born):
                signal_to(pid, signal.SIGKILL)
        for program in programs:
            program.child.wait()
            for pipe in (program.child.stdin, program.child.stdout):
                if pipe:
                    pipe.close()
        self.programs = [program for program in self.programs if program not in programs]


def signal_to(pid, number):
    """One that is gone already is fine."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def alive(pid, born):
    """Whether the process of that pid is still the one that began then, and no zombie."""
    stat = stat_of(pid)
    return stat is not None and stat["born"] == born and stat["state"] != "Z"


def stat_of(pid):
    """State, parent, session and start time of a process; `None` if there is none."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    # proc(5), counted from the field behind the name.
    return {
        "state": fields[0],
        "parent": int(fields[1]),
        "session": int(fields[3]),
        "cpu": (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"),
        "born": int(fields[19]),
    }


def members(roots, mark=None):
    """All processes that descend from `roots`, sit in their sessions or carry the mark: pid to start time."""
    stats = {int(name): stat_of(name) for name in os.listdir("/proc") if name.isdigit()}
    stats = {pid: stat for pid, stat in stats.items() if stat}
    found = {pid for pid in roots if pid in stats}
    found |= {pid for pid, stat in stats.items() if stat["session"] in found}
    if mark:
        found |= {pid for pid in stats if marked(pid, mark)}
    grown = True
    while grown:
        more = {pid for pid, stat in stats.items() if stat["parent"] in found} - found
        found |= more
        grown = bool(more)
    return {pid: stats[pid]["born"] for pid in found}


def marked(pid, mark):
    """Whether the process began with that mark in its environment."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return f"{MARK}={os.getpid()}-{mark}".encode() in file.read().split(b"\0")
    except OSError:
        return False


def cpu_seconds(pid):
    """CPU that all threads of a process have used, to the nanosecond where the kernel tells it."""
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
        total = 0
        for task in tasks:
            with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as file:
                total += int(file.read().split()[0])
        return total / 1e9
    except (OSError, IndexError):
        stat = stat_of(pid)
        return stat["cpu"] if stat else 0.0


def memory_kib(pid, kind="Pss"):
    """Resident memory; `Pss` counts a page that n processes share as 1/n in each."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            for line in file:
                if line.startswith(kind + ":"):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0


def descriptors(pid):
    """How many files the process has open."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0
