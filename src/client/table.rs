//! The status of a primary for people: at most 80 columns, states in words, and why a slot is not ready.

use std::fmt::Write;

use crate::status::{ListenerStatus, SlotState, SlotStatus, Status};

/// No line is longer, whatever is in it.
const WIDTH: usize = 80;

/// The whole text.
pub fn table(status: &Status) -> String {
    let mut out = heading(status);
    listeners(&mut out, &status.listeners);
    slots(&mut out, &status.slots);
    ledger(&mut out, status);
    out
}

fn heading(status: &Status) -> String {
    let ready = status
        .slots
        .iter()
        .filter(|slot| slot.state == SlotState::Ready)
        .count();
    let command = status.command.join(" ");
    let title = format!("{}: {command}", status.name);
    let mut facts = vec![
        format!("pid {}", status.pid),
        format!("up {}", span(status.uptime_s)),
        format!("{ready} of {} workers ready", status.slots.len()),
        word(&status.balance),
    ];
    facts.extend(status.sticky.as_ref().map(|key| format!("sticky {key}")));
    if status.stopping {
        facts.push("STOPPING".into());
    }
    let mut out = String::new();
    line(&mut out, &title);
    wrapped(&mut out, "", &facts.join(", "));
    out
}

fn listeners(out: &mut String, all: &[ListenerStatus]) {
    if all.is_empty() {
        line(out, "\nno listener yet: the server has not bound a port");
        return;
    }
    line(out, "");
    line(
        out,
        &format!("{:<46} {:>10} {:>16}", "LISTENER", "ACCEPTED", "BACKLOG"),
    );
    for listener in all {
        let address = match listener.app_port {
            Some(port) if !listener.address.ends_with(&format!(":{port}")) => {
                format!("{} (server: {port})", listener.address)
            }
            _ => listener.address.clone(),
        };
        let backlog = format!("{} of {}", listener.backlog, listener.backlog_limit);
        let accepted = count(listener.accepted);
        let address = cut(&address, 46);
        line(out, &format!("{address:<46} {accepted:>10} {backlog:>16}"));
    }
}

fn slots(out: &mut String, all: &[SlotStatus]) {
    line(
        out,
        "\nSLOT     PID STATE        UP  OPEN QUEUE    DEALT RESTARTS MEMORY  CPU WAIT p99",
    );
    for slot in all {
        let dash = || "-".to_owned();
        let running = slot.pid.is_some();
        let row = format!(
            "{:>4} {:>7} {:<8} {:>6} {:>5} {:>5} {:>8} {:>8} {:>6} {:>4} {:>8}",
            slot.slot,
            slot.pid.map_or_else(dash, |pid| pid.to_string()),
            word(&slot.state),
            if running { span(slot.uptime_s) } else { dash() },
            count(slot.open),
            count(slot.queued),
            count(slot.dealt),
            count(slot.restarts),
            if running {
                bytes(slot.rss_bytes)
            } else {
                dash()
            },
            if running {
                format!("{:.0}%", slot.cpu_percent)
            } else {
                dash()
            },
            micros(slot.queue_wait_us.p99),
        );
        line(out, &row);
        if let Some(why) = &slot.why {
            wrapped(out, "     ", why);
        }
    }
}

/// The law that no connection is lost, with the figures of now.
fn ledger(out: &mut String, status: &Status) {
    line(out, "");
    let terms = format!(
        "accepted {} = dealt {} + held {} + closed by policy {} + client gone {}",
        status.accepted, status.dealt, status.held, status.closed_by_policy, status.client_gone
    );
    wrapped(out, "", &terms);
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

/// The word that the JSON has for it.
fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => "?".into(),
    }
}

/// One line that fits, with nothing in it that a terminal would obey.
fn line(out: &mut String, text: &str) {
    let plain = |c: char| if c.is_control() { '?' } else { c };
    for (number, part) in text.split('\n').enumerate() {
        if number > 0 {
            out.push('\n');
        }
        out.extend(cut(part, WIDTH).chars().map(plain));
    }
    out.push('\n');
}

fn wrapped(out: &mut String, indent: &str, text: &str) {
    let mut current = String::from(indent);
    for word in text.split_whitespace() {
        let has_words = current.len() > indent.len();
        if has_words && current.chars().count() + 1 + word.chars().count() > WIDTH {
            line(out, &current);
            current = String::from(indent);
        } else if has_words {
            current.push(' ');
        }
        current.push_str(word);
    }
    line(out, &current);
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept = text.chars().take(width.saturating_sub(3));
    kept.chain("...".chars()).collect()
}

