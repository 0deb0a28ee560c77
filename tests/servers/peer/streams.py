"""asyncio streams: who asks, on a connection that is kept open. HOST and PORT say where."""
import asyncio
import os


async def serve(reader, writer):
    name = writer.get_extra_info("peername")
    body = f"{name[0]} {name[1]}\n".encode()
    try:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main():
    server = await asyncio.start_server(serve, os.environ["HOST"], int(os.environ["PORT"]))
    await server.serve_forever()


asyncio.run(main())
