//! An `[[app]]` that has `to` in place of a `command`, a proxy: its keys, as cli/proxy.rs has them.

use std::path::Path;

use super::app::{App, NUMBER, Places, TIME, WORD, choice, finish, listeners, set, shared};
use super::routing::trusted_proxies;
use super::table::Table;
use crate::config::proxy::{self, Backend, Check, Eject, OrOff, Proxy};
use crate::config::{self, AppConfig, Spelling};

const OR_OFF: &str = "a time, as in \"500ms\", \"10s\", \"2m\", or \"off\"";
const SOURCE: &str = "an address of this machine, as in \"10.0.0.2\", or an array of them";
const TO: &str = "a backend, as in \"10.0.0.1:5432\", or an array of them";

/// Whether this app is one.
pub fn is_one(table: &Table<'_>) -> bool {
    table.has("to")
}

/// Reads one; relative paths begin at `directory`.
pub fn read(table: &Table<'_>, directory: &Path) -> App {
    if table.has("command") {
        let _ = table.get("command");
        table.refuse(
            table.key_place("command"),
            "an app has either a 'command', a server to run, or 'to', backends to lead to, and this one has both",
        );
    }
    let refused = table.refused();
    let (to, to_places) = backends(table, directory);
    let (listen, listen_places) = listeners(table, directory, proxy::listens);
    let mut proxy = Proxy {
        to,
        ..Proxy::default()
    };
    treatment(table, &mut proxy);
    times(table, &mut proxy);
    proxy.check = check(table);
    proxy.eject = eject(table);
    let mut app = proxy::app(proxy, listen);
    let name = shared(table, &mut app);
    app.name = name.clone().unwrap_or_else(|| config::ONLY.to_owned());
    routing(table, &mut app);
    // What cannot be read is not there for the others, and that is no fault of theirs.
    if table.refused() == refused {
        check_together(table, &app, &to_places);
    }
    super::app::check_listeners(table, &app, &listen_places);
    finish(table);
    App {
        config: app,
        name,
        places: Places {
            name: table.place("name"),
            command: table.place("to"),
            cwd: table.start,
            workers: table.place("workers"),
            listen: listen_places,
            to: to_places,
        },
    }
}

fn backends(table: &Table<'_>, directory: &Path) -> (Vec<Backend>, Vec<usize>) {
    let read = |words: &str| Backend::beside(words, directory);
    let found = table.list("to").iter().filter_map(|value| {
        let backend = table.read("to", value, TO, read)?;
        Some((backend, value.span().start))
    });
    found.unzip()
}

/// Who gets a session, and how it is treated.
fn treatment(table: &Table<'_>, proxy: &mut Proxy) {
    set(&mut proxy.balance, table.word("balance", WORD, choice));
    proxy.sticky = table.word("sticky", WORD, str::parse);
    let sources = table.list("source").iter();
    let source = sources.filter_map(|own| table.read("source", own, SOURCE, proxy::source));
    proxy.source = source.collect();
    set(
        &mut proxy.max_queue,
        table.word("max-queue", NUMBER, proxy::max_queue),
    );
    set(
        &mut proxy.retries,
        table.word("retries", NUMBER, proxy::retries),
    );
    proxy.send_proxy = table.word("send-proxy", WORD, choice);
    set(&mut proxy.on_down, table.word("on-down", WORD, choice));
    set(
        &mut proxy.slow_start,
        table.word("slow-start", TIME, config::duration),
    );
    set(&mut proxy.splice, table.word("splice", WORD, choice));
}

fn times(table: &Table<'_>, proxy: &mut Proxy) {
    let time = |key| table.word(key, TIME, config::positive_duration);
    let or_off = |key| table.word(key, OR_OFF, proxy::time_or_off);
    let plain = |OrOff(time)| time;
    set(&mut proxy.resolve_every, time("resolve-every"));
    set(&mut proxy.timeouts.connect, time("connect-timeout"));
    set(&mut proxy.timeouts.queue, time("queue-timeout"));
    set(&mut proxy.timeouts.idle, or_off("idle-timeout").map(plain));
    proxy.timeouts.half_closed = time("half-closed-timeout");
    set(&mut proxy.timeouts.lifetime, or_off("lifetime").map(plain));
    let keepalive = table.word("keepalive", OR_OFF, proxy::keepalive);
    set(&mut proxy.keepalive, keepalive.map(plain));
}

fn check(table: &Table<'_>) -> Option<Check> {
    let time = |key| table.word(key, TIME, config::positive_duration);
    let number = |key| table.word(key, NUMBER, proxy::answers);
    let what = table.word("check", "\"tcp\", \"http:/path\" or \"off\"", proxy::check);
    let (interval, timeout) = (time("check-interval"), time("check-timeout"));
    let (rise, fall) = (number("rise"), number("fall"));
    let mut check = Check::new(what?.0?);
    set(&mut check.interval, interval);
    set(&mut check.timeout, timeout);
    set(&mut check.rise, rise);
    set(&mut check.fall, fall);
    Some(check)
}

fn eject(table: &Table<'_>) -> Eject {
    let time = |key| table.word(key, TIME, config::positive_duration);
    let mut eject = Eject::default();
    set(
        &mut eject.after,
        table.word("eject-after", NUMBER, proxy::eject_after),
    );
    set(&mut eject.time, time("eject-time"));
    set(&mut eject.longest, time("eject-max"));
    set(
        &mut eject.share,
        table.word("eject-share", "a number, percent", proxy::share),
    );
    eject
}

/// What is done with a client's first bytes before a worker has it, and how many wait for one.
fn routing(table: &Table<'_>, app: &mut AppConfig) {
    app.routing.proxy_protocol = table.truth("proxy-protocol");
    app.routing.trusted_proxies = trusted_proxies(table);
    set(
        &mut app.routing.peek_timeout,
        table.word("peek-timeout", TIME, config::positive_duration),
    );
    set(
        &mut app.max_held,
        table.word("max-held", NUMBER, config::max_held),
    );
}

/// What no key says by itself.
fn check_together(table: &Table<'_>, app: &AppConfig, to: &[usize]) {
    let Some(proxy) = &app.proxy else { return };
    if proxy.to.is_empty() {
        table.refuse(
            table.place("to"),
            format!("'to' names no backend: it takes {TO}"),
        );
    }
    if app.listen.is_empty() {
        table.refuse(
            table.place("to"),
            "this app has no 'listen', and a proxy needs to be told where: 5432, \"127.0.0.1:5432\" or \"unix:PATH\"",
        );
    }
    if let Some((at, twice)) = proxy::duplicate(&proxy.to) {
        table.refuse(to[at], twice);
    }
    for misfit in proxy.misfits(&app.routing, Spelling::Keys, |key| table.has(key)) {
        table.refuse(table.place(misfit.key), misfit.sentence);
    }
}
