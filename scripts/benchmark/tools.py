"""Finding the programs that are compared, or installing them.

What is missing comes from the package managers as they are set up on this machine, into the target directory:
Debian packages are unpacked there, not installed, so nothing in the system changes, no service starts and
nobody needs to be root.
"""
import glob
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TARGET = os.path.abspath(os.environ.get("CARGO_TARGET_DIR") or os.path.join(ROOT, "target"))
TOOLS = os.path.join(TARGET, "bench-tools")
PACKAGES = {
    "wrk": ["wrk"],
    "haproxy": ["haproxy"],
    "nginx": ["nginx"],
    "node": ["nodejs"],
    "npm": ["npm"],
    "puma": ["puma"],
}
"""The Debian packages that bring a program."""
MODULES = "/usr/lib/nginx/modules"


class Missing(Exception):
    """A program is not there and could not be brought; says why."""


class Tools:
    """The programs; each is looked for once."""

    def __init__(self, binaries=None, install=True, say=print):
        self.binaries = binaries
        self.install = install
        self.say = say
        self.found = {}
        self.versions = {}

    def path(self, program):
        """Where a program is. Raises Missing."""
        if program not in self.found:
            try:
                self.found[program] = self.look(program)
            except Missing as missing:
                self.found[program] = missing
        if isinstance(self.found[program], Missing):
            raise self.found[program]
        return self.found[program]

    def look(self, program):
        special = {"pm2-runtime": self.pm2, "gunicorn": self.gunicorn, "nginx stream": self.nginx_stream}
        if program in special:
            return special[program]()
        if program in ("forkfront", "hello", "visitors"):
            return self.ours(program)
        path = installed(program) or unpacked(f"usr/*bin/{program}")
        if not path:
            self.unpack(PACKAGES[program], program)
            path = unpacked(f"usr/*bin/{program}")
        if not path:
            raise Missing(f"its packages bring no program {program}")
        return path

    def ours(self, program):
        """Our own programs, built once, optimised unless a directory of built ones was named."""
        folder = "" if program == "forkfront" else "examples"
        where = self.binaries
        if not where:
            where = os.path.join(TARGET, "release")
            if not self.found.get("built"):
                self.found["built"] = True
                self.say("building forkfront and the two programs that measure it")
                words = ["build", "--release", "--bin", "forkfront", "--example", "hello", "--example", "visitors"]
                self.run(["cargo", *words], limit=3600, cwd=ROOT, errors=None)
        path = os.path.join(os.path.abspath(where), folder, program)
        if not os.path.exists(path):
            raise Missing(f"there is no {path}")
        return path

    def pm2(self):
        """PM2, with node, from the npm registry."""
        path = shutil.which("pm2-runtime") or os.path.join(TOOLS, "npm/node_modules/.bin/pm2-runtime")
        if not os.path.exists(path):
            self.may_install("pm2")
            words = ["install", "--prefix", os.path.join(TOOLS, "npm"), "--no-audit", "--no-fund", "--silent", "pm2"]
            self.run([self.path("npm"), *words], limit=180)
        return path

    def gunicorn(self):
        """The python that has gunicorn: this one, the one scripts/test made, or one of our own."""
        if importlib.util.find_spec("gunicorn"):
            return sys.executable
        for made in (os.path.join(TARGET, "test-venv"), os.path.join(TOOLS, "venv")):
            if glob.glob(os.path.join(made, "lib/python*/site-packages/gunicorn")):
                return os.path.join(made, "bin/python3")
        self.may_install("gunicorn")
        venv = os.path.join(TOOLS, "venv")
        self.run([sys.executable, "-m", "venv", venv], limit=120)
        python = os.path.join(venv, "bin/python3")
        self.run([python, "-m", "pip", "install", "--quiet", "gunicorn"], limit=180)
        return python

    def nginx_stream(self):
        """The line that loads nginx's stream module; empty where it is built in. Raises Missing."""
        built = self.output([self.path("nginx"), "-V"])
        if "--with-stream" in built.split():
            return ""
        name = "ngx_stream_module.so"
        module = next(iter(glob.glob(f"{MODULES}/{name}")), None) or unpacked(f"usr/lib/nginx/modules/{name}")
        if not module:
            self.unpack(["libnginx-mod-stream"], "nginx's stream module")
            module = unpacked(f"usr/lib/nginx/modules/{name}")
        if not module:
            raise Missing("its packages bring no stream module")
        return f"load_module {module};"

    def may_install(self, what):
        """Raises Missing where nothing is to be installed."""
        if not self.install:
            raise Missing(f"{what} is not installed, and --no-install was given")
        self.say(f"installing {what} into {TOOLS}")

    def unpack(self, packages, what):
        """Unpacks Debian packages, with what they need and the system does not have."""
        self.may_install(what)
        if not shutil.which("apt-get"):
            raise Missing(f"{what} is not installed, and there is no apt-get to bring it")
        plan = ["apt-get", "install", "--simulate", "--no-install-recommends", *packages]
        try:
            text = self.run(plan, limit=60)
        except Missing:
            # A machine whose package lists were never fetched; only root can fetch them.
            self.run(["apt-get", "update", "-qq"], limit=180)
            text = self.run(plan, limit=60)
        names = re.findall(r"^Inst (\S+)", text, re.MULTILINE) or packages
        folder = os.path.join(TOOLS, "packages")
        os.makedirs(folder, exist_ok=True)
        self.run(["apt-get", "download", *names], limit=300, cwd=folder)
        for name in names:
            for package in glob.glob(os.path.join(folder, f"{name}_*.deb")):
                self.run(["dpkg", "-x", package, os.path.join(TOOLS, "root")], limit=60)

    def run(self, argv, limit, cwd=None, errors=subprocess.PIPE):
        """Runs a step of an installation to its end; what it says is kept, or shown where `errors` is None. Raises
        Missing with the last thing that it said."""
        try:
            done = subprocess.run(
                argv, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True,
                timeout=limit, check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Missing(str(error)) from error
        if done.returncode != 0:
            said = [line for line in ((done.stderr or "") + done.stdout).splitlines() if line.strip()]
            raise Missing(f"{os.path.basename(argv[0])} {argv[1]}: {said[-1] if said else done.returncode}")
        return done.stdout

    def output(self, argv):
        """What a program says of itself, on either stream."""
        try:
            done = subprocess.run(
                argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False,
                env={**os.environ, **environment()},
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return done.stdout + done.stderr

    def commit(self):
        """What of forkfront is measured; empty outside a repository."""
        words = ["describe", "--always", "--dirty", "--abbrev=9"]
        text = self.output(["git", "-C", ROOT, *words]).strip()
        return "" if "fatal" in text or " " in text else text

    def note_version(self, name, argv):
        """Remembers a version for the report: the first thing that looks like a number."""
        if name not in self.versions:
            found = re.search(r"\d+(\.\d+)+[^\s\",;)]*", self.output(argv))
            self.versions[name] = found.group(0) if found else "unknown"
        return self.versions[name]


def installed(program):
    """Where the system has a program; servers are often where only root looks."""
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"
    return shutil.which(program, path=path)


def unpacked(pattern):
    """A file among the packages that were unpacked here."""
    return next(iter(sorted(glob.glob(os.path.join(TOOLS, "root", pattern)))), None)


def environment():
    """What programs from unpacked packages need to find their libraries; empty where nothing was unpacked."""
    root = os.path.join(TOOLS, "root")
    if not os.path.isdir(root):
        return {}
    triple = f"{platform.machine()}-linux-gnu"
    libraries = [f"{root}/usr/lib/{triple}", f"{root}/lib/{triple}", os.environ.get("LD_LIBRARY_PATH", "")]
    ruby = [f"{root}/usr/lib/ruby/vendor_ruby", *glob.glob(f"{root}/usr/lib/{triple}/ruby/vendor_ruby/*")]
    return {
        "LD_LIBRARY_PATH": ":".join(part for part in libraries if part),
        "RUBYLIB": ":".join([*ruby, os.environ.get("RUBYLIB", "")]).rstrip(":"),
    }
