"""Holds connections in ways that scenarios ask for, one thread, a blocking accept. HOST and PORT from the environment.

GET /keep   held open, and never looked at again
GET /pass   passed on to a child, which answers the next request on it; this process closes its own copy
otherwise   `slot pid path` and a close
"""
import os
import socket
import subprocess

SLOT = os.environ.get("FORKFRONT_SLOT", "-")
CHILD = r"""
while read -r line && [ "$line" != "$(printf '\r')" ]; do :; done
printf 'HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\npassed\n'
"""


def answer(path):
    body = f"{SLOT} {os.getpid()} {path[1:]}\n"
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


kept = []
family = socket.AF_INET6 if ":" in os.environ["HOST"] else socket.AF_INET
listener = socket.create_server((os.environ["HOST"], int(os.environ["PORT"])), family=family)
while True:
    connection, _ = listener.accept()
    words = connection.recv(4096).decode().split()
    path = words[1] if len(words) > 1 else "/"
    if path == "/keep":
        kept.append(connection)
        continue
    if path == "/pass":
        subprocess.Popen(["sh", "-c", CHILD], stdin=connection, stdout=connection)
    else:
        connection.sendall(answer(path))
    connection.close()
