"""What the figures were measured on."""
import os
import platform
import time


def facts(tools, load):
    """The machine and the programs."""
    return {
        "date": time.strftime("%Y-%m-%d %H:%M %Z"),
        "cores": len(os.sched_getaffinity(0)),
        "cpu": first("/proc/cpuinfo", "model name", ":"),
        "memory_mb": int(first("/proc/meminfo", "MemTotal", ":").split()[0] or 0) // 1024,
        "kernel": platform.release(),
        "load_before": round(load, 2),
        "commit": tools.commit(),
        "python": platform.python_version(),
        "versions": tools.versions,
    }


def first(path, key, sign):
    """The first value of that key in one of the kernel's files."""
    try:
        with open(path, encoding="utf-8") as file:
            for line in file:
                if line.startswith(key):
                    return line.split(sign, 1)[1].strip()
    except OSError:
        pass
    return "0"


def sentence(found):
    """The facts in two lines."""
    versions = ", ".join(f"{name} {version}" for name, version in sorted(found["versions"].items()))
    versions += f"; commit {found['commit']}" if found["commit"] else ""
    return (
        f"{found['cores']} cores ({found['cpu']}), {found['memory_mb']} MB, Linux {found['kernel']}, {found['date']}, "
        f"load {found['load_before']} before\n{versions}"
    )
