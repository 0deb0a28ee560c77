"""What a question is made of, and what several of them take."""
import resource
from dataclasses import dataclass

from .processes import descriptors, memory_kib


@dataclass(frozen=True)
class Column:
    """One figure."""

    key: str
    heading: str
    digits: int = 0
    compare: str = ""
    """"ratio" or "difference": forkfront's figure against this peer's, round by round."""
    better: str = "more"


@dataclass(frozen=True, eq=False)
class Question:
    """One sub-command."""

    name: str
    title: str
    reading: str
    """How to read the answer, for the help."""
    systems: dict
    """Peers by server."""
    columns: tuple
    sample: object
    """(bench, system) -> figures of one round."""
    load: str
    """Questions of the same load are answered from the same rounds."""
    rounds: int = 5
    seconds: int = 2
    extra: float = 0.3
    """Seconds that a round of one system takes beyond `seconds`, about."""
    crowd: bool = True
    """Whether as many clients as asked for come at one time; else the load has a size of its own."""
    workers: int = 0
    """At least so many workers."""
    env: tuple = ()
    before: object = None
    """(bench, systems) -> None: what has to be found out before the first round."""
    reference: str = "forkfront"
    """Whom the others are compared with."""


def most_held(system, wanted):
    """As many as the limit of open files leaves room for: a proxy needs two for each."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return max(1, min(wanted, (limit - 1000) // (2 if system.forwards else 1)))


def memory(system):
    """Memory of everything and of what is in front, in MB; descriptors of the latter."""
    pids, front = system.pids(), system.front_pids()
    return {
        "memory": sum(memory_kib(pid) for pid in pids) / 1024,
        "front_memory": sum(memory_kib(pid, "Rss") for pid in front) / 1024 if front else None,
        "front_files": sum(descriptors(pid) for pid in front) if front else None,
    }


def with_failures(sample, more, lost):
    """The sample's failed requests, and those of a crowd, and what it lost."""
    failed = dict(sample["failed"])
    for kind, count in [*more.items(), ("lost", lost)]:
        if count:
            failed[kind] = failed.get(kind, 0) + count
    return failed


CPU = (Column("cpu_us", "CPU us", 1), Column("front_us", "in front", 1))
TAIL = (Column("p50", "p50 us"), Column("p99", "p99 us"))
