"""The peers: the ways to put one server program on several cores, each as the processes that it takes."""
import os
import resource
from dataclasses import dataclass, field

from .processes import members
from .servers import HERE
from .tools import environment

SPARE_CONNECTIONS = 2000
"""What HAProxy and nginx are allowed beyond those that stay: they take memory for all that they are allowed."""
PIPES = 256
"""Of HAProxy, for splicing; by itself it wants one for every fourth connection, whatever the limit of open files."""


@dataclass
class System:
    """One peer in front of one server, running."""

    server: str
    peer: str
    address: str
    workers: int
    front: list = field(default_factory=list)
    """What stands in front of the workers: none where the kernel or nothing does."""
    behind: list = field(default_factory=list)
    """Workers that were started here rather than by what is in front."""
    front_has_workers: bool = False
    """Whether the workers descend from what is in front, so that only its first process counts as front."""

    @property
    def name(self):
        """What no other system of the run is called."""
        return f"{self.server} {self.peer}"

    @property
    def programs(self):
        """All that was started for it."""
        return self.front + self.behind

    @property
    def forwards(self):
        """Whether a connection through it is two, with a proxy between them."""
        return bool(self.front and self.behind)

    def pids(self):
        """All its processes."""
        return set(members([program.pid for program in self.programs], self.mark))

    def front_pids(self):
        """Those that are no worker."""
        roots = [program.pid for program in self.front]
        return set(roots) if self.front_has_workers else set(members(roots))

    @property
    def mark(self):
        """What its processes carry in their environment."""
        return self.name.replace(" ", "-")


@dataclass
class Site:
    """What a peer needs to know to start: where, what server, how many of it."""

    place: object
    tools: object
    server: object
    peer: str
    workers: int
    env: dict
    connections: int
    """At one time, at most."""

    def system(self, address, **parts):
        """The system that is being started."""
        return System(self.server.name, self.peer, address, self.workers, **parts)

    def start(self, argv, env, role):
        """Starts one of its processes."""
        mark = f"{self.server.name}-{self.peer}"
        return self.place.start(argv, {**env, **self.env}, f"{mark}-{role}", mark)

    def serve(self, address, how, index=0):
        """One process of the server, by itself."""
        env = {**self.server.env(address, how), "BENCH_INDEX": str(index)}
        return self.start(self.server.command(address, how), env, f"worker{index}")

    def backends(self):
        """The servers of a proxy, one process each: their addresses, and they."""
        addresses = [self.place.address() for _ in range(self.workers)]
        return addresses, [self.serve(address, "plain", at) for at, address in enumerate(addresses)]


def plain(site):
    """One process of the server."""
    site.workers = 1
    address = site.place.address()
    return site.system(address, behind=[site.serve(address, "plain")])


def reuseport(site):
    """One process per worker, each with a listener of its own (SO_REUSEPORT)."""
    address = site.place.address()
    behind = [site.serve(address, "reuseport", at) for at in range(site.workers)]
    return site.system(address, behind=behind)


def forkfront(*flags, how="dealt", workers=None):
    """Our own, with these flags."""

    def start(site):
        site.workers = workers or site.workers
        address, number = site.place.address(), site.place.addresses
        words = ["run", "--name", f"bench-{os.getpid()}-{number}", "--control", site.place.file(f"{number}.sock")]
        command = site.server.command(address, how)
        argv = [site.tools.path("forkfront"), *words, "-q", "-n", str(site.workers), *flags, "--", *command]
        front = site.start(argv, site.server.env(address, how), "primary")
        return site.system(address, front=[front], front_has_workers=True)

    return start


def cluster(policy):
    """node's own cluster."""

    def start(site):
        address = site.place.address()
        env = {**site.server.env(address, "plain"), "WORKERS": str(site.workers), "POLICY": policy}
        front = site.start([site.tools.path("node"), os.path.join(HERE, "cluster.js")], env, "primary")
        return site.system(address, front=[front], front_has_workers=True)

    return start


