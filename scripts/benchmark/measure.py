"""Rounds: every peer of a group is started, then each is measured in turn, as often as asked. A peer that does not
start or does not go on is left out with the reason, and the others are measured without it."""
import http.client
import time
from dataclasses import dataclass, field

from . import peers
from .loads import Failed
from .tools import Missing

START_LIMIT = 20.0
"""Seconds for a peer to give its first answer."""
WARM_UP = 1
"""Seconds of load before the first round for a server that compiles while it runs."""
WARM_BURSTS = 6
"""So many bursts at most before the first round: until every worker has answered."""


@dataclass
class Measured:
    """One peer, and what each round gave."""

    server: str
    peer: str
    samples: list = field(default_factory=list)


@dataclass
class Group:
    """The peers of one question in front of one server."""

    question: object
    server: str
    peers: tuple
    measured: list = field(default_factory=list)
    seconds: int = 0
    """Of load in each round."""
    missing: list = field(default_factory=list)
    """Peers that were not measured, or not in every round, each with the reason."""

    def leave_out(self, peer, reason):
        """Says why a peer has no figures."""
        self.missing.append({"server": self.server, "peer": peer, "reason": str(reason)})


class Budget:
    """The time there is, shared out among what is still to be done."""

    def __init__(self, seconds, weights):
        self.end = time.monotonic() + seconds
        self.weights = sum(weights)

    def until(self, weight):
        """When the next part, of this weight, should have ended."""
        now = time.monotonic()
        share = weight / max(self.weights, weight, 1e-9)
        self.weights -= weight
        return now + max(0.0, self.end - now) * share


class Bench:
    """One run: its options, its place, its programs."""

    def __init__(self, options, kinds, place, tools, loads, say):
        self.options = options
        self.kinds = kinds
        self.place = place
        self.tools = tools
        self.loads = loads
        self.say = say
        self.seconds = 0
        self.half = 0
        """Connections a second of the question `proxy-half`."""

    def rounds_of(self, question):
        """As asked for, or what the question takes."""
        return self.options.rounds or question.rounds

    def seconds_of(self, question):
        """As asked for, or what the question takes."""
        return self.options.seconds or question.seconds

    def workers_of(self, question):
        """As asked for; never fewer than the question needs."""
        return max(self.options.workers, question.workers)

    def weight(self, group):
        """About how many seconds a group takes."""
        each = self.seconds_of(group.question) + group.question.extra
        start = 1 + (WARM_UP if self.kinds[group.server].compiles else 0)
        return 3 + len(group.peers) * (start + each * self.rounds_of(group.question))

    def prepare(self, groups):
        """Has everything installed that can be; a peer that lacks something is left out."""
        for group in groups:
            for peer in group.peers:
                try:
                    peers.prepare(self.tools, self.kinds[group.server], peer)
                except Missing as missing:
                    group.leave_out(peer, missing)

    def measure(self, group, until):
        """All rounds of a group; none is begun past `until` except the first."""
        question, server = group.question, self.kinds[group.server]
        self.seconds = group.seconds = self.seconds_of(question)
        self.say(f"{question.name}, {group.server}: starting {', '.join(group.peers)}")
        systems = self.start(group, server)
        found = {system.peer: Measured(group.server, system.peer) for system in systems}
        try:
            if question.before:
                question.before(self, systems)
            for number in range(self.rounds_of(question)):
                if number and time.monotonic() > until:
                    self.say(f"{question.name}, {group.server}: no time for more than {number} rounds")
                    break
                # Each has each place in the order.
                turn = number % max(1, len(systems))
                for system in systems[turn:] + systems[:turn]:
                    sample = self.one(group, system, number)
                    if sample is None:
                        systems = [other for other in systems if other is not system]
                    else:
                        found[system.peer].samples.append(sample)
        finally:
            for system in systems:
                self.place.end(system.programs)
        group.measured = [measured for measured in found.values() if measured.samples]

    def one(self, group, system, number):
        """One peer in one round; `None` if it could not be."""
        question = group.question
        try:
            for program in system.programs:
                if program.ended():
                    raise Failed(f"ended: {program.last_words()}")
            sample = question.sample(self, system)
        except (Failed, Missing, OSError, ValueError, KeyError) as failed:
            group.leave_out(system.peer, f"round {number + 1}: {failed or type(failed).__name__}")
            self.place.end(system.programs)
            return None
        column = question.columns[0]
        value = sample.get(column.key)
        figure = "nothing" if value is None else f"{value:,.{column.digits}f}"
        bad = sum(sample["failed"].values())
        self.say(
            f"{question.name}, {group.server}, round {number + 1} of {self.rounds_of(question)}: "
            f"{system.peer} {figure} {column.heading}" + (f", {bad} failed" if bad else "")
        )
        return sample

    def start(self, group, server):
        """Starts all of a group, and waits for them."""
        systems = []
        lacking = {one["peer"] for one in group.missing}
        for peer in group.peers:
            if peer in lacking:
                continue
            try:
                workers, env = self.workers_of(group.question), dict(group.question.env)
                site = (self.place, self.tools, server, peer, workers, env, self.options.connections)
                systems.append(peers.start(*site))
            except (Missing, OSError) as missing:
                group.leave_out(peer, missing)
        ready = []
        for system in systems:
            try:
                self.wait_for(system)
                self.warm(system, server.compiles)
                ready.append(system)
            except (Failed, Missing, OSError, ValueError, KeyError) as failed:
                group.leave_out(system.peer, failed)
                self.place.end(system.programs)
        return ready

    def wait_for(self, system):
        """Until it answers. Raises Failed."""
        limit = time.monotonic() + START_LIMIT
        host, port = system.address.split(":")
        while True:
            for program in system.programs:
                if program.ended():
                    raise Failed(f"did not start: {program.last_words()}")
            try:
                client = http.client.HTTPConnection(host, int(port), timeout=2)
                client.request("GET", "/1", headers={"Connection": "close"})
                answered = client.getresponse().status == 200
                client.close()
                if answered:
                    return
            except (OSError, http.client.HTTPException):
                pass
            if time.monotonic() > limit:
                raise Failed(f"gave no answer within {START_LIMIT:.0f} s: {system.programs[0].last_words()}")
            time.sleep(0.05)

    def warm(self, system, compiles):
        """Bursts until every worker has answered one. Raises Failed if nobody answers."""
        if compiles:
            self.loads.wrk(system, WARM_UP, closing=True)
        seen = set()
        for _ in range(WARM_BURSTS):
            words = ["--count", 1500, "--clients", 32, "--sources", 256]
            seen |= set(self.loads.visitors(system, 0.5, *words)["by_pid"])
            if len(seen) >= system.workers:
                return
        if not seen:
            raise Failed("answered nobody")
