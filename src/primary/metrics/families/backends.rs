//! What there is to scrape of the backends of proxies; nothing where there is no proxy.

use super::super::exposition::{Kind, Labels, Text};
use super::Scrape;
use super::waits::histogram;
use crate::status::{BackendState, BackendStatus};

use Kind::{Counter, Gauge, Histogram};

/// All states, from the best to the worst.
const STATES: [BackendState; 7] = [
    BackendState::Up,
    BackendState::Draining,
    BackendState::Drained,
    BackendState::Leaving,
    BackendState::Ejected,
    BackendState::Down,
    BackendState::Unresolved,
];

/// Writes them.
pub fn families(scrape: &Scrape<'_>, text: &mut Text) {
    if scrape.status.apps.iter().all(|app| app.proxy.is_none()) {
        return;
    }
    apps(scrape, text);
    state(scrape, text);
    sessions(scrape, text);
    health(scrape, text);
    connects(scrape, text);
}

/// What of a backend is a sample; `None`: it has none.
type Value = fn(&BackendStatus) -> Option<f64>;

fn family(
    scrape: &Scrape<'_>,
    text: &mut Text,
    (name, kind, help): (&'static str, Kind, &str),
    value: Value,
) {
    text.family(name, kind, help);
    for (one, _) in &scrape.backends {
        if let Some(value) = value(one) {
            text.sample(&labels(one), value);
        }
    }
}

fn labels(one: &BackendStatus) -> [(&'static str, &str); 3] {
    [
        ("app", &one.app),
        ("backend", &one.backend),
        ("address", &one.address),
    ]
}

fn apps(scrape: &Scrape<'_>, text: &mut Text) {
    let help = "Backends by how they are.";
    text.family("forkfront_backends_in_state", Gauge, help);
    let proxies = || {
        let apps = scrape.status.apps.iter();
        apps.filter_map(|app| Some((app.name.as_str(), app.proxy.as_ref()?)))
    };
    for (app, _) in proxies() {
        for state in STATES {
            let all = scrape.backends.iter();
            let count = all.filter(|(one, _)| one.app == app && one.state == state);
            let labels = [("app", app), ("state", &state.to_string())];
            text.sample(&labels, count.count());
        }
    }
    let help = "Sessions that wait for room at a backend.";
    text.family("forkfront_sessions_waiting", Gauge, help);
    for (app, proxy) in proxies() {
        text.sample(&[("app", app)], proxy.waiting);
    }
    let help = "Clients that no backend served, by why.";
    text.family("forkfront_sessions_turned_away_total", Counter, help);
    for (app, proxy) in proxies() {
        let all = proxy.turned_away;
        for (reason, count) in [
            ("no_backend", all.no_backend),
            ("unreachable", all.unreachable),
            ("queue_full", all.queue_full),
            ("queue_timeout", all.queue_timeout),
            ("exhausted", all.exhausted),
            ("no_port", all.no_port),
        ] {
            text.sample(&[("app", app), ("reason", reason)], count);
        }
    }
    let help = "Connects to backends that found no port to connect from, so that they went elsewhere or were tried again.";
    text.family("forkfront_connects_without_port_total", Counter, help);
    for (app, proxy) in proxies() {
        text.sample(&[("app", app)], proxy.without_port);
    }
}

fn state(scrape: &Scrape<'_>, text: &mut Text) {
    let mut each = |name, kind, help, value: Value| family(scrape, text, (name, kind, help), value);
    each(
        "forkfront_backend_up",
        Gauge,
        "1 while the backend gets sessions, or would as a backup.",
        |one| Some(f64::from(u8::from(one.state == BackendState::Up))),
    );
    each(
        "forkfront_backend_weight",
        Gauge,
        "What the backend gets compared with others.",
        |one| Some(f64::from(one.weight)),
    );
    each(
        "forkfront_backend_share_ratio",
        Gauge,
        "What the backend gets now of what its weight gives it: less than 1 in its slow start.",
        |one| Some(f64::from(one.share_percent) / 100.0),
    );
    each(
        "forkfront_backend_state_seconds",
        Gauge,
        "Time since the state of the backend began.",
        |one| Some(one.for_s),
    );
}

fn sessions(scrape: &Scrape<'_>, text: &mut Text) {
    let mut each = |name, kind, help, value: Value| family(scrape, text, (name, kind, help), value);
    each(
        "forkfront_backend_open_sessions",
        Gauge,
        "Sessions of all workers that are open at the backend or connecting to it.",
        |one| Some(one.open as f64),
    );
    each(
        "forkfront_backend_max_sessions",
        Gauge,
        "Most sessions at a time, where there is such a bound.",
        |one| one.max.map(f64::from),
    );
    each(
        "forkfront_backend_retried_sessions_total",
        Counter,
        "Sessions that tried again, at another backend if there was one, since this one could not be connected to.",
        |one| Some(one.retried as f64),
    );
    let help = "Bytes led on, by where to.";
    text.family("forkfront_backend_bytes_total", Counter, help);
    for (one, _) in &scrape.backends {
        both(
            text,
            one,
            "to",
            ["backend", "client"],
            [one.bytes_in, one.bytes_out],
        );
    }
}

fn health(scrape: &Scrape<'_>, text: &mut Text) {
    let help = "Checks of the backend, by what came of them.";
    text.family("forkfront_backend_checks_total", Counter, help);
    for (one, _) in &scrape.backends {
        let counts = [one.checks_good, one.checks_bad];
        both(text, one, "result", ["good", "bad"], counts);
    }
    let named = (
        "forkfront_backend_ejections_total",
        Counter,
        "Times that the backend was taken out since sessions could not connect to it.",
    );
    family(scrape, text, named, |one| Some(one.ejections as f64));
}

fn connects(scrape: &Scrape<'_>, text: &mut Text) {
    let named = (
        "forkfront_backend_connect_failures_total",
        Counter,
        "Connects to the backend that failed.",
    );
    family(scrape, text, named, |one| Some(one.failures as f64));
    text.family(
        "forkfront_backend_connect_seconds",
        Histogram,
        "How long connects to the backend took that came about.",
    );
    for (one, waits) in &scrape.backends {
        histogram(text, &labels(one), waits);
    }
}

/// Two samples of a backend, which differ in one more label.
fn both(text: &mut Text, one: &BackendStatus, by: &str, names: [&str; 2], counts: [u64; 2]) {
    for (name, count) in names.into_iter().zip(counts) {
        let more: &Labels<'_> = &[(by, name)];
        text.sample(&[&labels(one), more].concat(), count);
    }
}
