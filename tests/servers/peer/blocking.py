"""http.server: who asks, by accept and by getpeername. HOST and PORT say where."""
import os
import socket
from http.server import BaseHTTPRequestHandler, HTTPServer

HOST = os.environ["HOST"]


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        accepted, asked = self.client_address, self.connection.getpeername()
        body = f"{accepted[0]} {accepted[1]}\n" if accepted == asked else f"{accepted} {asked}\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *args):
        pass


class Server(HTTPServer):
    address_family = socket.AF_INET6 if ":" in HOST else socket.AF_INET


Server((HOST, int(os.environ["PORT"])), Answer).serve_forever()
