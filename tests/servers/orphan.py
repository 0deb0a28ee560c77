"""Forks after listen a child that accepts, sleeps on each connection and outlives its parent (A15)."""
import os
import signal
import time

import socket

SLOT = os.environ.get("FORKFRONT_SLOT", "-")
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind((os.environ["HOST"], int(os.environ["PORT"])))
listener.listen(128)
if os.fork() == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    held = []
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(0.01)
    while True:
        held.append(listener.accept())  # eats, never answers
while True:
    connection, _ = listener.accept()
    with connection:
        path = connection.recv(4096).split(b" ")[1].decode()
        body = f"{SLOT} {os.getpid()} {path[1:]}\n"
        connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode())
