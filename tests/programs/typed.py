"""Types into a shell at a terminal of its own, as a person would, and looks at what comes.

usage: typed.py SHELL SCRIPT [KEYS EXPECTED]...

Each KEYS is typed at a fresh prompt, and EXPECTED must then be on the screen within ten seconds.
"""

import os
import pty
import re
import select
import signal
import sys
import time

PROMPT = "ready> "
PATIENCE = 10
SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], f"PS1='{PROMPT}'; source SCRIPT"),
    "zsh": (
        ["zsh", "-f", "-i"],
        f"fpath+=DIRECTORY; autoload -U compinit; compinit -u -D; PS1='{PROMPT}'",
    ),
    "fish": (
        ["fish", "--no-config", "-i"],
        f"source SCRIPT; function fish_prompt; printf '{PROMPT}'; end",
    ),
}
CONTROLS = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[=>]|\x1b\(.|\x1b\][^\x07]*\x07|[\r\x07]")


class Terminal:
    def __init__(self, words):
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            os.execvp(words[0], words)
        self.bytes = b""

    def screen(self):
        return CONTROLS.sub("", self.bytes.decode(errors="replace"))

    def type(self, keys):
        self.bytes = b""
        os.write(self.descriptor, keys.encode())

    def see(self, expected):
        end = time.monotonic() + PATIENCE
        while expected not in self.screen():
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.descriptor], [], [], left)[0]:
                sys.exit(f"no {expected!r} on the screen:\n{self.screen()}")
            try:
                self.bytes += os.read(self.descriptor, 65536)
            except OSError:
                sys.exit(f"the shell has ended:\n{self.screen()}")


def main(shell, script, cases):
    words, setup = SHELLS[shell]
    terminal = Terminal(words)
    try:
        setup = setup.replace("SCRIPT", script).replace("DIRECTORY", os.path.dirname(script))
        # The prompt is set by the line itself, whose echo is no prompt: hence the second one.
        terminal.type(f"{setup}; echo so''far\n")
        terminal.see("sofar")
        terminal.see(PROMPT)
        for keys, expected in zip(cases[::2], cases[1::2]):
            terminal.type(keys)
            terminal.see(expected)
            terminal.type("\x15\x03\necho so''far\n")
            terminal.see("sofar")
    finally:
        os.kill(terminal.pid, signal.SIGKILL)
        os.waitpid(terminal.pid, 0)


main(sys.argv[1], sys.argv[2], sys.argv[3:])
