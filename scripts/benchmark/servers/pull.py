"""The clients of bulk questions: `pull.py HOST:PORT STREAMS SECONDS`.

As many streams as asked for; what comes is thrown away by the kernel (MSG_TRUNC, tcp(7)), so that next to nothing of the
machine goes into the clients. Says what came as one line of JSON.
"""
import json
import socket
import struct
import sys
import threading
import time

BLOCK = 4 * 1024 * 1024
PATIENCE = 10
REQUEST = b"GET /bulk HTTP/1.1\r\nHost: bench\r\n\r\n"


class Stream:
    """One connection."""

    def __init__(self, host, port):
        self.came = 0
        self.failed = None
        self.socket = socket.create_connection((host, port), timeout=PATIENCE)
        self.socket.sendall(REQUEST)
        self.socket.recv(1)
        # A limit of the kernel's instead of python's own, which asks before every call.
        self.socket.settimeout(None)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", PATIENCE, 0))

    def pull(self, until):
        """Until then, or until it breaks."""
        room = bytearray(BLOCK)
        try:
            while time.monotonic() < until:
                came = self.socket.recv_into(room, BLOCK, socket.MSG_TRUNC)
                if not came:
                    self.failed = "closed"
                    return
                self.came += came
        except OSError as error:
            self.failed = "timeout" if isinstance(error, BlockingIOError) else "reset"


def main(address, count, seconds):
    """All of them at one time."""
    host, port = address.split(":")
    streams = [Stream(host, int(port)) for _ in range(int(count))]
    start = time.monotonic()
    threads = [threading.Thread(target=stream.pull, args=(start + float(seconds),)) for stream in streams]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - start
    failed = {}
    for stream in streams:
        if stream.failed:
            failed[stream.failed] = failed.get(stream.failed, 0) + 1
    print(json.dumps({"bytes": sum(stream.came for stream in streams), "seconds": took, "failed": failed}))


main(*sys.argv[1:])
