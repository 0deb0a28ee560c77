"""The command line and its help."""
import argparse
import os

from .peers import PEERS
from .questions import QUESTIONS, SETS
from .servers import SERVERS

MOST = {"seconds": 30, "rounds": 50, "workers": 64, "clients": 1000, "connections": 60_000}
"""A run is bounded: no option goes past this."""

HEAD = """\
Measures forkfront beside the other ways to put one server on several cores: same machine, same server program, same
run, in turn. One QUESTION at a time, or `all` within 15 minutes: rounds for which there is no time are left out, which
the tables say. Only loopback addresses are used.
"""

PROXY = "forkfront proxy beside HAProxy and nginx as TCP proxies: the questions proxy-*"

READING = """\
how to read it:
  Every peer of a group is started, and then each is measured in turn, as many rounds as asked. A line shows the median
  of the rounds, the least and the most of them, and `forkfront/it`: forkfront's figure over this peer's, taken round by
  round, since two figures of one round were measured within seconds of each other. 1.20x of conn/s means that forkfront
  is a fifth faster than that peer; of microseconds or MB, that it needs a fifth more. `forkfront-it` is the difference
  instead. Where the spreads of two peers overlap, nothing was shown.

  failed     requests without a good answer, by kind: connect, read, write, timeout, status (not 200), closed, reset,
             lost. They are in no rate. A peer with many of them is not fast.
  load gen   cores that the load generator took of the machine that servers and balancers share with it.
  limit      what kept the figure from being higher: `generator`, the load generator; `cores`, all of them were busy, so
             that servers and load generator took the CPU from each other; `server`, neither;
             `rate`, clients came at a given rate, and nothing was at its limit.
             With `cores`, CPU per connection tells more than connections per second: with the load generator on a
             machine of its own, the servers would have all the cores.
  CPU us     microseconds of CPU per request in all server processes (of everything below the started ones, from
             /proc); `in front` is the part of the process that deals or forwards.
  not measured   peers that could not be had or did not start, with the reason.

  A figure is worth taking from a quiet machine and from three rounds or more; the report says when it is not.
"""


def parser():
    """All words, with their help."""
    top = argparse.ArgumentParser(
        prog="scripts/bench",
        description=HEAD,
        epilog=epilog(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    questions = top.add_subparsers(dest="question", metavar="QUESTION", required=True, title="questions")
    for question in QUESTIONS.values():
        add(questions, question.name, question.title, f"{question.title}.\n\n{question.reading}\n\n{compared(question)}")
    add(questions, "proxy", PROXY, f"{PROXY}.\n\nIt asks {', '.join(SETS['proxy'])}.")
    add(questions, "all", "all of these, in less than 15 minutes", "All questions, one after the other.")
    return top


def epilog():
    """What the top help ends with."""
    lines = ["peers (each question has its own list; --peers names others):"]
    lines += [f"  {name:22}{peer.about}" for name, peer in PEERS.items()]
    lines += ["", "servers behind them:"]
    lines += [f"  {name:22}{kind.about}" for name, kind in SERVERS.items()]
    examples = """
examples:
  scripts/bench short                                        everybody, 5 rounds
  scripts/bench short --servers node --peers forkfront,cluster-rr,pm2
  scripts/bench sticky --rounds 7 --json >sticky.json
  scripts/bench all

`scripts/bench QUESTION --help` says how to read that question. What is missing on this machine is installed into the
target directory (--no-install: left out); tables go to stdout, progress to stderr, JSON and an SVG plot to --out.
Exit codes: 0 done, 1 failed or interrupted, 2 not asked properly.
"""
    return "\n".join(lines) + "\n" + examples + "\n" + READING


def compared(question):
    """Who takes part in a question."""
    lines = [f"  {server:10}{', '.join(names)}" for server, names in question.systems.items()]
    size = f"{question.rounds} rounds of {question.seconds} s"
    return "\n".join([f"compared, {size} unless told otherwise:", *lines])


def add(questions, name, title, description):
    """One question's words."""
    words = questions.add_parser(
        name,
        help=title,
        description=description,
        epilog=READING,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    cores = len(os.sched_getaffinity(0))
    words.add_argument("--peers", metavar="LIST", type=names(PEERS), help="these instead, separated by commas")
    words.add_argument("--servers", metavar="LIST", type=names(SERVERS), help="only these servers behind them")
    words.add_argument("--seconds", metavar="N", type=count("seconds"), help="of load for each peer in each round")
    words.add_argument("--rounds", metavar="N", type=count("rounds"), help="so many, 3 at least for a figure")
    words.add_argument(
        "--workers", metavar="N", type=count("workers"), default=max(2, min(16, cores)),
        help="of each peer (default: one per core, %(default)s)",
    )
    words.add_argument(
        "--clients", metavar="N", type=count("clients"), default=64, help="at one time (default %(default)s)"
    )
    words.add_argument(
        "--connections", metavar="N", type=count("connections"), default=10_000,
        help="that stay, of the question `idle` (default %(default)s)",
    )
    words.add_argument("--json", action="store_true", help="everything as JSON on stdout instead of tables")
    words.add_argument("--out", metavar="DIR", help="where QUESTION.json and QUESTION.svg go (default: target/bench)")
    words.add_argument("--binaries", metavar="DIR", help="use the programs built there instead of building (target/debug)")
    words.add_argument("--no-install", action="store_true", help="leave out what is not installed")


def names(known):
    """A list of names that are known."""

    def read(text):
        found = list(dict.fromkeys(name for name in text.split(",") if name))
        for name in found:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
        if not found:
            raise argparse.ArgumentTypeError("nothing is named")
        return found

    return read


def count(what):
    """A number from 1 to the bound."""

    def read(text):
        if not text.isdigit() or not 1 <= int(text) <= MOST[what]:
            raise argparse.ArgumentTypeError(f"{text!r} is not between 1 and {MOST[what]:,}")
        return int(text)

    return read
