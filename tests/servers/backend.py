"""A server behind a proxy: answers `- PID ID` to GET /ID on one event loop.

HOST, PORT   where to listen
JOURNAL      one line per accepted connection, request and answer, with the client that the PROXY header names:
             `accepted PID CLIENT`, `asked ...`, `answered ...`
"""
import asyncio
import os

JOURNAL = os.open(os.environ["JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
PID = os.getpid()


class Conversation(asyncio.Protocol):
    """One connection: the line of the PROXY protocol (version 1), then requests."""

    def connection_made(self, transport):
        self.transport = transport
        self.bytes = b""
        self.client = None

    def data_received(self, data):
        self.bytes += data
        if self.client is None:
            line, found, rest = self.bytes.partition(b"\r\n")
            if not found:
                return
            # PROXY TCP4 SOURCE DESTINATION PORT PORT; of a check it is PROXY UNKNOWN
            words, self.bytes = line.decode().split(" "), rest
            self.client = words[2] if len(words) > 2 else "check"
            self.note("accepted")
        while not self.transport.is_closing():
            head, found, rest = self.bytes.partition(b"\r\n\r\n")
            if not found:
                return
            self.bytes = rest
            self.answer(head)

    def answer(self, head):
        self.note("asked")
        path = head.split(b" ", 2)[1].decode()[1:]
        body = f"- {PID} {path}\n"
        last = b"connection: close" in head.lower()
        close = "Connection: close\r\n" if last else ""
        self.transport.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n{close}\r\n{body}".encode())
        self.note("answered")
        if last:
            self.transport.close()

    def note(self, what):
        os.write(JOURNAL, f"{what} {PID} {self.client}\n".encode())


async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Conversation, os.environ["HOST"], int(os.environ["PORT"]), backlog=512)
    await server.serve_forever()


asyncio.run(main())
