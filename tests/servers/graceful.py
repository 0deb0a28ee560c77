"""asyncio streams, kept alive; told to stop, it finishes what it has begun. HOST and PORT from the environment."""
import asyncio
import os
import signal

SLOT = os.environ.get("FORKFRONT_SLOT", "-")
stopping = False
idle = set()
tasks = set()


async def serve(reader, writer):
    tasks.add(asyncio.current_task())
    try:
        while await exchange(reader, writer):
            idle.add(writer)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        idle.discard(writer)
        tasks.discard(asyncio.current_task())
        writer.close()


async def exchange(reader, writer):
    """One request and its answer; whether another may follow."""
    head = await reader.readuntil(b"\r\n\r\n")
    idle.discard(writer)
    path = head.split(b" ")[1].decode()
    if path.startswith("/slow"):
        await asyncio.sleep(2)
    last = stopping or b"connection: close" in head.lower()
    body = f"{SLOT} {os.getpid()} {path[1:]}\n"
    closing = "Connection: close\r\n" if last else ""
    writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n{closing}\r\n{body}".encode())
    await writer.drain()
    return not last


async def main():
    global stopping
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    server = await asyncio.start_server(serve, os.environ.get("HOST"), int(os.environ["PORT"]))
    await told.wait()
    stopping = True
    server.close()
    await asyncio.sleep(0.05)  # what was accepted in this turn of the loop becomes a task in one of the next
    for writer in list(idle):
        writer.close()
    while tasks:
        await asyncio.wait(tasks)


asyncio.run(main())
