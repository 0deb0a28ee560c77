"""TLS clients whose ClientHello comes in pieces. Each line of the input is one of them: source address, server name,
protocols ("h2,http/1.1") and the pieces: whole, bytes (a segment each), halves, or records (of TLS, three). The
answer to each is the body that the server sent."""
import socket
import ssl
import sys


def pieces(hello, way):
    if way == "bytes":
        return [bytes([byte]) for byte in hello]
    if way == "halves":
        middle = len(hello) // 2
        return [hello[:middle], hello[middle:]]
    if way == "records":
        body, length = hello[5:], (len(hello) - 5) // 3 + 1
        parts = [body[at : at + length] for at in range(0, len(body), length)]
        return [b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part for part in parts]
    return [hello]


def ask(to, source, name, protocols, way):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if protocols != "-":
        context.set_alpn_protocols(protocols.split(","))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=None if name == "-" else name)
    with socket.create_connection(to, timeout=30, source_address=(source, 0)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def step(action, *arguments, way="whole"):
            while True:
                try:
                    return action(*arguments)
                except ssl.SSLWantReadError:
                    if outgoing.pending:
                        for piece in pieces(outgoing.read(), way):
                            connection.sendall(piece)
                    part = connection.recv(65536)
                    incoming.write(part) if part else incoming.write_eof()

        step(tls.do_handshake, way=way)
        tls.write(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        answer = step(tls.read, 65536)
        while b"\n" not in answer.partition(b"\r\n\r\n")[2]:
            answer += step(tls.read, 65536)
        return answer.partition(b"\r\n\r\n")[2].decode().strip()


for line in sys.stdin:
    print(ask((sys.argv[1], int(sys.argv[2])), *line.split()), flush=True)
