"""The questions: who is compared under what load, and which figures answer it."""
from . import through
from .question import CPU, TAIL, Column, Question, memory, most_held, with_failures

MANY = 4
"""Workers where it matters that there are several, whatever the number of cores."""
SLOW_MS = 20
HELD = 400
"""Connections that stay, of the evenness question."""
SHORT = 2000
RATE = 300


def short(bench, system):
    """One connection per request."""
    return {**bench.loads.wrk(system, bench.seconds, closing=True), **memory(system)}


def keepalive(bench, system):
    """Many requests per connection."""
    return bench.loads.wrk(system, bench.seconds, closing=False)


def latency(bench, system):
    """One connection now and then."""
    sample = bench.loads.visitors(system, bench.seconds, "--rate", RATE, "--clients", 8)
    return {**sample, "limit": "rate" if sample["limit"] == "server" else sample["limit"]}


def one_by_one(bench, system):
    """One connection after the other."""
    return bench.loads.visitors(system, bench.seconds, "--clients", 1)


def sticky(bench, system):
    """Clients from many addresses, each with a cookie of its own."""
    words = ["--clients", bench.options.clients, "--sources", 4096, "--cookie", "sid"]
    return bench.loads.visitors(system, bench.seconds, *words)


def evenness(bench, system):
    """How many of two kinds of connections the busiest worker gets."""
    words = ["--count", SHORT, "--clients", 32, "--sources", 256]
    short_ones = bench.loads.visitors(system, 20, *words)
    crowd = bench.loads.crowd(system, HELD, 20)
    try:
        held = crowd.opened
    finally:
        lost = crowd.close()
    return {
        **short_ones,
        "even_short": busiest(short_ones["by_pid"], system.workers),
        "even_held": busiest(held["by_pid"], system.workers),
        "failed": with_failures(short_ones, held["failed"], lost),
    }


def busiest(by_pid, workers):
    """The share of the busiest worker over the fair one: 1 is even, `workers` is all to one."""
    total = sum(by_pid.values())
    return max(by_pid.values()) * workers / total if total else None


def idle(bench, system):
    """New connections beside many that stay open."""
    quiet = bench.loads.wrk(system, bench.seconds, closing=True)
    before = memory(system)
    crowd = bench.loads.crowd(system, most_held(system, bench.options.connections), 30)
    try:
        opened = crowd.opened
        after = memory(system)
        loaded = bench.loads.wrk(system, bench.seconds, closing=True)
    finally:
        lost = crowd.close()
    count = opened["answered"]
    grown = after["memory"] - before["memory"]
    front = after["front_memory"]
    return {
        **loaded,
        "kept": loaded["rate"] / quiet["rate"] if quiet["rate"] else None,
        "opened": opened["rate"],
        "held": count,
        "all_bytes": grown * 1024 * 1024 / count if count else None,
        "front_bytes": (front - before["front_memory"]) * 1024 * 1024 / count if front is not None and count else None,
        "front_files": after["front_files"],
        "failed": with_failures(loaded, opened["failed"], lost),
    }


OF_SHORT = {
    "native": ("plain", "forkfront", "forkfront-shim", "reuseport", "haproxy", "nginx"),
    "node": ("plain", "forkfront", "reuseport", "cluster-rr", "cluster-none", "pm2", "haproxy", "nginx"),
    "gunicorn": ("plain", "forkfront", "gunicorn", "reuseport"),
    "puma": ("plain", "forkfront", "puma"),
}