fn span(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m{:02}s", seconds % 60),
        3600..86_400 => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

/// A number that fits five columns.
fn count(number: u64) -> String {
    scaled(
        number as f64,
        100_000.0,
        1000.0,
        &["", "k", "M", "G", "T", "P"],
    )
}

fn bytes(number: u64) -> String {
    let mebibytes = number as f64 / (1024.0 * 1024.0);
    scaled(mebibytes, 10_000.0, 1024.0, &[" M", " G", " T"])
}

fn micros(number: u64) -> String {
    match number as f64 {
        us @ ..1000.0 => format!("{us:.0} us"),
        us @ ..1e6 => format!("{:.1} ms", us / 1e3),
        us => format!("{:.1} s", us / 1e6),
    }
}

fn scaled(mut number: f64, limit: f64, step: f64, units: &[&str]) -> String {
    let mut units = units.iter();
    let mut unit = units.next().unwrap_or(&"");
    while number >= limit {
        let Some(next) = units.next() else { break };
        number /= step;
        unit = next;
    }
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = write!(text, "{number:.0}{unit}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Balance;
    use crate::status::QueueWait;

    fn slot(number: u16, state: SlotState, why: Option<&str>) -> SlotStatus {
        SlotStatus {
            app: "app".into(),
            slot: number,
            pid: (state == SlotState::Ready).then_some(4_194_304),
            state,
            why: why.map(str::to_owned),
            weight: 100,
            drained: false,
            generation: 1,
            uptime_s: 7_999.0,
            restarts: 12_345_678,
            dealt: u64::MAX,
            accepted: 1,
            open: 99_999,
            queued: 1_000_000,
            read_back: 7,
            rss_bytes: 53 << 20,
            cpu_percent: 99.6,
            queue_wait_us: QueueWait {
                p50: 10,
                p99: 1234,
                max: 5,
            },
        }
    }

    fn status() -> Status {
        Status {
            name: "8080".into(),
            pid: 4_194_304,
            version: "0.1.0".into(),
            uptime_s: 90_000.0,
            generation: 1,
            balance: Balance::LeastConnections,
            sticky: Some("ip/24,56".into()),
            command: vec!["node".into(), "server.js".into(), "x".repeat(200)],
            stopping: true,
            operation: None,
            apps: Vec::new(),
            listeners: vec![ListenerStatus {
                app: "app".into(),
                address: "[2001:db8:1111:2222:3333:4444:5555:6666]:65535".into(),
                app_port: Some(8080),
                accepted: u64::MAX,
                backlog: 4096,
                backlog_limit: 4096,
                overflows: 3,
            }],
            held: 1,
            accepted: u64::MAX,
            dealt: u64::MAX,
            closed_by_policy: u64::MAX,
            client_gone: u64::MAX,
            leaving: Vec::new(),
            slots: vec![
                slot(0, SlotState::Ready, None),
                slot(
                    1023,
                    SlotState::Waiting,
                    Some(
                        "it ended with exit code 1 three times in a row, 0.2 s after its start; the next start is in 4 s\x1b[2J",
                    ),
                ),
            ],
        }
    }

    #[test]
    fn it_fits_eighty_columns_with_the_longest_values() {
        let text = table(&status());
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH, "{line:?}\n{text}");
            assert!(!line.contains(char::is_control), "{line:?}");
        }
        assert!(text.contains("1 of 2 workers ready"), "{text}");
        assert!(text.contains("exit code 1 three times"), "{text}");
        assert!(
            text.contains("accepted 18446744073709551615 = dealt"),
            "{text}"
        );
    }

    #[test]
    fn columns_stand_under_their_heads() {
        let text = table(&status());
        let mut lines = text.lines().skip_while(|line| !line.starts_with("SLOT"));
        let (head, row) = (lines.next().unwrap(), lines.next().unwrap());
        assert_eq!(head.len(), row.len(), "\n{head}\n{row}");
    }

    #[test]
    fn figures_are_short() {
        assert_eq!([span(59.9), span(61.0)], ["59s", "1m01s"]);
        assert_eq!([span(7_999.0), span(90_000.0)], ["2h13m", "1d01h"]);
        assert_eq!([count(99_999), count(1_234_567)], ["99999", "1235k"]);
        assert_eq!([bytes(53 << 20), bytes(30 << 30)], ["53 M", "30 G"]);
        assert_eq!([micros(999), micros(1234)], ["999 us", "1.2 ms"]);
    }
}
