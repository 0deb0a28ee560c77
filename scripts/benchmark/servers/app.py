"""For gunicorn: answers `SLOT PID PATH`; SLOW_MS makes worker 0 sleep so long over each request."""
import os
import time

SLOT = os.environ.get("FORKFRONT_SLOT", os.environ.get("BENCH_INDEX", "-"))
SLOW = int(os.environ.get("SLOW_MS", "0")) / 1000 if SLOT == "0" else 0


def wsgi(environ, start_response):
    """The application."""
    if SLOW:
        time.sleep(SLOW)
    body = f"{SLOT} {os.getpid()} {environ['PATH_INFO'][1:]}\n".encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
