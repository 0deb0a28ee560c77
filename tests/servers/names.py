"""A name server on 127.0.0.1:53 whose answers change, and a proxy that follows them: run in mount and network
namespaces of its own. Ends with 0 if all was as it should be."""
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time

FORKFRONT, DIRECTORY = sys.argv[1], sys.argv[2]
A, AAAA, SRV = 1, 28, 33
records = {}
seen = []
mute = threading.Event()
silent = set()


def packed(name):
    labels = [one.encode() for one in name.strip(".").split(".")]
    return b"".join(bytes([len(one)]) + one for one in labels) + b"\0"


def answer(query, limit):
    number, at, labels = query[:2], 12, []
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode().lower())
        at += 1 + query[at]
    kind = struct.unpack(">H", query[at + 1:at + 3])[0]
    name, question = ".".join(labels), query[12:at + 5]
    found = records.get((name, kind), [])
    known = any(one == name for one, _ in records)
    body = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 0, len(one)) + one for one in found)
    flags, count = 0x8180 | (0 if known else 3), len(found)
    if 12 + len(question) + len(body) > limit:
        flags, count, body = flags | 0x200, 0, b""
    return number + struct.pack(">HHHHH", flags, 1, count, 0, 0) + question + body


def udp(sock):
    while True:
        query, client = sock.recvfrom(4096)
        if not mute.is_set() and not any(packed(name) in query.lower() for name in silent):
            seen.append("udp")
            sock.sendto(answer(query, 512), client)


def tcp(sock):
    while True:
        client, _ = sock.accept()
        with client:
            length = struct.unpack(">H", client.recv(2, socket.MSG_WAITALL))[0]
            reply = answer(client.recv(length, socket.MSG_WAITALL), 65535)
            seen.append("tcp")
            client.sendall(struct.pack(">H", len(reply)) + reply)


def serve(ip):
    listener = socket.create_server((ip, 7000))
    while True:
        client, _ = listener.accept()
        client.sendall(ip.encode())
        client.close()


def srv(priority, weight, target):
    return struct.pack(">HHH", priority, weight, 7000) + packed(target)


def forkfront(*words):
    return subprocess.run([FORKFRONT, *words], capture_output=True, text=True, timeout=20)


def backends():
    said = forkfront("status", "--json", "--control", CONTROL)
    return json.loads(said.stdout)["backends"] if said.returncode == 0 else []


def until(what, holds):
    end = time.monotonic() + 15
    while time.monotonic() < end:
        found = backends()
        if holds(found):
            return found
    sys.exit(f"never: {what}: {found}\n{open(LOG).read()}")


def addresses(found):
    return sorted(one["address"] for one in found if one["state"] != "leaving")


def who():
    with socket.create_connection(("127.0.0.1", 6000)) as client:
        return client.recv(100).decode()


subprocess.check_call(["mount", "--make-rprivate", "/"])
subprocess.check_call(["ip", "link", "set", "lo", "up"])
for name, text in [("resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"), ("hosts", "")]:
    path = os.path.join(DIRECTORY, name)
    open(path, "w").write(text)
    subprocess.check_call(["mount", "--bind", path, f"/etc/{name}"])
ask = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
ask.bind(("127.0.0.1", 53))
ips = [f"127.0.1.{n}" for n in range(1, 5)]
for target, words in [(udp, ask), (tcp, socket.create_server(("127.0.0.1", 53)))] + [(serve, ip) for ip in ips]:
    threading.Thread(target=target, args=(words,), daemon=True).start()
CONTROL, LOG = os.path.join(DIRECTORY, "c.sock"), os.path.join(DIRECTORY, "log")


def start(to, *more):
    return subprocess.Popen([FORKFRONT, "proxy", "-n", "1", "-l", "127.0.0.1:6000", "--control", CONTROL, "--to", to,
                             "--resolve-every", "100ms", *more], stdout=open(LOG, "w"), stderr=subprocess.STDOUT)


