"""Addresses, options and flags."""

import ctypes
import os
import socket
import struct

from transcript import *

TCP, IP, IPV6, SOL = socket.IPPROTO_TCP, socket.IPPROTO_IP, socket.IPPROTO_IPV6, socket.SOL_SOCKET
KINDS = ["SO_TYPE", "SO_DOMAIN", "SO_PROTOCOL", "SO_ACCEPTCONN", "SO_ERROR", "SO_REUSEADDR", "SO_KEEPALIVE"]
TCP_SYN_RECV_TO_LISTEN = 10


def describe(when, server):
    say(f"{when} getsockname", show(server.getsockname()))
    attempt(f"{when} getpeername", server.getpeername)
    say(f"{when} flags", flags(server))
    for name in KINDS:
        attempt(f"{when} {name}", server.getsockopt, SOL, getattr(socket, name))
    attempt(f"{when} TCP_NODELAY", server.getsockopt, TCP, socket.TCP_NODELAY)
    say(f"{when} TCP_INFO state", server.getsockopt(TCP, socket.TCP_INFO, 8)[0] == TCP_SYN_RECV_TO_LISTEN)


def listener():
    server = bound()
    describe("bound", server)
    server.listen()
    describe("listening", server)
    server.setblocking(False)
    os.set_inheritable(server.fileno(), True)
    describe("changed", server)
    server.listen(5)
    describe("listening again", server)


def show_copies(taken, peer):
    """Whatever is a duplicate has the same names."""
    numbers = [os.dup(taken.fileno()), os.dup2(taken.fileno(), 90), taken.dup().detach()]
    numbers.append(fcntl.fcntl(taken, fcntl.F_DUPFD, 91))
    for number in numbers:
        copy = socket.socket(fileno=number)
        say("a duplicate is the same", copy.getpeername() == peer.getsockname() and copy.getsockname() == peer.getpeername())
        copy.close()


def connection():
    """What is accepted, by every way of accepting."""
    server = listening()
    for nonblocking in (False, True):
        server.setblocking(not nonblocking)
        for blocking_client in (False, True):
            peer = client()
            taken, address = take(server)
            say("peer is the client", address == peer.getsockname())
            say("getpeername is the client", taken.getpeername() == peer.getsockname())
            say("getsockname is what the client sees", taken.getsockname() == peer.getpeername())
            say("address", [part for index, part in enumerate(address) if index != 1])
            say("flags", flags(taken))
            for name in KINDS:
                attempt(name, taken.getsockopt, SOL, getattr(socket, name))
            show_copies(taken, peer)
            taken.setblocking(blocking_client)
            taken.setblocking(True)
            say(echo(taken, peer))
            taken.close()
            say("end of file", peer.recv(1))


def raw_accept():
    """accept and accept4 as C calls them: flags, short buffers, no buffer."""
    libc = ctypes.CDLL(None, use_errno=True)
    server = listening()
    fd = server.fileno()

    def call(what, room, flags_asked=None, give_address=True):
        peer = client()
        assert readable(server)
        buffer, length = ctypes.create_string_buffer(128), ctypes.c_uint(room)
        where = ctypes.byref(buffer) if give_address else None
        long = ctypes.byref(length) if give_address else None
        if flags_asked is None:
            made = libc.accept(fd, where, long)
        else:
            made = libc.accept4(fd, where, long, flags_asked)
        if made < 0:
            say(what, os.strerror(ctypes.get_errno()))
            return
        taken = socket.socket(fileno=made)
        filled = buffer.raw[: min(room, length.value)]
        port = struct.pack("!H", peer.getsockname()[1])
        shown = filled.replace(port, b"PP") if len(filled) >= 4 else filled
        untouched = buffer.raw[min(room, length.value) :].count(0) == 128 - min(room, length.value)
        say(what, f"{shown.hex()} of {length.value}, rest untouched {untouched}, {flags(taken)}")
        say(what, echo(taken, peer))

    call("whole", 128)
    call("exact", 28 if FAMILY == socket.AF_INET6 else 16)
    call("short", 8)
    call("two", 2)
    call("none", 0)
    call("null", 0, None, False)
    call("accept4 plain", 128, 0)
    call("accept4 cloexec", 128, socket.SOCK_CLOEXEC)
    call("accept4 nonblock", 128, socket.SOCK_NONBLOCK)
    call("accept4 both", 128, socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, False)
    call("accept4 wrong flags", 128, 1)


OPTIONS = [
    (SOL, socket.SO_KEEPALIVE, 1),
    (SOL, socket.SO_RCVBUF, 50_000),
    (SOL, socket.SO_SNDBUF, 60_000),
    (SOL, socket.SO_OOBINLINE, 1),
    (SOL, socket.SO_RCVLOWAT, 3),
    (TCP, socket.TCP_NODELAY, 1),
    (TCP, socket.TCP_KEEPIDLE, 77),
    (TCP, socket.TCP_KEEPINTVL, 33),
    (TCP, socket.TCP_KEEPCNT, 4),
    (TCP, socket.TCP_USER_TIMEOUT, 12_345),
    (TCP, socket.TCP_LINGER2, 20),
    (TCP, socket.TCP_NOTSENT_LOWAT, 16_384),
    (IP, socket.IP_TOS, 0x10),
    (IP, socket.IP_TTL, 44),
]


def read_options(what, sock):
    for level, name, _ in OPTIONS:
        say(f"{what} option {level}/{name}", sock.getsockopt(level, name))
    say(f"{what} linger", sock.getsockopt(SOL, socket.SO_LINGER, 8).hex())
    say(f"{what} congestion", sock.getsockopt(TCP, socket.TCP_CONGESTION, 16).split(b"\0")[0])


def set_options(sock):
    for level, name, value in OPTIONS:
        attempt(f"set {level}/{name}", sock.setsockopt, level, name, value)
    sock.setsockopt(SOL, socket.SO_LINGER, struct.pack("ii", 1, 7))


def options_at(when):
    """Options set at one moment: read back from the listener and from what it accepts."""
    server = plain()
    server.setsockopt(SOL, socket.SO_REUSEADDR, 1)
    read_options("fresh", server)
    if when == "before bind":
        set_options(server)
    server.bind((HOST, PORT))
    if when == "after bind":
        set_options(server)
    server.listen()
    if when == "after listen":
        set_options(server)
    read_options("listener", server)
    peer = client()
    taken, _ = take(server)
    read_options("taken", taken)
    attempt("unknown option", server.getsockopt, TCP, 9999)
    attempt("unknown option set", server.setsockopt, TCP, 9999, 1)


def options_before_bind():
    options_at("before bind")


def options_after_bind():
    options_at("after bind")


def options_after_listen():
    options_at("after listen")


def half_closed():
    """A client that has said all and closed its side before it is accepted, and one that has reset."""
    server = listening()
    peer = client()
    peer.sendall(b"all")
    peer.shutdown(socket.SHUT_WR)
    assert readable(server)
    taken, address = take(server)
    say("address is the client's", address == peer.getsockname())
    say("getpeername is the client's", taken.getpeername() == peer.getsockname())
    show_copies(taken, peer)
    say("read", taken.recv(10) + taken.recv(10))
    taken.sendall(b"answer")
    say("client reads", peer.recv(10))
    gone = client()
    name = gone.getsockname()
    gone.setsockopt(SOL, socket.SO_LINGER, struct.pack("ii", 1, 0))
    gone.close()
    taken, address = take(server)
    say("address of a client that has gone", address == name)
    attempt("its getpeername", taken.getpeername)
    attempt("its recv", taken.recv, 1)
