"""The server of bulk questions: `bulk.py HOST:PORT`.

GET /bulk gets bytes without end; anything else the process that answers, as of the other servers. A thread for each
connection of a few: what it does is one system call for a MB. The threads stay, so that their CPU can be counted.
"""
import os
import socket
import sys
import threading

BLOCK = bytes(1024 * 1024)
HEAD_MAX = 4096
THREADS = 32
"""More than there are streams, or clients that warm it up."""


def main(address):
    """Serves until it is ended."""
    host, port = address.split(":")
    with socket.create_server((host, int(port)), backlog=4096) as listener:
        threads = [threading.Thread(target=accept, args=(listener,)) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def accept(listener):
    """One client after the other."""
    while True:
        serve(listener.accept()[0])


def serve(connection):
    """One client, to the end."""
    with connection:
        try:
            while converse(connection):
                pass
        except OSError:
            # It has had enough.
            pass


def converse(connection):
    """One request; whether there may be another."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        part = connection.recv(HEAD_MAX)
        head += part
        if not part or len(head) > HEAD_MAX:
            return False
    path = head.split(b" ", 2)[1].decode().lstrip("/")
    if path == "bulk":
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        while True:
            connection.sendall(BLOCK)
    body = f"{os.environ.get('BENCH_INDEX', '-')} {os.getpid()} {path}\n"
    connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
    return b"connection: close" not in head.lower()


main(sys.argv[1])
