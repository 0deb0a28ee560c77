//! The status of a primary for people: at most 80 columns, states in words, why a slot is not ready, and which
//! old workers still finish. What nobody counts is a dash.

use crate::config::Balance;
use crate::status::{
    AppStatus, Keys, LeavingStatus, ListenerStatus, SlotState, SlotStatus, Status,
};

mod keys;
pub(super) mod text;

use text::{bytes, count, cut, line, micros, span, wrapped};

/// Old workers that are shown one by one.
const LEAVING_SHOWN: usize = 16;

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
                line(
                    &mut out,
                    &format!("{}: {}", app.name, app.command.join(" ")),
                );
                wrapped(&mut out, "", &section.facts(app.generation).join(", "));
                self::section(&mut out, status, &section);
            }
        }
    }
    ledger(&mut out, status);
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
            status.command.join(" ")
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
    }
}

/// What is shown of one app.
struct Section<'a> {
    balance: Balance,
    sticky: Option<&'a str>,
    websocket_sticky: bool,
    keys: Option<&'a Keys>,
    evenness: Option<f64>,
    listeners: Vec<&'a ListenerStatus>,
    slots: Vec<&'a SlotStatus>,
    leaving: Vec<&'a LeavingStatus>,
}

impl<'a> Section<'a> {
    fn whole(status: &'a Status) -> Self {
        Self {
            balance: status.balance,
            sticky: status.sticky.as_deref(),
            websocket_sticky: status.websocket_sticky,
            keys: status.keys.as_ref(),
            evenness: status.evenness,
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
        Self {
            balance: app.balance,
            sticky: app.sticky.as_deref(),
            websocket_sticky: app.websocket_sticky,
            keys: app.keys.as_ref(),
            evenness: app.evenness,
            listeners: listeners.collect(),
            slots: slots.collect(),
            leaving: leaving.collect(),
        }
    }

    fn facts(&self, generation: u32) -> Vec<String> {
        let mut facts = vec![readiness(&self.slots), self.balance.to_string()];
        let what = if self.websocket_sticky {
            "WebSockets "
        } else {
            ""
        };
        facts.extend(self.sticky.map(|key| format!("{what}sticky {key}")));
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
    if !section.slots.is_empty() {
        slots(out, section);
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
        &format!("{:<46} {:>10} {:>16}", "LISTENER", "ACCEPTED", "BACKLOG"),
    );
    for listener in &section.listeners {
        let address = match listener.app_port {
            Some(port) if !listener.address.ends_with(&format!(":{port}")) => {
                format!("{} (server: {port})", listener.address)
            }
            _ => listener.address.clone(),
        };
        let backlog = match listener.backlog_limit {
            0 => dash(),
            limit => format!("{} of {limit}", listener.backlog),
        };
        let accepted = known(section.is_counted(), count(listener.accepted));
        let address = cut(&address, 46);
        line(out, &format!("{address:<46} {accepted:>10} {backlog:>16}"));
    }
}

fn slots(out: &mut String, section: &Section) {
    let counted = section.is_counted();
    let weights: Vec<u16> = section.slots.iter().map(|slot| slot.weight).collect();
    let weighed = counted && weights.windows(2).any(|pair| pair[0] != pair[1]);
    let dealt = if counted { "DEALT" } else { "TAKEN" };
    // There is room for one of the two.
    let second = if weighed { "WEIGHT" } else { "RESTARTS" };
    let head = format!(
        "SLOT     PID STATE        UP  OPEN QUEUE    {dealt} {second:>8} MEMORY  CPU WAIT p99"
    );
    line(out, "");
    line(out, &head);
    for slot in &section.slots {
        let running = slot.pid.is_some();
        let dealt = if counted { slot.dealt } else { slot.accepted };
        let second = if weighed {
            slot.weight.to_string()
        } else {
            count(slot.restarts)
        };
        let row = format!(
            "{:>4} {:>7} {:<8} {:>6} {:>5} {:>5} {:>8} {:>8} {:>6} {:>4} {:>8}",
            slot.slot,
            slot.pid.map_or_else(dash, |pid| pid.to_string()),
            word(&slot.state),
            known(running, span(slot.uptime_s)),
            count(slot.open),
            known(counted, count(slot.queued)),
            count(dealt),
            second,
            known(running, bytes(slot.rss_bytes)),
            known(running, format!("{:.0}%", slot.cpu_percent)),
            known(counted && running, micros(slot.queue_wait_us.p99)),
        );
        line(out, &row);
        if let Some(why) = &slot.why {
            wrapped(out, "     ", why);
        }
    }
}

/// Workers that serve no slot any more.
fn leaving(out: &mut String, status: &Status, all: &[&LeavingStatus]) {
    if all.is_empty() {
        return;
    }
    line(out, "\n OLD     PID STATE     OPEN GENERATION    LEFT  WHY");
    for one in all.iter().take(LEAVING_SHOWN) {
        let row = format!(
            "{:>4} {:>7} {:<8} {:>5} {:>10} {:>7}  {}",
            one.slot,
            one.pid,
            word(&one.state),
            count(one.open),
            one.generation,
            span(one.left_s.ceil()),
            one.why
        );
        line(out, &row);
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

/// The law that no connection is lost, with the figures of now.
fn ledger(out: &mut String, status: &Status) {
    line(out, "");
    let kernel: Vec<&str> = match status.apps.as_slice() {
        [] if status.balance == Balance::Kernel => vec![""],
        apps => {
            let kernel = apps.iter().filter(|app| app.balance == Balance::Kernel);
            kernel.map(|app| app.name.as_str()).collect()
        }
    };
    let counted = status.apps.len().max(1) - kernel.len();
    if counted > 0 {
        let terms = format!(
            "accepted {} = dealt {} + held {} + closed by policy {} + client gone {}",
            status.accepted, status.dealt, status.held, status.closed_by_policy, status.client_gone
        );
        wrapped(out, "", &terms);
    }
    if !kernel.is_empty() {
        let whose = match counted {
            0 => String::new(),
            _ => format!(" to {}", kernel.join(", ")),
        };
        let words = format!("the kernel deals{whose}: only what the workers took is counted");
        wrapped(out, "", &words);
    }
    let read_back: u64 = status.slots.iter().map(|slot| slot.read_back).sum();
    if read_back > 0 {
        line(
            out,
            &format!("read back from workers that did not take them: {read_back}"),
        );
    }
    let overflows = status.listeners.iter().map(|l| l.overflows).max();
    if let Some(overflows) = overflows.filter(|&overflows| overflows > 0) {
        line(
            out,
            &format!("turned away by the kernel, backlog full (whole host): {overflows}"),
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
