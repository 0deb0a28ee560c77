"""How a server is told that somebody has come."""

import os
import select
import socket
import subprocess

from transcript import *

IN, OUT, ET, ONESHOT = select.EPOLLIN, select.EPOLLOUT, select.EPOLLET, select.EPOLLONESHOT
EXCLUSIVE = 1 << 28


def events(epoll, seconds=PATIENCE):
    return sorted(event for _, event in epoll.poll(seconds))


def poll_and_select():
    server = listening()
    poller = select.poll()
    poller.register(server, select.POLLIN | select.POLLOUT | select.POLLPRI)
    say("poll, nobody", [event for _, event in poller.poll(QUIET * 1000)])
    say("select, nobody", [bool(x) for x in select.select([server], [server], [server], QUIET)])
    peer = client()
    say("poll, one", [event for _, event in poller.poll(PATIENCE * 1000)])
    say("select, one", [bool(x) for x in select.select([server], [server], [server], PATIENCE)])
    taken, _ = server.accept()
    say("poll, taken", [event for _, event in poller.poll(QUIET * 1000)])
    say(echo(taken, peer))


def level_triggered():
    server = listening()
    server.setblocking(False)
    epoll = select.epoll()
    epoll.register(server, IN | OUT)
    say("nobody", events(epoll, QUIET))
    first, second = client(), client()
    say("somebody", events(epoll))
    say("still", events(epoll))
    held = [take(server), take(server)]
    say("taken", events(epoll, QUIET))
    attempt("accept", server.accept)
    epoll.modify(server, IN)
    third = client()
    say("modified", events(epoll))
    epoll.unregister(server)
    say("unregistered", events(epoll, QUIET))
    attempt("unregistered twice", epoll.unregister, server)
    del held, first, second, third


def edge_triggered():
    server = listening()
    server.setblocking(False)
    epoll = select.epoll()
    epoll.register(server, IN | OUT | ET | select.EPOLLRDHUP)
    say("nobody", events(epoll, QUIET))
    first = client()
    say("edge", events(epoll))
    say("no second edge", events(epoll, QUIET))
    take(server)
    second = client()
    say("next edge", events(epoll))
    epoll.modify(server, IN | ET)
    say("modify tells again", events(epoll))
    del first, second


def one_shot():
    server = listening()
    epoll = select.epoll()
    epoll.register(server, IN | ONESHOT)
    held = [client(), client()]
    say("shot", events(epoll))
    say("no second shot", events(epoll, QUIET))
    take(server)
    epoll.modify(server, IN | ONESHOT)
    say("armed again", events(epoll))
    del held


def registered_early():
    """Before bind, as asio does, and between bind and listen."""
    for moment in ("before bind", "before listen"):
        for mode in (0, ET, EXCLUSIVE):
            server = plain()
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.setblocking(False)
            epoll = select.epoll()
            if moment == "before bind":
                epoll.register(server, IN | mode)
            server.bind((HOST, PORT))
            if moment == "before listen":
                epoll.register(server, IN | mode)
            server.listen()
            # An unbound or unlistening socket hangs up; what is told of that before now is not compared.
            events(epoll, QUIET)
            say(f"{moment} {mode}: quiet", events(epoll, QUIET))
            peer = client()
            say(f"{moment} {mode}: somebody", events(epoll))
            say(echo(take(server)[0], peer))
            server.close()
            say(f"{moment} {mode}: closed", events(epoll, QUIET))


def closed_while_watched():
    """The kernel takes a closed socket out of an epoll set by itself."""
    for way in ("close", "dup over"):
        server = listening()
        server.setblocking(False)
        epoll = select.epoll()
        epoll.register(server, IN)
        peer = client()
        say(f"{way}: somebody", events(epoll))
        take(server)
        spare = socket.socket(socket.AF_UNIX)
        if way == "close":
            server.close()
        else:
            os.dup2(spare.fileno(), server.fileno())
        say(f"{way}: gone", events(epoll, QUIET))
        say(f"{way}: and gone", events(epoll, QUIET))
        if way == "dup over":
            attempt("accept", server.accept)
            server.close()
        del peer


def watch_and_close(epoll, server, name):
    epoll.register(server, IN)
    peer = client()
    say(f"{name}: somebody", events(epoll))
    server.close()
    say(f"{name}: gone", events(epoll, QUIET))
    peer.close()


def helper_before_the_listener():
    """What a vfork child closes, before there is any listener, is still open in its parent."""
    epoll = select.epoll()
    subprocess.run(["true"], close_fds=True, check=True)
    watch_and_close(epoll, listening(), "parent")


def helper_of_a_child():
    """The first thing a child does is to make a vfork child."""
    server = listening()
    alone, closed = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(closed)
        subprocess.run(["true"], close_fds=True, check=True)
        os.read(alone, 1)
        watch_and_close(select.epoll(), server, "child")
        with open(os.environ["CHILD_SAYS"], "w") as out:
            out.write("\n".join(lines))
        os._exit(0)
    server.close()
    os.close(closed)
    say("exit", os.waitpid(pid, 0)[1])
    with open(os.environ["CHILD_SAYS"]) as said:
        lines.extend(said.read().split("\n"))


def nested():
    """An epoll set in a poll."""
    server = listening()
    inner, outer = select.epoll(), select.epoll()
    inner.register(server, IN)
    outer.register(inner, IN)
    say("nobody", events(outer, QUIET))
    peer = client()
    say("somebody", events(outer))
    say(echo(take(server)[0], peer))
