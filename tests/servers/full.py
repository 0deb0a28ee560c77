"""Accepts with few free descriptors: holds what it accepts until told by SIGUSR1 to answer all (A10)."""
import os
import select
import signal
import socket

SLOT = os.environ.get("FORKFRONT_SLOT", "-")
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind((os.environ["HOST"], int(os.environ["PORT"])))
listener.listen(512)
listener.setblocking(False)
held = []
release = False


def go(*_):
    global release
    release = True


signal.signal(signal.SIGUSR1, go)
refused = 0
while True:
    try:
        select.select([] if refused and not release else [listener], [], [], 0.05)
        held.append(listener.accept()[0])
    except BlockingIOError:
        pass
    except OSError as error:
        refused += 1
        if refused == 1:
            print(f"accept: {error.errno} with {len(held)} held", flush=True)
    if release:
        for connection in held:
            connection.setblocking(True)
            path = connection.recv(4096).split(b" ")[1].decode()
            body = f"{SLOT} {os.getpid()} {path[1:]}\n"
            connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode())
            connection.close()
        held.clear()