QUESTIONS = {
    question.name: question
    for question in (
        Question(
            "short",
            "Connections per second, one request on each",
            "What the way to a worker costs when every request brings a connection. More is better. CPU us is what one\n"
            "connection costs in all server processes together, 'in front' the part of whoever deals or forwards it.",
            OF_SHORT,
            (Column("rate", "conn/s", 0, "ratio"), *CPU, *TAIL),
            short,
            "short",
        ),
        Question(
            "keepalive",
            "Requests per second on connections that stay",
            "What is left of the cost once a connection is there. More is better. Beside plain, forkfront-1 shows what\n"
            "having forkfront in front costs: a worker each. A proxy carries every byte; forkfront none.",
            {
                "native": ("plain", "forkfront-1", "forkfront", "reuseport", "haproxy", "nginx"),
                "node": ("plain", "forkfront-1", "forkfront", "cluster-rr", "cluster-none"),
                "puma": ("plain", "forkfront", "puma"),
            },
            (Column("rate", "req/s", 0, "ratio"), *CPU, *TAIL),
            keepalive,
            "keepalive",
            rounds=3,
        ),
        Question(
            "latency",
            f"One connection at a time, {RATE} a second",
            "Microseconds from connect to the whole answer: the price of the way when nobody waits for anybody. Less is\n"
            "better; the machine is nearly idle, so this is mostly the cost of waking up who is to answer.",
            {
                "native": ("plain", "forkfront-1", "forkfront", "reuseport", "haproxy", "nginx"),
                "node": ("plain", "forkfront-1", "forkfront", "cluster-rr", "cluster-none", "pm2"),
            },
            (Column("p50", "p50 us", 0, "difference", "less"), Column("p99", "p99 us"), *CPU),
            latency,
            "latency",
            crowd=False,
            rounds=3,
        ),
        Question(
            "one-by-one",
            "One connection at a time, the next as soon as the last is answered",
            "Microseconds from connect to the whole answer, as in `latency`, but on cores that are still awake: the price of\n"
            "the way itself. Less is better.",
            {"native": ("plain", "forkfront-1", "forkfront", "reuseport", "haproxy", "nginx")},
            (Column("p50", "p50 us", 0, "difference", "less"), Column("p99", "p99 us"), *CPU),
            one_by_one,
            "one-by-one",
            seconds=1,
            crowd=False,
        ),
        Question(
            "slow",
            f"One slow worker ({SLOW_MS} ms a request, doing nothing else) among fast ones",
            "What the others do for a worker that is behind. Where it gets its share all the same, those who were dealt\n"
            "to it wait, and in a closed loop soon everybody is among them. More conn/s and less p99 are better.",
            {
                "native": ("forkfront", "forkfront-least", "reuseport", "haproxy", "haproxy-least", "nginx", "nginx-least"),
                "node": ("forkfront", "forkfront-least", "cluster-rr", "cluster-none", "pm2"),
            },
            (Column("rate", "conn/s", 0, "ratio"), *TAIL),
            short,
            "slow",
            rounds=3,
            workers=MANY,
            env=(("SLOW_MS", str(SLOW_MS)),),
        ),
        Question(
            "evenness",
            f"The busiest of {MANY} workers: its share over the fair share",
            f"1.00 is even, 4.00 is all to one of four. Of {SHORT} short connections, and of {HELD} that stay: there an\n"
            "uneven start stays as well, as with WebSockets.",
            {
                "native": ("forkfront", "reuseport", "haproxy", "nginx"),
                "node": ("forkfront", "cluster-rr", "cluster-none", "pm2"),
                "puma": ("forkfront", "puma"),
            },
            (Column("even_held", "of those that stay", 2, "ratio", "less"), Column("even_short", "of short ones", 2)),
            evenness,
            "evenness",
            crowd=False,
            rounds=3,
            seconds=1,
            workers=MANY,
        ),
        Question(
            "idle",
            "New connections beside many idle ones",
            "'kept' is conn/s with the idle ones over conn/s without, 1.00 is no loss. Bytes are what each idle connection\n"
            "costs in all server processes, and in what is in front; files are the descriptors that this has open. A proxy needs\n"
            "two for each: where the limit of open files has no room for that many, fewer are 'held'.",
            {
                "native": ("plain", "forkfront", "reuseport", "haproxy", "nginx"),
                "node": ("plain", "forkfront", "cluster-rr", "pm2"),
            },
            (
                Column("rate", "conn/s", 0, "ratio"),
                Column("kept", "kept", 2),
                Column("all_bytes", "bytes each"),
                Column("front_bytes", "in front"),
                Column("front_files", "files"),
                Column("held", "held"),
            ),
            idle,
            "idle",
            rounds=3,
            seconds=1,
            extra=3,
        ),
        Question(
            "cpu",
            "CPU per connection in all server processes",
            "Less is better. Of all of it, 'in front' is what whoever deals or forwards takes; the rest is the workers'.\n"
            "It counts where conn/s does not tell: with the load generator on the same cores, the cheaper way leaves it more.",
            OF_SHORT,
            (Column("cpu_us", "CPU us", 1, "ratio", "less"), Column("front_us", "in front", 1), Column("rate", "conn/s")),
            short,
            "short",
        ),
        Question(
            "memory",
            "Memory of all server processes, after load",
            "MB. 'all' counts a page that processes share once (Pss); 'in front' is the resident memory (Rss) of whoever\n"
            "deals or forwards. Less is better.",
            OF_SHORT,
            (Column("memory", "all MB", 1, "ratio", "less"), Column("front_memory", "in front", 1)),
            short,
            "short",
        ),
        Question(
            "sticky",
            "Connections per second of clients that keep their worker",
            "Clients from 4,096 addresses, each request with a session cookie. Beside forkfront without stickiness,\n"
            "-ip shows the price of the hash, -cookie that of reading the request's head before dealing.",
            {"native": ("forkfront", "forkfront-ip", "forkfront-cookie", "haproxy-ip", "nginx-ip")},
            (Column("rate", "conn/s", 0, "ratio"), *CPU, *TAIL),
            sticky,
            "sticky",
        ),
        *through.QUESTIONS,
    )
}
SETS = {
    "proxy": tuple(question.name for question in through.QUESTIONS),
    "all": tuple(QUESTIONS),
}
"""Sub-commands that ask several."""
