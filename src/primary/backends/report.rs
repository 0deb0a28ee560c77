//! The backends as `status` has them: from the table and the board.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crate::backend_board::Entry;
use crate::policy::backends::item::Item;
use crate::policy::backends::table::Serving;
use crate::policy::backends::{Checked, Member, Passive, Table};
use crate::policy::deadlines::Moment;
use crate::policy::words::in_words;
use crate::primary::metrics::Waits;
use crate::scoreboard::{BUCKETS, bucket_floor};
use crate::status::{BackendState, BackendStatus, QueueWait};

/// All of them, in the order in which they were given; those that leave at the end.
pub fn tallies(
    app: &str,
    table: &Table,
    entries: &[Entry],
    now: Moment,
) -> Vec<(BackendStatus, Waits)> {
    let mut all = Vec::new();
    for item in table.items() {
        let name = item.name();
        let mut own: Vec<_> = table
            .members()
            .filter(|(_, member)| member.name == name && !member.leaving)
            .collect();
        if own.is_empty() && item.is_name() {
            let useless = table.no_use(&name);
            let gone = useless.is_none() && !item.leads.is_empty();
            if !gone {
                all.push((unresolved(app, item, useless, now), Waits::default()));
            }
        }
        own.sort_by_key(|(at, _)| *at);
        for (at, member) in own {
            let mut status = status(app, table, (at, member), &entries[at], now);
            if let Some(trouble) = &item.trouble {
                let kept = format!("{trouble}; its last addresses are kept");
                status.why = Some(match status.why {
                    Some(why) => format!("{why}; {kept}"),
                    None => kept,
                });
            }
            all.push((status, waits(&entries[at])));
        }
    }
    let leaving = table.members().filter(|(_, member)| member.leaving);
    all.extend(leaving.map(|(at, member)| {
        let status = status(app, table, (at, member), &entries[at], now);
        (status, waits(&entries[at]))
    }));
    all
}

fn status(
    app: &str,
    table: &Table,
    (at, member): (usize, &Member),
    entry: &Entry,
    now: Moment,
) -> BackendStatus {
    let open = entry.open.load(Relaxed);
    let state = state(member, open);
    let gets = u64::from(table.weight(at, now)) * 100 / u64::from(member.full().max(1));
    let count = |of: &AtomicU64| of.load(Relaxed);
    BackendStatus {
        app: app.to_owned(),
        backend: member.name.clone(),
        address: member.target.to_string(),
        state,
        why: why(table, member, state, open, now),
        for_s: now.since(member.since).as_secs_f64(),
        weight: member.weight,
        share_percent: gets.min(100) as u8,
        backup: member.backup,
        max: member.max,
        open: open.into(),
        connects: count(&entry.connects),
        failures: count(&entry.failures),
        retried: count(&entry.retried),
        ejections: member.ejections,
        checks_good: member.checks_good,
        checks_bad: member.checks_bad,
        bytes_in: count(&entry.bytes_in),
        bytes_out: count(&entry.bytes_out),
        connect_us: connects(entry),
    }
}

/// A name without any address, or with none of its own.
fn unresolved(app: &str, item: &Item, useless: Option<String>, now: Moment) -> BackendStatus {
    let why = useless.or_else(|| item.trouble.clone());
    let why = why.unwrap_or_else(|| "its name is being resolved".to_owned());
    BackendStatus {
        why: Some(why),
        for_s: now.since(item.since).as_secs_f64(),
        weight: item.backend.weight,
        backup: item.backend.backup,
        max: item.backend.max,
        ..BackendStatus::new(app, &item.name(), "", BackendState::Unresolved)
    }
}

fn state(member: &Member, open: u32) -> BackendState {
    match member {
        Member { leaving: true, .. } => BackendState::Leaving,
        Member { drained: true, .. } if open > 0 => BackendState::Draining,
        Member { drained: true, .. } => BackendState::Drained,
        member if member.is_down() => BackendState::Down,
        member if member.is_out() => BackendState::Ejected,
        _ => BackendState::Up,
    }
}

/// Why it is not up, or does not get its whole share.
fn why(
    table: &Table,
    member: &Member,
    state: BackendState,
    open: u32,
    now: Moment,
) -> Option<String> {
    let sessions = || match open {
        1 => "1 session".to_owned(),
        open => format!("{open} sessions"),
    };
    let said = match state {
        BackendState::Leaving => format!("is in the list no more; {} may end", sessions()),
        BackendState::Draining => format!("drained; {} may end", sessions()),
        BackendState::Drained => "drained; forkfront backend resume gives it sessions again".into(),
        BackendState::Down => match &member.checked {
            Checked::Ill { good: 0, why } => format!("its check found that {why}"),
            Checked::Ill { good, why } => {
                format!("its check found that {why}; {good} good since")
            }
            Checked::Never | Checked::Well { .. } => String::new(),
        },
        BackendState::Ejected => match &member.passive {
            Passive::Out { until, why, .. } => {
                format!("{why}; tried again in {}", in_words(until.since(now)))
            }
            Passive::In { .. } | Passive::Trial { .. } => String::new(),
        },
        BackendState::Up => return why_less(table, member, now),
        BackendState::Unresolved => String::new(),
    };
    let fails_open = table.serving() == Serving::All && member.is_wanted();
    let open = "; it gets sessions all the same, since no backend can serve";
    Some(said + if fails_open { open } else { "" })
}

fn why_less(table: &Table, member: &Member, now: Moment) -> Option<String> {
    if member.is_on_trial() {
        return Some("was out, and is tried again with few sessions".to_owned());
    }
    if member.spared {
        let why = "sessions cannot connect; it stays in, since no more may be out";
        return Some(why.to_owned());
    }
    if let Checked::Well { bad: 1.., why } = &member.checked {
        return Some(format!("its last check found that {why}"));
    }
    if table.serving() == Serving::Main && member.backup {
        return None;
    }
    let left = member.slow_start_left(table.rules().slow_start, now)?;
    let came = if member.is_new {
        "is new here"
    } else {
        "came back"
    };
    Some(format!(
        "{came}, and has its whole share in {}",
        in_words(left)
    ))
}

/// How long connects took, for the metrics.
fn waits(entry: &Entry) -> Waits {
    let buckets = entry.connect_us.iter();
    Waits {
        buckets: buckets.map(|count| count.load(Relaxed)).collect(),
        sum_us: entry.connect_time.load(Relaxed),
        taken: entry.connects.load(Relaxed),
    }
}

/// Quantiles from the histogram: each one the floor of its bucket.
fn connects(entry: &Entry) -> QueueWait {
    let buckets: [u64; BUCKETS] = std::array::from_fn(|at| entry.connect_us[at].load(Relaxed));
    let add = |sum: u64, count: &u64| sum.saturating_add(*count);
    let total = buckets.iter().fold(0, add);
    if total == 0 {
        return QueueWait::default();
    }
    let quantile = |permille: u128| {
        let rank = (u128::from(total) * permille).div_ceil(1000).max(1);
        let mut seen = 0;
        let reached = buckets.iter().position(|count| {
            seen += u128::from(*count);
            seen >= rank
        });
        reached.map_or(0, bucket_floor)
    };
    QueueWait {
        p50: quantile(500),
        p99: quantile(990),
        max: entry.connect_longest.load(Relaxed),
    }
}