# A name: all its addresses, then others, then none.
records[("db.test", A)] = [socket.inet_aton(ip) for ip in ips[:2]]
proxy = start("db.test:7000")
until("two", lambda found: addresses(found) == [f"{ip}:7000" for ip in ips[:2]])
assert {who() for _ in range(8)} == set(ips[:2])
records[("db.test", A)] = [socket.inet_aton(ip) for ip in ips[1:3]]
until("others", lambda found: addresses(found) == [f"{ip}:7000" for ip in ips[1:3]])
end = time.monotonic() + 10
while {who() for _ in range(8)} != set(ips[1:3]):
    assert time.monotonic() < end
mute.set()
end = time.monotonic() + 15
while "resolve" not in open(LOG).read():
    assert time.monotonic() < end, open(LOG).read()
assert addresses(backends()) == [f"{ip}:7000" for ip in ips[1:3]]
assert {who() for _ in range(8)} == set(ips[1:3])
mute.clear()
proxy.terminate()
assert proxy.wait(20) == 0, open(LOG).read()

# SRV records, too many for UDP: weights, and backups of another priority.
records[("_x._tcp.test", SRV)] = [srv(1, 10, "a.test"), srv(1, 30, "b.test"), srv(2, 5, "c.test")]
records[("_x._tcp.test", SRV)] += [srv(3, 1, f"{n}.{'long' * 10}.test") for n in range(20)]
for name, ip in zip("abc", ips):
    records[(f"{name}.test", A)] = [socket.inet_aton(ip)]
del seen[:]
proxy = start("srv:_x._tcp.test")
found = until("three", lambda found: len(found) == 3)
assert "tcp" in seen, seen
kinds = sorted((one["address"], one["weight"], one["backup"]) for one in found)
assert kinds == [(f"{ips[0]}:7000", 10, False), (f"{ips[1]}:7000", 30, False), (f"{ips[2]}:7000", 5, True)], kinds
counts = [who() for _ in range(40)]
assert [counts.count(ip) for ip in ips[:3]] == [10, 30, 0], counts
# Of one host nobody knows anything just now: it stays, and what changes about another is followed.
silent.add("b.test")
records[("a.test", A)] = [socket.inet_aton(ips[3])]
found = until("another a", lambda found: f"{ips[3]}:7000" in addresses(found))
assert addresses(found) == [f"{ip}:7000" for ip in ips[1:]], found
kept = [one["why"] for one in found if one["address"] == f"{ips[1]}:7000"]
assert "cannot resolve b.test of srv:_x._tcp.test" in kept[0], kept
silent.clear()
until("all known", lambda found: all("resolve" not in (one["why"] or "") for one in found))
# A name whose addresses are all there already is not added, nor is one that nobody knows.
records[("same.test", A)] = [socket.inet_aton(ips[1])]
for name, words in [("same.test", "has no address of its own: all are there already"), ("none.test", "cannot resolve none.test:7000: ")]:
    said = forkfront("backend", "add", f"{name}:7000", "--control", CONTROL)
    assert said.returncode == 1 and words in said.stderr, said
    assert said.stderr.count(f"{name}:7000") == 1, said
assert len(backends()) == 3, backends()
proxy.terminate()
assert proxy.wait(20) == 0, open(LOG).read()

# Where there is no IPv6, a check finds that ::1 cannot be connected to, and not that it cannot be made.
try:
    open("/proc/sys/net/ipv6/conf/all/disable_ipv6", "w").write("1")
except OSError:
    sys.exit(0)
proxy = start(f"[::1]:7000,{ips[0]}:7000", "--check", "tcp", "--check-interval", "100ms")
found = until("no IPv6", lambda found: [one["state"] for one in found] == ["down", "up"])
assert "Cannot assign requested address" in found[0]["why"], found
proxy.terminate()
assert proxy.wait(20) == 0 and "cannot be checked" not in open(LOG).read(), open(LOG).read()
