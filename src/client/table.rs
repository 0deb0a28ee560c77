//! The status of a primary for people: at most 80 columns, states in words, why a slot is not ready, and which
//! old workers still finish. What nobody counts is a dash.

use crate::config::{Balance, StickyDown};
use crate::status::{
    AppStatus, BackendStatus, Keys, LeavingStatus, ListenerStatus, Progress, ProxyStatus,
    SlotState, SlotStatus, Status,
};

pub(super) mod backends;
mod colour;
mod keys;
mod ledger;
mod slots;
pub(super) mod text;

use text::{WIDTH, count, count_in, cut_middle, line, span, wrapped};

/// Old workers that are shown one by one.
const LEAVING_SHOWN: usize = 16;

/// The widest address that stands beside its figures, columns.
const ADDRESS: usize = 46;

/// The whole text, with colours for a terminal that shows them.
pub fn coloured(status: &Status) -> String {
    colour::paint(&table(status))
}

/// The whole text.
pub fn table(status: &Status) -> String {
    let mut out = String::new();
    heading(&mut out, status);
    match status.apps.as_slice() {
        // The second is a primary of an earlier version.
        [_] | [] => section(&mut out, status, &Section::whole(status)),
        apps => {
            for app in apps {
                let section = Section::of(app, status);
                line(&mut out, "");
                let what = backends::command(app, status);
                line(&mut out, &format!("{}: {what}", app.name));
                wrapped(&mut out, "", &section.facts(app.generation).join(", "));
                self::section(&mut out, status, &section);
            }
        }
    }
    ledger::lines(&mut out, status);
    out
}

fn heading(out: &mut String, status: &Status) {
    let mut facts = vec![
        format!("pid {}", status.pid),
        format!("up {}", span(status.uptime_s)),
    ];
    let title = match status.apps.len() {
        0 | 1 => {
            facts.extend(Section::whole(status).facts(status.generation));
            let what = |app| backends::command(app, status);
            let app = status.apps.first().map(what);
            app.unwrap_or_else(|| status.command.join(" "))
        }
        several => {
            facts.push(readiness(&status.slots.iter().collect::<Vec<_>>()));
            format!("{several} apps")
        }
    };
    if status.stopping {
        facts.push("STOPPING".into());
    }
    line(out, &format!("{}: {title}", status.name));
    wrapped(out, "", &facts.join(", "));
    if let Some(operation) = &status.operation {
        wrapped(out, "", &format!("under way: {operation}"));
    } else if let Some(Progress {
        done, of, for_s, ..
    }) = &status.progress
    {
        let time = span(*for_s);
        let words = format!("starting: {done} of {of} workers ready after {time}");
        wrapped(out, "", &words);
    }
}

/// What is shown of one app.
struct Section<'a> {
    balance: Balance,
    proxy: Option<&'a ProxyStatus>,
    backends: Vec<&'a BackendStatus>,
    sticky: Option<&'a str>,
    websocket_sticky: bool,
    /// What else is set, as the options of `run` are called.
    options: Vec<String>,
    keys: Option<&'a Keys>,
    evenness: Option<f64>,
    evenness_of: u64,
    listeners: Vec<&'a ListenerStatus>,
    slots: Vec<&'a SlotStatus>,
    leaving: Vec<&'a LeavingStatus>,
}

impl<'a> Section<'a> {
    /// Of the only app. A primary of an earlier version says of none.
    fn whole(status: &'a Status) -> Self {
        let app = status.apps.first();
        Self {
            balance: status.balance,
            proxy: app.and_then(|app| app.proxy.as_ref()),
            backends: status.backends.iter().collect(),
            sticky: status.sticky.as_deref(),
            websocket_sticky: status.websocket_sticky,
            options: app.map(options).unwrap_or_default(),
            keys: status.keys.as_ref(),
            evenness: status.evenness,
            evenness_of: app.map_or(0, |app| app.evenness_of),
            listeners: status.listeners.iter().collect(),
            slots: status.slots.iter().collect(),
            leaving: status.leaving.iter().collect(),
        }
    }

    fn of(app: &'a AppStatus, status: &'a Status) -> Self {
        let name = &app.name;
        let listeners = status.listeners.iter().filter(|one| one.app == *name);
        let slots = status.slots.iter().filter(|one| one.app == *name);
        let leaving = status.leaving.iter().filter(|one| one.app == *name);
        let backends = status.backends.iter().filter(|one| one.app == *name);
        Self {
            balance: app.balance,
            proxy: app.proxy.as_ref(),
            backends: backends.collect(),
            sticky: app.sticky.as_deref(),
            websocket_sticky: app.websocket_sticky,
            options: options(app),
            keys: app.keys.as_ref(),
            evenness: app.evenness,
            evenness_of: app.evenness_of,
            listeners: listeners.collect(),
            slots: slots.collect(),
            leaving: leaving.collect(),
        }
    }

