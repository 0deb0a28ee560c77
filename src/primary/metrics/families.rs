//! What there is to scrape: the status, with what only counts up, under names that follow
//! <https://prometheus.io/docs/practices/naming/>.
//!
//! For each app, at every scrape: `accepted = handed_over - read_back + held + closed`, summed over the reasons.
//! Nothing that is a counter goes down while the primary runs, over restarts of workers, reloads and upgrades. A
//! listener, a slot, a backend or an app that goes takes its series along.

use super::exposition::{Kind, Text};
use super::readers::Counts;
use super::tally::{Counted, Waits};
use crate::status::{AppStatus, BackendStatus, Keys, SlotState, Status};

use Kind::{Counter, Gauge};

mod backends;
mod slots;
mod waits;

/// All states, in the order in which a worker goes through them.
const STATES: [SlotState; 10] = [
    SlotState::Starting,
    SlotState::Ready,
    SlotState::Paused,
    SlotState::Draining,
    SlotState::Drained,
    SlotState::Leaving,
    SlotState::Killing,
    SlotState::Waiting,
    SlotState::Failed,
    SlotState::Stopped,
];

/// All that is scraped at one moment.
#[derive(Debug)]
pub struct Scrape<'a> {
    /// The state.
    pub status: &'a Status,
    /// What counts of each of its slots.
    pub counted: Vec<Counted>,
    /// The backends of the proxies among its apps, and how long connects to each took.
    pub backends: Vec<(BackendStatus, Waits)>,
    /// When the primary was started, seconds since 1970.
    pub born: f64,
    /// Most descriptors that it may have.
    pub most_fds: u64,
    /// Connections that the kernel has turned away at a full accept queue meanwhile.
    pub overflows: u64,
    /// Those who read over HTTP: how many, and what was done for them.
    pub readers: (usize, Counts),
}

