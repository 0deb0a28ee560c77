"""asyncio streams. HOST and PORT from the environment."""
import asyncio
import os

SLOT = os.environ.get("FORKFRONT_SLOT", "-")


async def answer(reader, writer):
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split(b" ")[1].decode()
        body = f"{SLOT} {os.getpid()} {path[1:]}\n"
        writer.write(
            f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()
        )
        await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(answer, os.environ.get("HOST"), int(os.environ["PORT"]))
    await server.serve_forever()


asyncio.run(main())
