"""For uvicorn (`app:asgi`) and gunicorn (`app:wsgi`): who asks, by their word."""


async def asgi(scope, receive, send):
    if scope["type"] != "http":
        return
    address, port = scope["client"]
    body = f"{address} {port}\n".encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def wsgi(environ, start_response):
    body = f"{environ['REMOTE_ADDR']} {environ['REMOTE_PORT']}\n"
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body.encode()]
