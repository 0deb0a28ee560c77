"""Spawns a helper that looks at itself (its fds, its LD_PRELOAD, its own listener), then serves.

The helper writes what it sees as JSON to HELPER_REPORT.slot; it must see nothing of forkfront's channel."""
import json
import os
import subprocess
import sys

if sys.argv[1:] == ["look"]:
    import socket

    inherited = [os.readlink(f"/proc/self/fd/{fd}") for fd in range(3, 1024) if os.path.lexists(f"/proc/self/fd/{fd}")]
    own = socket.socket()
    own.bind(("127.0.0.1", 0))
    own.listen()
    client = socket.create_connection(own.getsockname())
    accepted, peer = own.accept()
    sockets = sum(link.startswith("socket:") for link in inherited)
    seen = {"fds": inherited, "inherited_sockets": sockets, "peer_ok": peer == client.getsockname(), "family": int(accepted.family)}
    with open(os.environ["HELPER_REPORT"] + "." + os.environ.get("FORKFRONT_SLOT", "-"), "w") as out:
        json.dump(seen, out)
    sys.exit(0)

import socketserver

SLOT = os.environ.get("FORKFRONT_SLOT", "-")


class Answer(socketserver.StreamRequestHandler):
    def handle(self):
        path = self.rfile.readline().split(b" ")[1].decode()
        while self.rfile.readline().strip():
            pass
        body = f"{SLOT} {os.getpid()} {path[1:]}\n"
        self.wfile.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode())


socketserver.TCPServer.allow_reuse_address = True
with socketserver.TCPServer((os.environ["HOST"], int(os.environ["PORT"])), Answer) as server:
    subprocess.run([sys.executable, __file__, "look"], check=True, close_fds=False)
    server.serve_forever()
