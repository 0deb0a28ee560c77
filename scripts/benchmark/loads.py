"""The load generators, and what the machine did while they ran.

wrk where it fits: a closed loop of many clients. Our own (tests/native/visitors.rs) for clients that come at a rate,
from many addresses, with a cookie of their own, or that stay. Neither hides a failed request: what failed is
counted by its kind and goes into the report.
"""
import json
import os
import resource
import subprocess
import sys
import time

from .processes import cpu_seconds
from .servers import HERE
from .tools import environment

SPARE = 20
"""Seconds that a load generator gets beyond its time before it counts as hung."""


class Failed(Exception):
    """A load could not be run; says why."""


class Loads:
    """The load generators of one run."""

    def __init__(self, place, tools, clients):
        self.place = place
        self.tools = tools
        self.clients = clients
        # One thread of wrk keeps several workers busy; more of them than needed take the servers' cores.
        self.threads = max(1, len(os.sched_getaffinity(0)) // 4)

    def wrk(self, system, seconds, closing):
        """A closed loop of clients; each request on a connection of its own if `closing`."""
        argv = [self.tools.path("wrk"), "-t", self.threads, "-c", self.clients, "-d", f"{seconds}s", "-s"]
        argv += [os.path.join(HERE, "wrk.lua")]
        argv += ["-H", "Connection: close"] if closing else []
        with Watch(system, self.threads) as watch:
            line = self.run([*argv, f"http://{system.address}/1"], environment(), seconds)
        kinds = ("connect", "read", "write", "status", "timeout")
        failed = {kind: line[kind] for kind in kinds if line[kind]}
        # wrk counts an answer that is not 200 among those that came.
        answered = line["requests"] - line["status"]
        return {
            "rate": answered / line["seconds"],
            "p50": line["p50"],
            "p99": line["p99"],
            "answered": answered,
            "failed": failed,
            **watch.figures(answered),
        }

    def visitors(self, system, seconds, *words):
        """Our own load generator, which takes these further words."""
        with Watch(system, 1) as watch:
            argv = [self.tools.path("visitors"), system.address, "--seconds", seconds, *words]
            line = self.run(argv, {}, seconds)
        return {**visited(line), **watch.figures(line["answered"])}

    def bulk(self, system, seconds, streams):
        """So many streams from the server, thrown away; what is counted is GB."""
        with Watch(system, len(os.sched_getaffinity(0))) as watch:
            argv = [sys.executable, os.path.join(HERE, "pull.py"), system.address, streams, seconds]
            line = self.run(argv, {}, seconds)
        amount = line["bytes"] / 1e9
        return {
            "rate": amount / line["seconds"],
            "answered": amount,
            "failed": line["failed"],
            **watch.figures(amount),
        }

    def run(self, argv, env, seconds):
        """Runs a load generator to its end; its last line is JSON."""
        program = self.place.start(argv, env, "load", stdout=subprocess.PIPE)
        try:
            output, _ = program.child.communicate(timeout=seconds + SPARE)
        except subprocess.TimeoutExpired as error:
            raise Failed(f"{os.path.basename(argv[0])} did not end") from error
        finally:
            self.place.end([program])
        lines = output.decode().splitlines()
        if program.child.returncode != 0 or not lines:
            raise Failed(f"{os.path.basename(argv[0])}: {program.last_words()}")
        return json.loads(lines[-1])

    def crowd(self, system, count, seconds):
        """Opens `count` connections, one request each, and keeps them until the value is closed."""
        return Crowd(self, system, count, seconds)


class Crowd:
    """Connections that stay open."""

    def __init__(self, loads, system, count, seconds):
        self.loads = loads
        # A port on each of several addresses: one address has fewer than 30,000.
        sources = 1 + count // 5000
        words = ["--count", count, "--clients", loads.clients, "--sources", sources, "--hold"]
        argv = [loads.tools.path("visitors"), system.address, "--seconds", seconds, *words]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.program = loads.place.start(argv, {}, "crowd", **pipes)
        line = self.program.child.stdout.readline()
        if not line:
            self.loads.place.end([self.program])
            raise Failed(f"visitors: {self.program.last_words()}")
        self.opened = visited(json.loads(line))

    def close(self):
        """Ends them; returns how many the server had ended before."""
        child = self.program.child
        try:
            output, _ = child.communicate(timeout=SPARE)
        except subprocess.TimeoutExpired as error:
            raise Failed("visitors did not end") from error
        finally:
            self.loads.place.end([self.program])
        return json.loads(output)["lost"]


def visited(line):
    """A line of our own load generator, in the words of the report."""
    return {
        "rate": line["answered"] / max(line["seconds"], 1e-9),
        "p50": line["latency_us"]["p50"],
        "p99": line["latency_us"]["p99"],
        "answered": line["answered"],
        "failed": line["failed"],
        "by_pid": line["by_pid"],
    }


class Watch:
    """CPU of everybody while a load runs."""

    def __init__(self, system, threads):
        self.system = system
        self.threads = threads
        self.cores = len(os.sched_getaffinity(0))

    def __enter__(self):
        self.pids, self.front = self.system.pids(), self.system.front_pids()
        self.before = {pid: cpu_seconds(pid) for pid in self.pids}
        self.generator = children_cpu()
        self.machine = machine_cpu()
        self.start = time.monotonic()
        return self

    def __exit__(self, *_):
        self.wall = time.monotonic() - self.start
        self.generator = children_cpu() - self.generator
        taken, idle, every = (now - before for now, before in zip(machine_cpu(), self.machine))
        self.taken, self.busy = taken, 1 - idle / max(every, 1e-9)
        self.used = {pid: max(0.0, cpu_seconds(pid) - start) for pid, start in self.before.items()}

    def figures(self, answered):
        """CPU per request, and what was the limit."""
        servers = sum(self.used.values())
        front = sum(used for pid, used in self.used.items() if pid in self.front)
        each = 1e6 / answered if answered else None
        return {
            "cpu_us": servers * each if each else None,
            "front_us": front * each if each and self.system.front else None,
            "generator": self.generator / self.wall,
            "servers": servers / self.wall,
            "others": max(0.0, self.taken - servers - self.generator) / (self.wall * self.cores),
            "limit": self.limit(),
        }

    def limit(self):
        """What kept the figure from being higher."""
        if self.generator >= 0.93 * self.threads * self.wall:
            return "generator"
        return "cores" if self.busy > 0.93 else "server"


def children_cpu():
    """CPU of the children that have ended: between two calls, that of the load generator."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def machine_cpu():
    """What processes (and the host, of a virtual machine) took, idle time and all time so far, in seconds, of the cores
    that this process may use."""
    ours = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    tick = os.sysconf("SC_CLK_TCK")
    with open("/proc/stat", encoding="ascii") as file:
        lines = [line.split() for line in file if line.startswith("cpu")]
    # proc(5): user, nice, system, idle, iowait, irq, softirq, steal.
    fields = [sum(column) / tick for column in zip(*([int(f) for f in line[1:9]] for line in lines if line[0] in ours))]
    return sum(fields[:3]) + fields[7], sum(fields[3:5]), sum(fields)
