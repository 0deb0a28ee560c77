"""The servers behind the peers. All peers of one group run the same program, so that the way the connections come
to it is the only difference between two figures."""
import os
import sys

from .tools import Missing, environment

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "servers")
REUSEPORT_NODE = (23, 1)
"""The first node whose listen() knows reusePort."""


class Server:
    """One server program. `how` is "plain", "reuseport" or "dealt" (by forkfront, through its library)."""

    name = about = ""
    needs = ()
    """Programs that it takes."""
    compiles = False
    """Whether it gets faster while it runs, so that it needs a warm-up worth the name."""

    def __init__(self, tools):
        self.tools = tools

    def command(self, address, how):
        """The words that start one process of it. Raises Missing if it cannot be had that way."""
        raise NotImplementedError

    def env(self, address, how):
        """The variables that it needs."""
        return environment()

    def version(self):
        """What it is, for the report."""
        raise NotImplementedError


class Native(Server):
    """The least that a server can cost: what is measured is the way that connections come."""

    name = "native"
    about = "Rust, one epoll loop (tests/native/hello.rs)"
    needs = ("hello",)

    def command(self, address, how):
        flags = {"plain": ["--plain"], "reuseport": ["--reuseport"], "dealt": []}[how]
        return [self.tools.path("hello"), *flags, address]

    def version(self):
        return self.tools.note_version("forkfront", [self.tools.path("forkfront"), "--version"])


class Node(Server):
    """An unmodified node http server."""

    name = "node"
    about = "node http, unmodified"
    needs = ("node",)
    compiles = True

    def command(self, address, how):
        if how == "reuseport":
            version = self.version()
            if tuple(int(part) for part in version.split(".")[:2]) < REUSEPORT_NODE:
                raise Missing(f"needs node 23.1, whose listen() knows reusePort; this is {version}")
        return [self.tools.path("node"), os.path.join(HERE, "http.js")]

    def env(self, address, how):
        host, port = address.split(":")
        return {**environment(), "HOST": host, "PORT": port, "REUSEPORT": "1" if how == "reuseport" else "0"}

    def version(self):
        return self.tools.note_version("node", [self.tools.path("node"), "--version"])


class Gunicorn(Server):
    """A server that blocks: gunicorn's default, synchronous worker."""

    name = "gunicorn"
    about = "gunicorn, synchronous workers"
    needs = ("gunicorn",)

    def command(self, address, how, workers=1):
        flags = ["--reuse-port"] if how == "reuseport" else []
        return [
            self.tools.path("gunicorn"), "-m", "gunicorn", "-w", str(workers), "-b", address, *flags,
            "--log-level", "error", "--chdir", HERE, "app:wsgi",
        ]

    def version(self):
        return self.tools.note_version("gunicorn", [self.tools.path("gunicorn"), "-m", "gunicorn", "--version"])


class Puma(Server):
    """A threaded ruby server."""

    name = "puma"
    about = "puma, 5 threads each"
    needs = ("puma",)
    compiles = True

    def command(self, address, how, workers=0):
        if how == "reuseport":
            raise Missing("puma has no option for it")
        words = ["-b", f"tcp://{address}", "-e", "production", "-t", "5:5", "-w", str(workers), "-q"]
        # Not from the directory that a config/puma.rb may be in.
        return [self.tools.path("puma"), "-C", "-", *words, os.path.join(HERE, "config.ru")]

    def version(self):
        return self.tools.note_version("puma", [self.tools.path("puma"), "--version"])


class Bulk(Server):
    """A server that sends without end."""

    name = "bulk"
    about = "python, a thread per stream that sends without end"

    def command(self, address, how):
        if how == "reuseport":
            raise Missing("it has no option for it")
        return [sys.executable, os.path.join(HERE, "bulk.py"), address]

    def version(self):
        return self.tools.note_version("python", [sys.executable, "--version"])


SERVERS = {kind.name: kind for kind in (Native, Node, Gunicorn, Puma, Bulk)}
