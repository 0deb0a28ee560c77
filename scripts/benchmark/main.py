"""A run from its words to its exit code."""
import json
import os
import resource
import signal
import sys
import time

from . import machine, plot, report, words
from .loads import Loads
from .measure import Bench, Budget, Group
from .peers import PEERS
from .processes import Place
from .questions import QUESTIONS, SETS
from .servers import SERVERS
from .tools import TARGET, Missing, Tools

LIMIT = 14 * 60
"""Seconds of measuring: 15 minutes with what it takes to start and to end."""
FILES_WANTED = 150_000


def main(arguments):
    """Returns the exit code."""
    parser = words.parser()
    options = parser.parse_args(arguments)
    asked = [QUESTIONS[name] for name in SETS.get(options.question, (options.question,))]
    groups = [group for question in asked for group in groups_of(question, options)]
    if not groups:
        parser.error(f"none of these peers can do {options.question} with these servers")
    start = time.monotonic()

    def say(text):
        print(f"[{time.monotonic() - start:4.0f} s] {text}", file=sys.stderr, flush=True)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    raise_file_limit()
    try:
        return run(options, groups, os.getloadavg()[0], say)
    except KeyboardInterrupt:
        print("scripts/bench: interrupted; what it had started has ended", file=sys.stderr)
    except (Missing, OSError) as error:
        print(f"scripts/bench: {error}", file=sys.stderr)
    return 1


def interrupt(*_):
    """Ctrl-C and SIGTERM alike: out, past everything that cleans up."""
    raise KeyboardInterrupt


def groups_of(question, options):
    """What of a question was asked for: its own peers, or the named ones that can stand before the server."""
    for server, peers in question.systems.items():
        if options.peers:
            peers = tuple(peer for peer in options.peers if server in PEERS[peer].servers)
        if peers and (not options.servers or server in options.servers):
            yield Group(question, server, peers)


def raise_file_limit():
    """Thousands of connections, twice in a proxy: as many files as may be, for all that is started."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (max(hard, FILES_WANTED), hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, hard)))
            return
        except (ValueError, OSError):
            continue


def run(options, groups, load, say):
    """Measures and reports; `load` is what the machine had before anything was built or installed."""
    tools = Tools(options.binaries, not options.no_install, say)
    kinds = {name: kind(tools) for name, kind in SERVERS.items()}
    tools.note_version("forkfront", [tools.path("forkfront"), "--version"])
    tools.note_version("wrk", [tools.path("wrk"), "-v"])
    tools.path("visitors")
    with Place() as place:
        bench = Bench(options, kinds, place, tools, Loads(place, tools, options.clients), say)
        loads = {}
        for group in groups:
            loads.setdefault((group.question.load, group.server, group.peers), group)
        bench.prepare(loads.values())
        found = machine.facts(tools, load)
        budget = Budget(LIMIT, [bench.weight(group) for group in loads.values()])
        expected = min(LIMIT, budget.weights)
        say(f"about {expected / 60:.0f} minutes" if expected > 90 else f"about {expected:.0f} seconds")
        for group in loads.values():
            bench.measure(group, budget.until(bench.weight(group)))
    for group in groups:
        source = loads[group.question.load, group.server, group.peers]
        group.measured, group.missing, group.seconds = source.measured, source.missing, source.seconds
    return deliver(options, groups, found, say)


def deliver(options, groups, found, say):
    """The tables or the JSON on stdout, both kinds of files; fails if nothing at all was measured."""
    results = [result for group in groups for result in report.summary(group)]
    answer = {
        "question": options.question,
        "machine": found,
        "settings": {"workers": options.workers, "clients": options.clients, "connections": options.connections},
        "results": results,
        "not_measured": [{"question": group.question.name, **one} for group in groups for one in group.missing],
    }
    folder = options.out or os.path.join(TARGET, "bench")
    os.makedirs(folder, exist_ok=True)
    names = [os.path.join(folder, f"{options.question}.{kind}") for kind in ("json", "svg")]
    for name, content in zip(names, (json.dumps(answer, indent=1), drawing(groups, results, found))):
        with open(name, "w", encoding="utf-8") as file:
            file.write(content)
    if options.json:
        print(json.dumps(answer, indent=1))
    else:
        print(tables(options, groups, results, found))
    say(f"written: {', '.join(names)}")
    if not results:
        print("scripts/bench: nothing could be measured", file=sys.stderr)
    return 0 if results else 1


def tables(options, groups, results, found):
    """All tables, with the machine's facts above them."""
    about = {name: kind.about for name, kind in SERVERS.items()}
    parts = [machine.sentence(found), ""]
    for question in dict.fromkeys(group.question for group in groups):
        own = [result for result in results if result["question"] == question.name]
        missing = [one for group in groups if group.question is question for one in group.missing]
        size = f"{max(options.workers, question.workers)} workers"
        size += f", {options.clients} clients" if question.crowd else ""
        title = f"{question.title} ({size})"
        parts.append(report.table(question, title, own, missing, about))
    return "\n".join([*parts, report.legend(results)])


def drawing(groups, results, found):
    """The picture of the first figure of each question."""
    panels = []
    for group in groups:
        column = group.question.columns[0]
        bars = []
        for result in results:
            figure = result["figures"].get(column.key)
            if (result["question"], result["server"]) == (group.question.name, group.server) and figure:
                bars.append((result["peer"], figure, column.digits, result["peer"].startswith("forkfront")))
        if bars:
            about = SERVERS[group.server].about
            panels.append((f"{group.question.name}: {group.question.title}", f"{column.heading}, {column.better} is better; {about}", bars))
    return plot.picture(panels, machine.sentence(found))
