"""http.server as it comes: one thread, a blocking accept. HOST and PORT from the environment."""
import os
import socket
from http.server import BaseHTTPRequestHandler, HTTPServer

SLOT = os.environ.get("FORKFRONT_SLOT", "-")
HOST = os.environ.get("HOST", "127.0.0.1")


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"{SLOT} {os.getpid()} {self.path[1:]}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Server(HTTPServer):
    address_family = socket.AF_INET6 if ":" in HOST else socket.AF_INET


Server((HOST, int(os.environ["PORT"])), Answer).serve_forever()