impl Scrape<'_> {
    /// As text.
    pub fn text(&self) -> String {
        let mut text = Text::default();
        self.primary(&mut text);
        self.apps(&mut text);
        self.listeners(&mut text);
        self.keys(&mut text);
        slots::families(self, &mut text);
        backends::families(self, &mut text);
        text.finish()
    }

    fn primary(&self, text: &mut Text) {
        let Self { status, .. } = self;
        let labels = [("version", status.version.as_str()), ("name", &status.name)];
        let help = "The running primary, always 1.";
        text.family("forkfront_build_info", Gauge, help)
            .sample(&labels, 1);
        let help = "When the primary was started, since the epoch.";
        text.single("process_start_time_seconds", Gauge, help, self.born);
        let help = "Processor time of the primary.";
        let used = &status.primary;
        text.single("process_cpu_seconds_total", Counter, help, used.cpu_s);
        let help = "Resident memory of the primary.";
        text.single("process_resident_memory_bytes", Gauge, help, used.rss_bytes);
        let help = "Open descriptors of the primary.";
        text.single("process_open_fds", Gauge, help, used.fds);
        let help = "Most descriptors that the primary may have.";
        text.single("process_max_fds", Gauge, help, self.most_fds);
        let help = "1 while a graceful stop is under way.";
        let stopping = u8::from(status.stopping);
        text.single("forkfront_stopping", Gauge, help, stopping);
        let help = "1 while a reload or another change is under way.";
        let changing = u8::from(status.operation.is_some());
        text.single("forkfront_operation_in_progress", Gauge, help, changing);
        let help = "Lines of the workers and the primary that nobody took in time.";
        let dropped = status.lines_dropped;
        text.single("forkfront_log_lines_dropped_total", Counter, help, dropped);
        self.own(text);
    }

    /// The metrics of the metrics.
    fn own(&self, text: &mut Text) {
        let (readers, counts) = self.readers;
        let help = "Connections that read the state over HTTP.";
        text.single("forkfront_metrics_readers", Gauge, help, readers);
        let help = "Requests for the state over HTTP, refused ones included.";
        let requests = "forkfront_metrics_requests_total";
        text.single(requests, Counter, help, counts.requests);
        let help =
            "Readers over HTTP that were turned away or cut off because there were too many.";
        let crowded_out = "forkfront_metrics_readers_crowded_out_total";
        text.single(crowded_out, Counter, help, counts.crowded_out);
    }

    fn apps(&self, text: &mut Text) {
        let mut each = |name, kind, help, value: &dyn Fn(&AppStatus) -> u64| {
            text.family(name, kind, help);
            for app in &self.status.apps {
                text.sample(&[("app", &app.name)], value(app));
            }
        };
        each(
            "forkfront_connections_accepted_total",
            Counter,
            "Connections accepted.",
            &|app| app.ledger.accepted,
        );
        each(
            "forkfront_connections_handed_over_total",
            Counter,
            "Connections handed to a worker, each time.",
            &|app| app.ledger.dealt.saturating_add(app.ledger.read_back),
        );
        each(
            "forkfront_connections_read_back_total",
            Counter,
            "Connections taken back from a worker that had not taken them, to be handed to another.",
            &|app| app.ledger.read_back,
        );
        each(
            "forkfront_connections_held",
            Gauge,
            "Connections accepted and not yet handed over.",
            &|app| app.ledger.held,
        );
        each(
            "forkfront_generation",
            Gauge,
            "Raised by each reload.",
            &|app| u64::from(app.generation),
        );
        each(
            "forkfront_slots",
            Gauge,
            "Slots, each a place for one worker.",
            &|app| app.workers as u64,
        );
        self.closed(text);
        self.states(text);
    }

    fn closed(&self, text: &mut Text) {
        text.family(
            "forkfront_connections_closed_total",
            Counter,
            "Connections that were closed and never handed over: by a rule, or because the client had gone.",
        );
        for app in &self.status.apps {
            let of = |reason| [("app", app.name.as_str()), ("reason", reason)];
            text.sample(&of("policy"), app.ledger.closed_by_policy);
            text.sample(&of("client_gone"), app.ledger.client_gone);
        }
    }

    fn states(&self, text: &mut Text) {
        text.family(
            "forkfront_slots_in_state",
            Gauge,
            "Slots by the state of their worker.",
        );
        for app in &self.status.apps {
            for state in STATES {
                let slots = self.status.slots.iter().filter(|slot| slot.app == app.name);
                let count = slots.filter(|slot| slot.state == state).count();
                text.sample(&[("app", &app.name), ("state", &state.to_string())], count);
            }
        }
        text.family(
            "forkfront_workers_leaving",
            Gauge,
            "Workers that serve no slot any more and finish what they have.",
        );
        for app in &self.status.apps {
            let leaving = self.status.leaving.iter();
            text.sample(
                &[("app", &app.name)],
                leaving.filter(|one| one.app == app.name).count(),
            );
        }
    }

    fn listeners(&self, text: &mut Text) {
        let listeners = &self.status.listeners;
        let mut each = |name, kind, help, value: &dyn Fn(usize) -> u64| {
            text.family(name, kind, help);
            for (index, one) in listeners.iter().enumerate() {
                let labels = [("app", one.app.as_str()), ("address", &one.address)];
                text.sample(&labels, value(index));
            }
        };
        each(
            "forkfront_listener_accepted_total",
            Counter,
            "Connections accepted from a listener.",
            &|index| listeners[index].accepted,
        );
        each(
            "forkfront_listener_backlog",
            Gauge,
            "Connections in the kernel's accept queue.",
            &|index| u64::from(listeners[index].backlog),
        );
        each(
            "forkfront_listener_backlog_limit",
            Gauge,
            "Room in the kernel's accept queue.",
            &|index| u64::from(listeners[index].backlog_limit),
        );
        text.family(
            "forkfront_listen_overflows_total",
            Counter,
            "Connections that the kernel turned away at a full accept queue, of all programs in the network namespace.",
        )
        .sample(&[], self.overflows);
    }

    fn keys(&self, text: &mut Text) {
        let apps = self.status.apps.iter();
        let apps: Vec<(&str, &Keys)> = apps
            .filter_map(|app| Some((app.name.as_str(), app.keys.as_ref()?)))
            .collect();
        if apps.is_empty() {
            return;
        }
        text.family(
            "forkfront_first_bytes_awaited",
            Gauge,
            "Connections whose first bytes are waited for.",
        );
        for (app, keys) in &apps {
            text.sample(&[("app", app)], keys.reading);
        }
        text.family(
            "forkfront_connections_placed_total",
            Counter,
            "Connections by what they were placed by: a key that was found, the address for want of one, the policy.",
        );
        for (app, keys) in &apps {
            for (by, count) in placed_by(keys) {
                text.sample(&[("app", app), ("by", by)], count);
            }
        }
        text.family(
            "forkfront_first_bytes_refused_total",
            Counter,
            "Connections closed for what they sent, or did not.",
        );
        for (app, keys) in &apps {
            text.sample(&[("app", app)], keys.refused);
        }
        text.family(
            "forkfront_proxy_headers_total",
            Counter,
            "PROXY headers that were taken off.",
        );
        for (app, keys) in &apps {
            text.sample(&[("app", app)], keys.proxied);
        }
    }
}

fn placed_by(keys: &Keys) -> [(&'static str, u64); 14] {
    let Keys {
        found, fallback, ..
    } = keys;
    [
        ("ip", found.ip),
        ("proxy", found.proxy),
        ("header", found.header),
        ("cookie", found.cookie),
        ("query", found.query),
        ("path", found.path),
        ("sni", found.sni),
        ("alpn", found.alpn),
        ("route", found.route),
        ("address_for_want_of_key", fallback.absent),
        ("address_since_unreadable", fallback.unreadable),
        ("address_since_late", fallback.timed_out),
        ("address_since_crowded", fallback.crowded),
        ("policy", keys.balanced),
    ]
}