    fn facts(&self, generation: u32) -> Vec<String> {
        let mut facts = vec![readiness(&self.slots)];
        match self.proxy {
            None => facts.push(self.balance.to_string()),
            Some(proxy) => {
                facts.push(backends::readiness(self.backends.iter().copied()));
                facts.push(proxy.balance.to_string());
                facts.extend(proxy.sticky.as_ref().map(|key| format!("sticky {key}")));
            }
        }
        let what = if self.websocket_sticky {
            "WebSockets "
        } else {
            ""
        };
        facts.extend(self.sticky.map(|key| format!("{what}sticky {key}")));
        facts.extend(self.options.iter().cloned());
        if generation > 1 {
            facts.push(format!("generation {generation}"));
        }
        facts
    }

    /// The kernel deals, and the primary sees nothing of it.
    fn is_counted(&self) -> bool {
        self.balance != Balance::Kernel
    }
}

fn options(app: &AppStatus) -> Vec<String> {
    let mut set = Vec::new();
    if app.sticky_down == Some(StickyDown::Hold) {
        set.push("sticky-down hold".to_owned());
    }
    set.extend(
        app.sticky_bound
            .map(|bound| format!("sticky-bound {bound}")),
    );
    for (on, name) in [
        (app.proxy_protocol, "proxy-protocol"),
        (app.header_complete, "header-complete"),
    ] {
        if on {
            set.push(name.to_owned());
        }
    }
    set
}

pub(super) fn readiness(slots: &[&SlotStatus]) -> String {
    let of = |state| slots.iter().filter(|slot| slot.state == state).count();
    let ready = of(SlotState::Ready);
    let mut words = format!("{ready} of {} workers ready", slots.len());
    for (state, word) in [
        (SlotState::Drained, "drained"),
        (SlotState::Failed, "failed"),
        (SlotState::Stopped, "stopped"),
    ] {
        if of(state) > 0 {
            words.push_str(&format!(", {} {word}", of(state)));
        }
    }
    words
}

fn section(out: &mut String, status: &Status, section: &Section) {
    listeners(out, section);
    if section.proxy.is_some() {
        backends::table(out, section);
        backends::reasons(out, section);
    }
    if !section.slots.is_empty() {
        slots::table(out, section);
        slots::reasons(out, section);
        keys::lines(out, section);
    }
    leaving(out, status, &section.leaving);
}

fn listeners(out: &mut String, section: &Section) {
    if section.listeners.is_empty() {
        line(out, "\nno listener yet: the server has not bound a port");
        return;
    }
    line(out, "");
    line(
        out,
        &format!(
            "{:<ADDRESS$} {:>10} {:>16}",
            "LISTENER", "ACCEPTED", "BACKLOG"
        ),
    );
    for listener in &section.listeners {
        let address = match listener.app_port {
            // What a proxy asks for is nobody's business.
            Some(port)
                if section.proxy.is_none() && !listener.address.ends_with(&format!(":{port}")) =>
            {
                format!("{} (server: {port})", listener.address)
            }
            _ => listener.address.clone(),
        };
        let backlog = match listener.backlog_limit {
            0 => dash(),
            limit => format!("{} of {limit}", listener.backlog),
        };
        let accepted = known(section.is_counted(), count_in(listener.accepted, 10));
        let address = cut_middle(&address, WIDTH);
        let mut address = address.as_str();
        if address.chars().count() > ADDRESS {
            // It has a line of its own, and its figures the next one.
            line(out, address);
            address = "";
        }
        line(
            out,
            &format!("{address:<ADDRESS$} {accepted:>10} {backlog:>16}"),
        );
    }
}

/// Stands above the rows of [`leaving_row`].
pub const LEAVING_HEAD: &str = " OLD     PID STATE     OPEN GENERATION    LEFT  WHY";

/// One worker that serves no slot any more.
pub fn leaving_row(one: &LeavingStatus) -> String {
    format!(
        "{:>4} {:>7} {:<8} {:>5} {:>10} {:>7}  {}",
        one.slot,
        one.pid,
        word(&one.state),
        count(one.open),
        one.generation,
        span(one.left_s.ceil()),
        one.why
    )
}

/// Workers that serve no slot any more.
fn leaving(out: &mut String, status: &Status, all: &[&LeavingStatus]) {
    if all.is_empty() {
        return;
    }
    line(out, &format!("\n{LEAVING_HEAD}"));
    for one in all.iter().take(LEAVING_SHOWN) {
        line(out, &leaving_row(one));
    }
    let more = all.len().saturating_sub(LEAVING_SHOWN);
    if more > 0 {
        let open: u64 = all[LEAVING_SHOWN..].iter().map(|one| one.open).sum();
        let name = &status.name;
        line(
            out,
            &format!(
                "     and {more} more with {open} open: forkfront status --json --name {name}"
            ),
        );
    }
}

fn dash() -> String {
    "-".into()
}

fn known(known: bool, text: String) -> String {
    if known { text } else { dash() }
}

/// The word that the JSON has for it.
pub(super) fn word(state: &SlotState) -> String {
    match serde_json::to_value(state) {
        Ok(serde_json::Value::String(word)) => word,
        _ => "?".into(),
    }
}

#[cfg(test)]
mod tests;
