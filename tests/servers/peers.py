"""Who a server is shown at the other end of each connection, by every way there is to ask: one line for each way, to
the client.    peers.py HOST PORT

What begins with "own" is about sockets of the server's own, which have nothing to do with any proxy: "right" or not.
The connection before is kept as standard input: "former".
"""
import ctypes
import os
import socket
import subprocess
import sys
import threading

HOST, PORT = sys.argv[1], int(sys.argv[2])
FAMILY = socket.AF_INET6 if ":" in HOST else socket.AF_INET
SYS_GETPEERNAME, SYS_DUP, SYS_FCNTL, SYS_DUP2, SYS_DUP3 = 52, 32, 72, 33, 292
SO_PEERNAME = 28
libc = ctypes.CDLL(None, use_errno=True)


def show(address):
    return " ".join(str(part) for part in address[:2]) if address else "nobody"


def read_address(length, fill):
    """Calls `fill(buffer, length)`, which writes a sockaddr."""
    buffer, length = ctypes.create_string_buffer(128), ctypes.c_uint(length)
    if fill(buffer, ctypes.byref(length)) != 0:
        return f"errno {ctypes.get_errno()}"
    raw = buffer.raw[: length.value]
    at, size = (8, 16) if FAMILY == socket.AF_INET6 else (4, 4)
    address = socket.inet_ntop(FAMILY, raw[at : at + size])
    return f"{address} {int.from_bytes(raw[2:4], 'big')}"


def name(fd):
    """getpeername of a number, by the C library."""
    return read_address(128, lambda buffer, length: libc.getpeername(fd, buffer, length))


def in_a_thread(fd):
    said = []
    thread = threading.Thread(target=lambda: said.append(name(fd)))
    thread.start()
    thread.join()
    return said[0]


def in_a_child(fd, how=lambda fd: fd):
    told, tell = os.pipe()
    if os.fork() == 0:
        os.write(tell, name(how(fd)).encode())
        os._exit(0)
    os.close(tell)
    said = os.read(told, 200).decode()
    os.close(told)
    os.wait()
    return said


def by_a_program(fd):
    """What a program is told that inherits the connection as its standard input, as CGI programs do."""
    code = "import socket; print(*socket.socket(fileno=0).getpeername()[:2])"
    return subprocess.check_output([sys.executable, "-c", code], stdin=fd, text=True).strip()


def duplicates(fd):
    spare = os.dup(0)
    yield "dup", libc.dup(fd)
    yield "dup2", libc.dup2(fd, 200)
    yield "dup2 over another", libc.dup2(fd, spare)
    yield "dup3", libc.dup3(fd, 201, os.O_CLOEXEC)
    yield "F_DUPFD", libc.fcntl(fd, 0, 202)
    yield "F_DUPFD_CLOEXEC", libc.fcntl64(fd, 1030, 203)
    yield "SYS_dup", libc.syscall(SYS_DUP, fd)
    yield "SYS_dup2", libc.syscall(SYS_DUP2, fd, 204)
    yield "SYS_dup3", libc.syscall(SYS_DUP3, fd, 205, 0)
    yield "SYS_fcntl", libc.syscall(SYS_FCNTL, fd, 0, 206)
    yield "socket.dup", socket.socket(fileno=fd).dup().detach()


def by_every_way(fd):
    yield "getpeername", name(fd)
    yield "SYS_getpeername", read_address(128, lambda buffer, length: libc.syscall(SYS_GETPEERNAME, fd, buffer, length))
    size = 28 if FAMILY == socket.AF_INET6 else 16
    yield "SO_PEERNAME", read_address(size, lambda buffer, length: libc.getsockopt(fd, 1, SO_PEERNAME, buffer, length))
    yield "thread", in_a_thread(fd)
    yield "child", in_a_child(fd)
    yield "duplicate in a child", in_a_child(fd, os.dup)
    subprocess.run(["true"], stdin=fd, stdout=fd, close_fds=True, check=True)
    yield "after a vfork child has moved and closed it", name(fd)
    for way, copy in duplicates(fd):
        yield way, name(copy)
        yield f"{way}, and again", name(os.dup(copy))


def own_connection(number):
    """A connection of the server's own with this number, and what it says of its peer."""
    friend = socket.create_connection(door.getsockname())
    taken, _ = door.accept()
    moved = socket.socket(fileno=os.dup2(taken.fileno(), number, inheritable=False))
    right = moved.getpeername() == friend.getsockname() and moved.getsockname() == friend.getpeername()
    moved.close()
    return "right" if right else f"{moved}"


def reused(number):
    """The number of a connection that has ended, by every way, belongs to another socket."""
    kept = os.dup(number)
    # Behind the shim's back, as io_uring does it.
    libc["__close"](number)
    friend = socket.create_connection(door.getsockname())
    taken, _ = door.accept()
    assert number in (taken.fileno(), friend.fileno()), "the number was not given out again"
    right = taken.getpeername() == friend.getsockname() and friend.getpeername() == door.getsockname()
    yield "own after an unseen close", "right" if right else f"{taken} {friend}"
    friend.close()
    taken.close()
    for way in ("close", "close_range", "SYS_close", "dup2"):
        os.dup2(kept, 210)
        if way == "close":
            os.close(210)
        elif way == "close_range":
            libc.close_range(210, 210, 0)
        elif way == "SYS_close":
            libc.syscall(3, 210)
        yield f"own after {way}", own_connection(210)
    yield "the last duplicate", name(kept)


server = socket.socket(FAMILY)
server.bind((HOST, PORT))
server.listen()
door = socket.create_server(("127.0.0.1", 0))
print("listening", flush=True)
while True:
    connection, address = server.accept()
    fd = connection.detach()
    lines = [("accept", show(address)), ("program", by_a_program(fd)), *by_every_way(fd), ("former", name(0))]
    sock = socket.socket(fileno=fd)
    lines.append(("getsockname", show(sock.getsockname())))
    lines += reused(sock.detach())
    os.dup2(200, 0)
    # Not what the shim has put away, further up.
    for number in set(range(3, 700)) - {server.fileno(), door.fileno()}:
        try:
            os.close(number)
        except OSError:
            pass
    text = "".join(f"{way}: {said}\n" for way, said in lines)
    os.write(0, f"{text}end\n".encode())
