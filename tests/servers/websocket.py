"""WebSockets by the package websockets: says hello, then sends back what comes. HOST, PORT: where to listen."""
import asyncio
import logging
import os
import signal

from websockets.asyncio.server import serve

logging.disable()  # of clients that go without a farewell

WHO = f"{os.environ.get('FORKFRONT_SLOT', '-')} {os.getpid()}"


async def echo(socket):
    await socket.send(WHO)
    async for message in socket:
        await socket.send(f"{WHO} {message}")


async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with serve(echo, os.environ.get("HOST"), int(os.environ.get("PORT", "8080"))):
        await stop.wait()


asyncio.run(main())