def pm2(site):
    """PM2 in cluster mode, in the foreground, with a home of its own."""
    address = site.place.address()
    home = site.place.file(f"pm2-{site.place.addresses}")
    env = {**site.server.env(address, "plain"), "PM2_HOME": home, "PM2_DISCRETE_MODE": "true"}
    node = os.path.dirname(site.tools.path("node"))
    env["PATH"] = f"{node}:{os.environ.get('PATH', '')}"
    argv = [site.tools.path("pm2-runtime"), "start", os.path.join(HERE, "http.js"), "-i", str(site.workers)]
    front = site.start(argv, env, "primary")
    site.tools.versions["pm2"] = pm2_version(site.tools)
    return site.system(address, front=[front], front_has_workers=True)


def pm2_version(tools):
    """By its package: asking the program starts it."""
    package = os.path.join(os.path.dirname(os.path.realpath(tools.path("pm2-runtime"))), "..", "package.json")
    return tools.note_version("pm2", ["grep", "-m1", '"version"', package])


def own_workers(site):
    """The server's own way to have several workers (gunicorn -w, puma -w)."""
    address = site.place.address()
    argv = site.server.command(address, "plain", workers=site.workers)
    front = site.start(argv, site.server.env(address, "plain"), "primary")
    return site.system(address, front=[front], front_has_workers=True)


def forkfront_proxy(*flags):
    """Our own, before as many servers."""

    def start(site):
        addresses, behind = site.backends()
        address, number = site.place.address(), site.place.addresses
        words = ["proxy", "--name", f"bench-{os.getpid()}-{number}", "--control", site.place.file(f"{number}.sock")]
        words += ["-q", "-n", str(site.workers), "-l", address, "--to", ",".join(addresses), *flags]
        front = site.start([site.tools.path("forkfront"), *words], environment(), "proxy")
        return site.system(address, front=[front], behind=behind)

    return start


HAPROXY_SPLICES = "option splice-response\n  option splice-request"


def haproxy(balance, how="option splice-auto", pipe=65536):
    """HAProxy in TCP mode, a thread per worker, before as many servers."""

    def start(site):
        program = site.tools.path("haproxy")
        site.tools.note_version("haproxy", [program, "-v"])
        addresses, behind = site.backends()
        address = site.place.address()
        lines = [f"  server s{at} {to}" for at, to in enumerate(addresses)]
        path = site.place.file(f"haproxy-{site.place.addresses}.cfg")
        write(path, f"""
global
  nbthread {site.workers}
  maxconn {connections_allowed(site.connections)}
  maxpipes {PIPES}
  tune.pipesize {pipe}
defaults
  mode tcp
  {how}
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend bench
  bind {address}
  default_backend workers
backend workers
  balance {balance}
""" + "\n".join(lines) + "\n")
        front = site.start([program, "-db", "-q", "-f", path], environment(), "haproxy")
        return site.system(address, front=[front], behind=behind)

    return start


def nginx(balance):
    """nginx's stream proxy, a process per worker, before as many servers."""

    def start(site):
        program, load = site.tools.path("nginx"), site.tools.path("nginx stream")
        site.tools.note_version("nginx", [program, "-v"])
        addresses, behind = site.backends()
        address = site.place.address()
        prefix = site.place.file(f"nginx-{site.place.addresses}")
        os.mkdir(prefix)
        servers = "\n".join(f"    server {to};" for to in addresses)
        write(os.path.join(prefix, "nginx.conf"), f"""
{load}
daemon off;
pid {prefix}/pid;
error_log stderr error;
worker_processes {site.workers};
worker_rlimit_nofile {2 * connections_allowed(site.connections)};
events {{ worker_connections {2 * connections_allowed(site.connections)}; }}
stream {{
  upstream workers {{
    {balance}
{servers}
  }}
  server {{
    listen {address} backlog=4096;
    proxy_pass workers;
  }}
}}
""")
        argv = [program, "-p", prefix, "-c", f"{prefix}/nginx.conf", "-e", "stderr"]
        front = site.start(argv, environment(), "nginx")
        return site.system(address, front=[front], behind=behind)

    return start


