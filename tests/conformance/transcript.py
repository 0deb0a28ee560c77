"""What a server sees of its listening socket, written down line by line.

Run twice by tests/conformance.rs, once on a real listener and once as a worker of the real program: the two
transcripts must be equal. So nothing that may differ between two runs is written: ports and pids only as
"the client's" and "the child's", and whatever takes time is waited for.

    transcript.py SECTION FILE        HOST and PORT say where; FILE appears when the section is complete
"""

import errno
import fcntl
import importlib
import os
import select
import signal
import socket
import stat
import sys

HOST = os.environ["HOST"]
PORT = int(os.environ["PORT"])
FAMILY = socket.AF_INET6 if ":" in HOST else socket.AF_INET
# How long something is given that must come, and something that must not.
PATIENCE, QUIET = 10.0, 0.25

lines = []


def say(what, value=""):
    lines.append(f"{what}: {value}")


def attempt(what, call, *args):
    """Writes down what a call returns, or the errno it fails with; returns the value, None for a failure."""
    try:
        value = call(*args)
    except OSError as error:
        say(what, errno.errorcode.get(error.errno, error))
        return None
    shown = isinstance(value, (int, str, bytes, bool))
    say(what, value if shown else "ok")
    return value


def plain(family=None):
    return socket.socket(family or FAMILY, socket.SOCK_STREAM)


def bound(**options):
    server = plain(options.get("family"))
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((options.get("host", HOST), PORT))
    return server


def listening(backlog=64, **options):
    server = bound(**options)
    server.listen(backlog)
    return server


def target():
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(HOST, HOST)


def client(host=None):
    made = socket.create_connection((host or target(), PORT), PATIENCE)
    made.settimeout(PATIENCE)
    return made


def readable(server, seconds=PATIENCE):
    """Waits for a connection; on a real listener it is there at once, through the primary a moment later."""
    return bool(select.select([server], [], [], seconds)[0])


def take(server):
    assert readable(server), "no connection came"
    return server.accept()


def echo(taken, peer):
    """Proves that the two ends are of one connection."""
    token = os.urandom(8)
    peer.sendall(token)
    got = b""
    while len(got) < 8:
        part = taken.recv(8 - len(got))
        if not part:
            return "closed"
        got += part
    taken.sendall(got)
    back = b""
    while len(back) < 8:
        back += peer.recv(8 - len(back))
    return "connected" if got == token == back else "confused"


def flags(sock):
    status, descriptor = (fcntl.fcntl(sock, command) for command in (fcntl.F_GETFL, fcntl.F_GETFD))
    return f"{oct(status)} {descriptor} socket={stat.S_ISSOCK(os.fstat(sock.fileno()).st_mode)}"


def show(address):
    """An address without the port that differs between runs."""
    return [PORT_NAME.get(part, part) if index == 1 else part for index, part in enumerate(address)]


PORT_NAME = {PORT: "PORT"}


def main():
    section, path = sys.argv[1:3]
    # Deadlines of a whole section: a call that blocks for ever fails the test, not the machine.
    signal.alarm(60)
    sys.path.insert(0, os.path.dirname(__file__))
    sys.modules["transcript"] = sys.modules["__main__"]
    module, function = section.split(".")
    try:
        getattr(importlib.import_module(module), function)()
        say("end")
    except Exception as error:  # noqa: BLE001
        import traceback

        say("raised", "".join(traceback.format_exception(error)))
    with open(path + ".part", "w") as out:
        out.write("\n".join(lines) + "\n")
    os.rename(path + ".part", path)
    if "FORKFRONT_SLOT" in os.environ:
        signal.alarm(0)
        signal.pause()


if __name__ == "__main__":
    main()
