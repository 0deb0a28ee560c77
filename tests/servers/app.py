"""One application for uvicorn (`app:asgi`) and gunicorn (`app:wsgi`)."""
import os

SLOT = os.environ.get("FORKFRONT_SLOT", "-")


def body_for(path):
    return f"{SLOT} {os.getpid()} {path[1:]}\n".encode()


async def asgi(scope, receive, send):
    if scope["type"] != "http":
        return
    body = body_for(scope["path"])
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def wsgi(environ, start_response):
    body = body_for(environ["PATH_INFO"])
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