def write(path, text):
    """A configuration file."""
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def connections_allowed(wanted):
    """A proxied connection takes two descriptors: as many as the limit has room for."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return max(256, min(wanted, (limit - 200) // 2 - PIPES))


@dataclass
class Peer:
    """One way, and what it is called."""

    about: str
    servers: tuple
    start: object
    needs: tuple = ()
    """Programs that it takes beside the server."""


ALL = ("native", "node", "gunicorn", "puma", "bulk")
PROXIED = ("native", "node", "bulk")
NGINX = ("nginx", "nginx stream")
PEERS = {
    "plain": Peer("one process of the server, nothing in front", ALL, plain),
    "forkfront": Peer("forkfront run -n WORKERS", ALL, forkfront()),
    "forkfront-1": Peer("forkfront with one worker: beside plain, the price of the way alone", ALL, forkfront(workers=1)),
    "forkfront-shim": Peer("the native server as an ordinary one, by the preloaded shim", ("native",), forkfront(how="plain")),
    "forkfront-least": Peer("--balance least-connections", ALL, forkfront("--balance", "least-connections")),
    "forkfront-idle": Peer("--balance idle", ALL, forkfront("--balance", "idle")),
    "forkfront-kernel": Peer("--balance kernel: the workers share the listening socket", ALL, forkfront("--balance", "kernel")),
    "forkfront-ip": Peer("--sticky ip", ALL, forkfront("--sticky", "ip")),
    "forkfront-cookie": Peer("--sticky cookie:sid, read from the request", ALL, forkfront("--sticky", "cookie:sid")),
    "forkfront-proxy": Peer("forkfront proxy, in front of as many servers", PROXIED, forkfront_proxy()),
    "forkfront-proxy-copy": Peer("the same, --splice off", PROXIED, forkfront_proxy("--splice", "off")),
    "reuseport": Peer("a listener per worker; the kernel chooses (SO_REUSEPORT)", ("native", "node", "gunicorn"), reuseport),
    "haproxy": Peer("HAProxy, mode tcp, splice-auto, in front of as many servers", PROXIED, haproxy("roundrobin"), ("haproxy",)),
    "haproxy-splice": Peer(
        "HAProxy that splices all, by pipes of 1 MB", PROXIED, haproxy("roundrobin", HAPROXY_SPLICES, 1 << 20), ("haproxy",)
    ),
    "haproxy-least": Peer("HAProxy, balance leastconn", PROXIED, haproxy("leastconn"), ("haproxy",)),
    "haproxy-ip": Peer("HAProxy, balance source", PROXIED, haproxy("source"), ("haproxy",)),
    "nginx": Peer("nginx stream, in front of as many servers", PROXIED, nginx(""), NGINX),
    "nginx-least": Peer("the same, least_conn", PROXIED, nginx("least_conn;"), NGINX),
    "nginx-ip": Peer("the same, hash $remote_addr consistent", PROXIED, nginx("hash $remote_addr consistent;"), NGINX),
    "cluster-rr": Peer("node cluster, round robin", ("node",), cluster("rr")),
    "cluster-none": Peer("node cluster, SCHED_NONE", ("node",), cluster("none")),
    "pm2": Peer("PM2, cluster mode", ("node",), pm2, ("pm2-runtime",)),
    "gunicorn": Peer("gunicorn's own workers (-w)", ("gunicorn",), own_workers),
    "puma": Peer("puma's own cluster (-w)", ("puma",), own_workers),
}


def prepare(tools, server, peer):
    """Finds or installs what a peer takes, before anything is measured. Raises Missing."""
    for program in (*server.needs, *PEERS[peer].needs):
        tools.path(program)
    server.version()


def start(place, tools, server, peer, workers, env, connections):
    """Starts a peer in front of a server, for so many connections at one time. Raises Missing."""
    return PEERS[peer].start(Site(place, tools, server, peer, workers, env, connections + SPARE_CONNECTIONS))
