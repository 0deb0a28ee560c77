"""The questions of `forkfront proxy`: everybody leads connections on to the same two servers, as HAProxy and nginx do."""
from .loads import Watch
from .processes import memory_kib
from .question import CPU, TAIL, Column, Question, most_held, with_failures

STREAMS = 8
"""Of the bulk question: enough that each of several cores has some."""
ASSUMED = 5000
"""Connections a second where the yardstick of half load cannot be had: half of it is asked for."""
OURS = "forkfront-proxy"
YARDSTICK = "haproxy"
PROXIES = {"native": (OURS, "haproxy", "nginx")}


def short(bench, system):
    """One connection per request: two for a proxy."""
    return bench.loads.wrk(system, bench.seconds, closing=True)


def keepalive(bench, system):
    """Many requests per connection: each is carried twice, and so is its answer."""
    return bench.loads.wrk(system, bench.seconds, closing=False)


def bulk(bench, system):
    """Streams as fast as they go."""
    sample = bench.loads.bulk(system, bench.seconds, STREAMS)
    # Of a GB here; the load's own words are of a request.
    for key in ("cpu_us", "front_us"):
        sample[key] = sample[key] / 1000 if sample[key] is not None else None
    return sample


def find_half(bench, systems):
    """Half of what HAProxy can do at most."""
    yardstick = next((system for system in systems if system.peer == YARDSTICK), None)
    most = bench.loads.wrk(yardstick, bench.seconds, closing=True)["rate"] if yardstick else 2 * ASSUMED
    bench.half = max(1, round(most / 2))
    bench.say(f"half load: {bench.half:,} connections a second")


def half(bench, system):
    """The same rate for all, which none of them has to strain for."""
    # So many that clients come on time, however long others wait for their answers.
    sample = bench.loads.visitors(system, bench.seconds, "--rate", bench.half, "--clients", 1000)
    return {**sample, "asked": bench.half, "limit": "rate" if sample["limit"] == "server" else sample["limit"]}


def idle(bench, system):
    """Sessions that had one request each and stay."""
    with Watch(system, 1) as watch:
        crowd = bench.loads.crowd(system, most_held(system, bench.options.connections), 30)
    try:
        opened, after = crowd.opened, resident(system)
    finally:
        lost = crowd.close()
    held = opened["answered"]
    return {
        **opened,
        **watch.figures(held),
        "memory": after,
        "each": after * 1024 * 1024 / held if held else None,
        "held": held,
        "limit": "held",
        "failed": with_failures(opened, {}, lost),
    }


def resident(system):
    """Memory of the proxy's processes in MB; a page that they share counts once."""
    return sum(memory_kib(pid) for pid in system.front_pids()) / 1024


def question(name, title, reading, columns, sample, **parts):
    """One of them."""
    parts = {"systems": PROXIES, "reference": OURS, "load": name, **parts}
    return Question(name, title, reading, columns=columns, sample=sample, **parts)


QUESTIONS = (
    question(
        "proxy-short",
        "Through a proxy: connections per second, one request on each",
        "What it costs to accept a connection, to make another one to a server and to end both. More is better. CPU us is\n"
        "what one takes in all server processes together, 'in front' the part of the proxy.",
        (Column("rate", "conn/s", 0, "ratio"), *CPU, *TAIL),
        short,
    ),
    question(
        "proxy-keepalive",
        "Through a proxy: requests per second on connections that stay",
        "What it costs to carry a small request and its answer. More is better.",
        (Column("rate", "req/s", 0, "ratio"), *CPU, *TAIL),
        keepalive,
    ),
    question(
        "proxy-bulk",
        f"Through a proxy: GB per second, {STREAMS} streams from the servers",
        "The servers send as fast as they can, the clients throw away what comes without copying it: the proxy is what\n"
        "costs. More is better; CPU ms is what a GB takes in all server processes, 'in front' the part of the proxy.\n"
        "HAProxy is there twice: with splice-auto, and with all spliced by large pipes, which is the best that it can do.\n"
        "On one machine the network is memory, and what comes in is paid by whoever sends it.",
        (Column("rate", "GB/s", 2, "ratio"), Column("front_us", "ms in front", 0), Column("cpu_us", "CPU ms", 0)),
        bulk,
        systems={"bulk": (OURS, "haproxy", "haproxy-splice", "nginx")},
        crowd=False,
    ),
    question(
        "proxy-half",
        "Through a proxy: the whole way at half load",
        "Microseconds from connect to the whole answer, at half of the connections a second that HAProxy can do at most:\n"
        "the same for all. Less is better.",
        (Column("p99", "p99 us", 0, "ratio", "less"), Column("p50", "p50 us"), Column("asked", "asked/s"), *CPU),
        half,
        before=find_half,
        crowd=False,
    ),
    question(
        "proxy-idle",
        "Through a proxy: memory with many idle sessions",
        "MB of the proxy's processes with that many sessions that had one request each and stay; a page that they share\n"
        "counts once. 'bytes each' is that for each session. Less is better. What the kernel keeps for the sockets\n"
        "is the same for all and not in it.",
        (Column("memory", "MB", 1, "ratio", "less"), Column("each", "bytes each"), Column("held", "held")),
        idle,
        rounds=3,
        seconds=1,
        extra=4,
        crowd=False,
    ),
)
