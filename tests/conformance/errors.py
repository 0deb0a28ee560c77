"""What goes wrong on a listener, and how the server hears of it."""

import fcntl
import resource
import signal
import socket
import struct
import threading
import time

from transcript import *


def calls():
    server = plain()
    attempt("accept on a fresh socket", server.accept)
    attempt("address of another host", server.bind, ("192.0.2.1" if FAMILY == socket.AF_INET else "2001:db8::1", PORT))
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    attempt("bind", server.bind, (HOST, PORT))
    attempt("bind again", server.bind, (HOST, PORT))
    attempt("bind elsewhere", server.bind, (HOST, PORT + 1))
    attempt("accept before listen", server.accept)
    attempt("shutdown before listen", server.shutdown, socket.SHUT_RDWR)
    attempt("listen", server.listen, 5)
    server.setblocking(False)
    attempt("accept with nobody there", server.accept)
    attempt("getpeername", server.getpeername)
    attempt("listen with backlog 0", server.listen, 0)
    attempt("listen with backlog -1", server.listen, -1)
    attempt("shutdown nonsense", server.shutdown, 7)
    other = plain()
    attempt("second bind", other.bind, (HOST, PORT))
    other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    attempt("second bind with SO_REUSEADDR", other.bind, (HOST, PORT))
    fd = server.fileno()
    server.close()
    attempt("closed", fcntl.fcntl, fd, fcntl.F_GETFD)
    attempt("bind after close", other.bind, (HOST, PORT))


def others_left_alone():
    """Sockets that are none of the primary's business."""
    server = listening()
    any_port = plain()
    any_port.bind((HOST, 0))
    any_port.listen()
    say("port 0 is a port", any_port.getsockname()[1] > 0)
    peer = socket.create_connection((target(), any_port.getsockname()[1]))
    taken, address = any_port.accept()
    say("port 0", echo(taken, peer))
    say("port 0 address", address == peer.getsockname())
    datagrams = socket.socket(FAMILY, socket.SOCK_DGRAM)
    attempt("datagrams on the same port", datagrams.bind, (HOST, PORT))
    say("datagram name", show(datagrams.getsockname()))
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    attempt("accept on a pair", left.accept)
    attempt("listen on a pair", left.listen)
    say("name of a pair", left.getsockname())
    say("name of its peer", left.getpeername())
    attempt("type", left.getsockopt, socket.SOL_SOCKET, socket.SO_TYPE)
    attempt("shutdown", left.shutdown, socket.SHUT_WR)
    say("end of file", right.recv(1))
    local = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    local.bind(b"\0forkfront-conformance-%d" % os.getpid())
    local.listen()
    friend = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    friend.connect(local.getsockname())
    taken, _ = local.accept()
    say("local", echo(taken, friend))
    peer = client()
    taken, _ = take(server)
    say("listener", echo(taken, peer))


def no_descriptor_left():
    """At the limit accept fails and nothing is lost (KF8)."""
    server = listening()
    server.setblocking(False)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    held = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (48, hard))
    try:
        while True:
            held.append(os.dup(0))
    except OSError as error:
        say("limit reached", errno.errorcode[error.errno])
    attempt("accept with nobody there", server.accept)
    # Only the server is at its limit: the clients are another process.
    os.close(held.pop())
    os.close(held.pop())
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        clients = [client() for _ in range(20)]
        os.write(tell, b"!")
        answers = [peer.recv(10) for peer in clients]
        os._exit(0 if answers == [b"served"] * 20 else 1)
    os.close(tell)
    os.read(told, 1)
    assert readable(server)
    spare = os.dup(0)
    attempt("accept at the limit", server.accept)
    attempt("and again", server.accept)
    say("still readable", readable(server, 0))
    os.close(spare)
    served = 0
    while served < 20:
        taken, _ = take(server)
        taken.sendall(b"served")
        taken.close()
        served += 1
    say("served", served)
    say("the clients", os.waitpid(child, 0)[1])


def threads_at_the_limit():
    """Threads that wait in accept() while others use up the descriptors."""
    server = listening(128)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(tell)
        os.read(told, 1)
        clients = [client() for _ in range(100)]
        answers = [peer.recv(10) for peer in clients]
        os._exit(0 if answers == [b"served"] * 100 else 1)
    # Room for two or three connections beside what is open already.
    top = os.dup(0)
    os.close(top)
    resource.setrlimit(resource.RLIMIT_NOFILE, (top + 3, hard))
    lock, served, refused = threading.Lock(), [], []

    def work():
        while len(served) < 100:
            try:
                taken, _ = server.accept()
            except OSError as error:
                refused.append(error.errno)
                time.sleep(0.002)
                continue
            time.sleep(0.001)
            with lock:
                served.append(1)
            taken.sendall(b"served")
            taken.close()

    workers = [threading.Thread(target=work, daemon=True) for _ in range(6)]
    for worker in workers:
        worker.start()
    os.close(tell)
    say("the clients", os.waitpid(child, 0)[1])
    say("served", len(served))
    say("refused only for want of a descriptor", set(refused) == {errno.EMFILE})
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))


def times_out():
    """SO_RCVTIMEO limits a blocking accept."""
    for moment in ("before bind", "after listen"):
        server = plain()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        patience = struct.pack("qq", 0, 200_000)
        if moment == "before bind":
            server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, patience)
        server.bind((HOST, PORT))
        server.listen()
        if moment == "after listen":
            server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, patience)
        value = struct.unpack("qq", server.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16))
        # Rounded to clock ticks by the kernel.
        say(f"{moment}: time-out", (value[0], value[1] // 10_000))
        attempt(f"{moment}: accept", server.accept)
        server.close()


def interrupted():
    """A signal ends a blocking accept exactly when its handler says so."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    server = listening()
    seen = []
    signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
    main = threading.main_thread().ident
    signal.siginterrupt(signal.SIGUSR1, True)
    threading.Timer(0.2, signal.pthread_kill, (main, signal.SIGUSR1)).start()
    made = libc.accept(server.fileno(), None, None)
    say("interrupted", (made, errno.errorcode[ctypes.get_errno()]))
    signal.siginterrupt(signal.SIGUSR1, False)
    threading.Timer(0.2, signal.pthread_kill, (main, signal.SIGUSR1)).start()
    peers = []
    threading.Timer(0.5, lambda: peers.append(client())).start()
    made = libc.accept(server.fileno(), None, None)
    say("restarted", made >= 0)
    say("handler ran", len(seen) == 2)
