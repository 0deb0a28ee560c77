"""Four threads in a blocking accept of one socket; MODE=prefork: four processes forked after listen."""
import os
import socket
import threading

SLOT = os.environ.get("FORKFRONT_SLOT", "-")


def serve(listener):
    while True:
        connection, _ = listener.accept()
        with connection:
            head = b""
            try:
                while b"\r\n\r\n" not in head:
                    part = connection.recv(4096)
                    if not part:
                        break
                    head += part
                else:
                    path = head.split(b" ")[1].decode()
                    body = f"{SLOT} {os.getpid()} {path[1:]}\n"
                    connection.sendall(
                        f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()
                    )
            except ConnectionError:
                pass


listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind((os.environ["HOST"], int(os.environ["PORT"])))
listener.listen(128)
if os.environ.get("MODE") == "prefork":
    for _ in range(3):
        if os.fork() == 0:
            break
    serve(listener)
for _ in range(3):
    threading.Thread(target=serve, args=(listener,)).start()
serve(listener)
