//! The backends of a proxy: a row for each address, and below them why some get nothing, or less.

use super::text::{WIDTH, bytes_in, count, count_in, cut_middle, line, micros, wrapped};
use super::{Section, known};
use crate::status::{AppStatus, BackendState, BackendStatus, ProxyStatus, Status};

/// Reasons that are told one by one.
const REASONS_SHOWN: usize = 12;
/// Backends that are named before one reason.
const NAMED: usize = 4;
/// The widest label that stands beside its figures: the colours go by it, too.
pub const LABEL: usize = 21;
/// Room for the longest word for a state.
pub const STATE: usize = 10;

/// What an app runs, in a line: a proxy's own command says nothing to people.
pub fn command(app: &AppStatus, status: &Status) -> String {
    if app.proxy.is_none() {
        return app.command.join(" ");
    }
    match status.backends.iter().filter(|one| one.app == app.name) {
        all if all.clone().count() == 1 => "proxy to 1 backend".to_owned(),
        all => format!("proxy to {} backends", all.count()),
    }
}

/// `2 of 3 backends up`.
pub fn readiness<'a>(all: impl Iterator<Item = &'a BackendStatus> + Clone) -> String {
    let up = all.clone().filter(|one| one.state == BackendState::Up);
    let (up, all) = (up.count(), all.count());
    let plural = if all == 1 { "" } else { "s" };
    format!("{up} of {all} backend{plural} up")
}

/// The word that the JSON has for it.
pub fn word(state: BackendState) -> String {
    state.to_string()
}

/// One row for each address, those of one name below it.
pub(super) fn table(out: &mut String, section: &Section) {
    let head = format!(
        "{:<LABEL$} {:<STATE$}   WT  OPEN  CONNS FAILED     IN    OUT CONN p99",
        "BACKEND", "STATE"
    );
    line(out, "");
    line(out, &head);
    let mut name = "";
    for one in &section.backends {
        let named = one.address != one.backend && !one.address.is_empty();
        if named && name != one.backend {
            line(out, &cut_middle(&one.backend, WIDTH));
        }
        name = &one.backend;
        let label = match named {
            true => format!(" {}", one.address),
            false => one.backend.clone(),
        };
        row(out, &cut_middle(&label, WIDTH), one);
    }
}

fn row(out: &mut String, label: &str, one: &BackendStatus) {
    let mut label = label;
    if label.chars().count() > LABEL {
        // It has a line of its own, and its figures the next one.
        line(out, label);
        label = "";
    }
    let figures = format!(
        "{:>4} {:>5} {:>6} {:>6} {:>6} {:>6} {:>8}",
        one.weight,
        count(one.open),
        count_in(one.connects, 6),
        count_in(one.failures, 6),
        bytes_in(one.bytes_in),
        bytes_in(one.bytes_out),
        known(one.connects > 0, micros(one.connect_us.p99)),
    );
    let state = word(one.state);
    line(out, &format!("{label:<LABEL$} {state:<STATE$} {figures}"));
}

/// Why backends get nothing or less than the others, a sentence for all that have the same reason.
pub(super) fn reasons(out: &mut String, section: &Section) {
    let mut reasons: Vec<(String, Vec<&str>)> = Vec::new();
    for one in &section.backends {
        let label = match one.address.as_str() {
            "" => &one.backend,
            address => address,
        };
        for why in notes(one) {
            match reasons.iter_mut().find(|(known, _)| *known == why) {
                Some((_, labels)) => labels.push(label),
                None => reasons.push((why, vec![label])),
            }
        }
    }
    for words in section.proxy.map(of_sessions).unwrap_or_default() {
        reasons.insert(0, (words, vec!["sessions"]));
    }
    if reasons.is_empty() {
        return;
    }
    line(out, "");
    for (why, labels) in reasons.iter().take(REASONS_SHOWN) {
        let more = match labels.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let labels = labels[..labels.len().min(NAMED)].join(", ");
        wrapped(out, "", &format!("{labels}{more}: {why}"));
    }
    let more = reasons.len().saturating_sub(REASONS_SHOWN);
    if more > 0 {
        let words = format!("and {more} more such lines: --json has them");
        wrapped(out, "", &words);
    }
}

/// What is to be said of sessions that have no backend.
fn of_sessions(proxy: &ProxyStatus) -> Vec<String> {
    let gone = turned_away(proxy).map(|why| format!("turned away: {why}"));
    let mut said: Vec<String> = gone.into_iter().collect();
    if proxy.waiting > 0 {
        said.push(format!("{} waiting for room at a backend", proxy.waiting));
    }
    said
}

/// How many clients no backend served, by why; nothing if there was none.
pub fn turned_away(proxy: &ProxyStatus) -> Option<String> {
    let gone = proxy.turned_away;
    let reasons = [
        (gone.no_backend, "since no backend took any"),
        (gone.unreachable, "since none could be connected to"),
        (gone.queue_full, "since too many waited for room"),
        (gone.queue_timeout, "since they waited too long for room"),
        (gone.exhausted, "for want of descriptors or memory"),
        (gone.no_port, "for want of a port to connect from"),
    ];
    let reasons = reasons.iter().filter(|(count, _)| *count > 0);
    let reasons: Vec<String> = reasons
        .map(|(count, why)| format!("{count} {why}"))
        .collect();
    (!reasons.is_empty()).then(|| reasons.join(", "))
}

/// What is to be said of one, most important first.
pub fn notes(one: &BackendStatus) -> Vec<String> {
    let mut notes: Vec<String> = reason(one).into_iter().collect();
    if one.backup {
        notes.push("backup, gets sessions only while no other can".to_owned());
    }
    if let Some(max) = one.max.filter(|max| one.open >= u64::from(*max)) {
        notes.push(format!("full: {} of {max} sessions", one.open));
    }
    if one.state == BackendState::Up && (1..100).contains(&one.share_percent) {
        let share = one.share_percent;
        match &one.why {
            Some(_) => notes[0].push_str(&format!("; now {share} %")),
            None => notes.push(format!("slow start: {share} % of its share")),
        }
    }
    notes
}

fn reason(one: &BackendStatus) -> Option<String> {
    let said = one.why.clone();
    said.or_else(|| {
        let words = match one.state {
            BackendState::Up => return None,
            BackendState::Down => "its checks fail",
            BackendState::Ejected => "out for a while, since sessions could not connect",
            BackendState::Draining => "drained, and has sessions still",
            BackendState::Drained => "drained; forkfront backend resume brings it back",
            BackendState::Leaving => "taken out of the list, and has sessions still",
            BackendState::Unresolved => "its name has no address",
        };
        Some(words.to_owned())
    })
}
