"""Listeners that are shared, duplicated, inherited, shut down, closed and opened again."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

from transcript import *


def threads():
    """Several threads in one blocking accept."""
    server = listening()
    taken, lock = [], threading.Lock()

    def work():
        for _ in range(10):
            connection, address = server.accept()
            with lock:
                taken.append((connection, address))

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    peers = [client() for _ in range(40)]
    for worker in workers:
        worker.join(PATIENCE)
    names = sorted(peer.getsockname() for peer in peers)
    say("each taken once", sorted(address for _, address in taken) == names)


def serve(server, count):
    for _ in range(count):
        connection, _ = take(server)
        connection.sendall(b"%d" % os.getpid())
        connection.close()


def forked():
    """Children that inherit the listener, and a parent that closes it."""
    server = listening()
    children = []
    for _ in range(3):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                say_name = show(server.getsockname())
                serve(server, 4)
                status = 0 if say_name[1] == "PORT" else 2
            finally:
                os._exit(status)
        children.append(pid)
    server.close()
    answers = [client().recv(20) for _ in range(12)]
    counts = sorted(answers.count(b"%d" % pid) for pid in children)
    say("each child took", counts)
    say("exits", [os.waitpid(pid, 0)[1] for pid in children])


def fork_per_connection():
    server = listening()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number in range(5):
        peer = client()
        connection, _ = take(server)
        pid = os.fork()
        if pid == 0:
            server.close()
            connection.sendall(b"%d" % number)
            connection.close()
            os._exit(0)
        connection.close()
        say("answer", peer.recv(10) + peer.recv(10))
        say("exit", os.waitpid(pid, 0)[1])
    peer = client()
    say("the parent serves on", echo(take(server)[0], peer))


def again():
    """Close and listen again, on the same port, several times."""
    for turn in range(4):
        server = listening()
        say(turn, show(server.getsockname()))
        peer = client()
        say(turn, echo(take(server)[0], peer))
        server.close()


def duplicates():
    server = listening()
    copies = [server.dup(), socket.socket(fileno=os.dup2(server.fileno(), 60))]
    copies.append(socket.socket(fileno=fcntl.fcntl(server, fcntl.F_DUPFD_CLOEXEC, 70)))
    for copy in copies:
        say("name", show(copy.getsockname()))
        attempt("listening", copy.getsockopt, socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        attempt("getpeername", copy.getpeername)
        peer = client()
        say(echo(take(copy)[0], peer))
    server.close()
    copies[0].close()
    peer = client()
    say("the last copy", echo(take(copies[2])[0], peer))
    copies[2].setblocking(False)
    say("shared flags", flags(copies[1]))


def several():
    """Five listeners of one process are told apart, and none is taken for a connection."""
    prefix = HOST.rsplit(".", 1)[0]
    hosts = [HOST] + [f"{prefix}.{200 + number}" for number in range(4)]
    servers = [listening(host=host) for host in hosts]
    for host, server in zip(hosts, servers):
        say("its own name", server.getsockname() == (host, PORT))
        attempt("getpeername", server.getpeername)
        attempt("listens", server.getsockopt, socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        attempt("set", server.setsockopt, socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer = client(host)
        taken, _ = take(server)
        attempt("inherited", taken.getsockopt, socket.IPPROTO_TCP, socket.TCP_NODELAY)
        say(echo(taken, peer))
    for host, server in zip(hosts, servers):
        attempt("shutdown", server.shutdown, socket.SHUT_RDWR)
        attempt("accept", server.accept)
        attempt("listen", server.listen)
        peer = client(host)
        say(echo(take(server)[0], peer))


def shut_down():
    """shutdown(2) of a listener wakes who waits, and listen() makes it good again."""
    for how in (socket.SHUT_RDWR, socket.SHUT_RD):
        server = listening()
        results = []

        def work():
            try:
                server.accept()
                results.append("taken")
            except OSError as error:
                results.append(errno.errorcode[error.errno])

        waiting = [threading.Thread(target=work) for _ in range(3)]
        for thread in waiting:
            thread.start()
        time.sleep(QUIET)
        attempt("shutdown", server.shutdown, how)
        for thread in waiting:
            thread.join(PATIENCE)
        say("woken", results)
        say("readable", readable(server, PATIENCE))
        attempt("accept", server.accept)
        attempt("listening", server.getsockopt, socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        attempt("listen", server.listen)
        attempt("listening", server.getsockopt, socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        server.setblocking(False)
        attempt("nobody", server.accept)
        peer = client()
        say(echo(take(server)[0], peer))
        server.close()
    server = listening()
    attempt("half", server.shutdown, socket.SHUT_WR)
    peer = client()
    say(echo(take(server)[0], peer))


CHILD = """
import fcntl, json, os, socket, sys
server = socket.socket(fileno=int(sys.argv[1]))
facts = [server.getsockname()[:1], server.family, server.type, server.getsockopt(1, socket.SO_ACCEPTCONN),
         fcntl.fcntl(server, fcntl.F_GETFL)]
if sys.argv[2] == "listen":
    server.listen()
print(json.dumps(facts), flush=True)
connection, address = server.accept()
connection.sendall(b"from the child")
connection.close()
"""


def inherited():
    """The listener goes to a program that is started with it, before or after listen."""
    for moment in ("listen", "accept"):
        server = bound()
        if moment == "accept":
            server.listen()
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(server.fileno()), moment],
            pass_fds=[server.fileno()],
            stdout=subprocess.PIPE,
        )
        say(moment, json.loads(child.stdout.readline()))
        server.close()
        say("answer", client().recv(20))
        say("exit", child.wait(PATIENCE))


def helpers():
    """Programs that the server starts have nothing of its listener."""
    server = listening()
    code = "import os; print(sorted(os.listdir('/proc/self/fd')))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    say("descriptors of a helper", shown.stdout.strip())
    code = (
        "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(); c = socket.create_connection("
        "s.getsockname()); a, _ = s.accept(); c.sendall(b'x'); print(a.recv(1), s.family, s.type)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    say("a helper's own listener", shown.stdout.strip())
    peer = client()
    say(echo(take(server)[0], peer))


def vforked():
    """Python's subprocess vforks and closes all in the child: the parent's listener must not notice."""
    server = listening()
    for _ in range(5):
        subprocess.run(["true"], close_fds=True, check=True)
        peer = client()
        say(echo(take(server)[0], peer))
    say("name", show(server.getsockname()))
