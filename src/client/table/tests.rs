//! Tests of [`super`] on states made up here.

use super::*;
use crate::client::table::text::WIDTH;
use crate::config::StickyDown;
use crate::status::{KeysFound, KeysMissing, Ledger, PrimaryStatus, QueueWait};

mod backends;
mod shown;

fn slot(app: &str, number: u16, state: SlotState, why: Option<&str>) -> SlotStatus {
    SlotStatus {
        app: app.into(),
        slot: number,
        pid: (state == SlotState::Ready).then_some(4_194_304),
        state,
        why: why.map(str::to_owned),
        weight: 100,
        drained: false,
        generation: 1,
        uptime_s: 7_999.0,
        restarts: 12_345_678,
        crashes: 1_234_567,
        dealt: u64::MAX,
        accepted: 1,
        open: 99_999,
        queued: 1_000_000,
        read_back: 7,
        rss_bytes: 53 << 20,
        cpu_percent: 99.6,
        cpu_s: 1.5,
        queue_wait_us: QueueWait {
            p50: 10,
            p99: 1234,
            max: 5,
        },
    }
}

fn listener(app: &str, address: &str) -> ListenerStatus {
    let tcp = !address.starts_with("unix:");
    ListenerStatus {
        app: app.into(),
        address: address.into(),
        app_port: Some(8080),
        accepted: u64::MAX,
        backlog: u32::from(tcp) * 4096,
        backlog_limit: u32::from(tcp) * 4096,
        overflows: 3,
    }
}

fn app(name: &str, balance: Balance) -> AppStatus {
    AppStatus {
        name: name.into(),
        command: vec!["node".into(), "server.js".into(), "x".repeat(200)],
        balance,
        sticky: Some("ip/24,56".into()),
        websocket_sticky: false,
        keys: None,
        evenness: Some(1.0),
        evenness_of: 0,
        sticky_down: Some(StickyDown::Spill),
        sticky_bound: None,
        proxy_protocol: false,
        header_complete: false,
        steal_after_ms: 500,
        max_held: 1024,
        proxy: None,
        generation: 2,
        workers: 2,
        ledger: Ledger::default(),
    }
}

fn leaver(app: &str, number: u16) -> LeavingStatus {
    LeavingStatus {
        app: app.into(),
        slot: number,
        pid: 4_194_304,
        generation: u32::MAX,
        state: SlotState::Draining,
        why: "replaced by a reload\x1b[2J".into(),
        open: 123_456,
        left_s: 4.2,
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
        websocket_sticky: false,
        keys: None,
        evenness: Some(1.0),
        command: vec!["node".into(), "server.js".into(), "x".repeat(200)],
        stopping: true,
        operation: Some("reload: slot 1 of 2, waiting for its new worker to listen".into()),
        progress: None,
        metrics: None,
        primary: PrimaryStatus::default(),
        lines_dropped: 0,
        lines_printed: 0,
        log_file: None,
        apps: vec![app("app", Balance::LeastConnections)],
        listeners: vec![listener(
            "app",
            "[2001:db8:1111:2222:3333:4444:5555:6666]:65535",
        )],
        held: 1,
        accepted: u64::MAX,
        dealt: u64::MAX,
        closed_by_policy: u64::MAX,
        client_gone: u64::MAX,
        slots: vec![
            slot("app", 0, SlotState::Ready, None),
            slot(
                "app",
                1023,
                SlotState::Waiting,
                Some(
                    "it ended with exit code 1 three times in a row, 0.2 s after its start; the next start is in 4 s\x1b[2J",
                ),
            ),
        ],
        backends: Vec::new(),
        leaving: (0..20).map(|number| leaver("app", number)).collect(),
    }
}

/// A primary of two apps, the second of which the kernel deals to.
fn two_apps() -> Status {
    let mut slots = vec![
        slot("web", 0, SlotState::Ready, None),
        slot("web", 1, SlotState::Ready, None),
        slot("api", 0, SlotState::Ready, None),
        slot("api", 1, SlotState::Failed, Some("exit code 78")),
    ];
    slots[1].weight = 50;
    slots[3].accepted = 7;
    Status {
        apps: vec![app("web", Balance::Idle), app("api", Balance::Kernel)],
        listeners: vec![listener("web", "[::]:80"), listener("api", "unix:/x")],
        slots,
        leaving: vec![leaver("api", 1)],
        ..status()
    }
}

#[track_caller]
fn fits(text: &str) {
    for line in text.lines() {
        assert!(line.chars().count() <= WIDTH, "{line:?}\n{text}");
        assert!(!line.contains(char::is_control), "{line:?}");
    }
}

/// However the lines are broken.
fn unbroken(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The line that follows the one that begins so.
#[track_caller]
fn row<'a>(text: &'a str, head: &str) -> [&'a str; 2] {
    let mut lines = text.lines().skip_while(|line| !line.starts_with(head));
    [lines.next().expect(head), lines.next().expect("a row")]
}

#[test]
fn it_fits_eighty_columns_with_the_longest_values() {
    let text = table(&status());
    fits(&text);
    for part in [
        "1 of 2 workers ready",
        "exit code 1 three times",
        "accepted 18446744073709551615 = dealt",
        "under way: reload: slot 1 of 2",
        "and 4 more with 493824 open",
    ] {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
    fits(&table(&two_apps()));
}

#[test]
fn columns_stand_under_their_heads() {
    let text = table(&status());
    let [head, slot] = row(&text, "SLOT");
    assert_eq!(head.len(), slot.len(), "\n{head}\n{slot}");
    let [head, old] = row(&text, " OLD");
    for (word, value) in [("STATE", "draining"), ("WHY", "replaced")] {
        assert_eq!(head.find(word), old.find(value), "\n{head}\n{old}");
    }
    assert_eq!(head.find("LEFT").unwrap() + 4, old.find("5s").unwrap() + 2);
}

#[test]
fn several_apps_are_sections() {
    let text = table(&two_apps());
    let at = |part: &str| {
        text.find(part)
            .unwrap_or_else(|| panic!("no {part}:\n{text}"))
    };
    assert!(text.starts_with("8080: 2 apps\n"), "{text}");
    assert!(at("3 of 4 workers ready, 1 failed") < at("\nweb: node server.js"));
    assert!(at("\nweb: node") < at("[::]:80") && at("[::]:80") < at("\napi: node"));
    assert!(at("\napi: node") < at("unix:/x") && at("unix:/x") < at(" OLD "));
    assert!(text.contains("the kernel deals to api: only"), "{text}");
}

#[test]
fn weights_are_shown_where_they_differ() {
    let mut status = status();
    assert!(!table(&status).contains("WEIGHT"));
    status.slots[1].weight = 50;
    let text = table(&status);
    let [head, first] = row(&text, "SLOT");
    assert_eq!(
        head.find("WEIGHT").unwrap() + 6,
        first.find(" 100 ").unwrap() + 4
    );
}

#[test]
fn what_nobody_counts_is_a_dash() {
    let mut status = status();
    status.balance = Balance::Kernel;
    status.apps = vec![app("app", Balance::Kernel)];
    status.slots[0].accepted = 4512;
    status.listeners = vec![listener("app", "unix:/run/app.sock")];
    let text = table(&status);
    let [head, first] = row(&text, "SLOT");
    assert!(head.contains("TAKEN") && !head.contains("DEALT"), "{head}");
    assert!(first.contains(" 4512 ") && first.ends_with(" -"), "{first}");
    assert!(!text.contains("accepted 1844"), "{text}");
    assert!(text.contains("the kernel deals: only what"), "{text}");
    let [_, listener] = row(&text, "LISTENER");
    let cells: Vec<&str> = listener.split_whitespace().collect();
    assert_eq!(cells[cells.len() - 2..], ["-", "-"], "{listener}");
}

#[test]
fn keys_are_told_in_words() {
    let mut status = status();
    assert!(!table(&status).contains("keys:"));
    let mut keys = Keys::default();
    status.keys = Some(keys);
    assert!(!table(&status).contains("keys:"), "nobody has come yet");
    keys.found.cookie = 4512;
    keys.fallback.absent = 28;
    keys.fallback.timed_out = 3;
    (status.keys, status.evenness) = (Some(keys), Some(1.068));
    let text = table(&status);
    let lines = "\n\nkeys: 4512 by cookie, 31 by ip instead (28 had none, 3 timed out)\n\
                 busiest slot: 1.07 of its share\n\n";
    assert!(text.contains(lines), "{text}");
    // What is only read is not sticky, and one slot is as even as can be.
    status.sticky = None;
    let text = table(&status);
    assert!(
        text.contains("\nfirst bytes: 4512 by") && !text.contains("busiest"),
        "{text}"
    );
    status.sticky = Some("ip".into());
    status.websocket_sticky = true;
    status.slots.truncate(1);
    let text = table(&status);
    assert!(!text.contains("busiest"), "{text}");
    assert!(unbroken(&text).contains(", WebSockets sticky ip"), "{text}");
}

#[test]
fn many_keys_fit_too() {
    let all = u64::MAX;
    let found = KeysFound {
        ip: all,
        proxy: all,
        header: all,
        cookie: all,
        query: all,
        path: all,
        sni: all,
        alpn: all,
        route: all,
    };
    let fallback = KeysMissing {
        absent: all,
        unreadable: all,
        timed_out: all,
        crowded: all,
    };
    let keys = Keys {
        reading: all,
        found,
        fallback,
        balanced: all,
        refused: all,
        proxied: all,
    };
    let mut status = two_apps();
    status.apps[0].keys = Some(keys);
    let text = table(&status);
    fits(&text);
    for part in [
        "by route",
        "crowded out)",
        "by idle",
        "being read",
        "with a PROXY header",
    ] {
        assert!(unbroken(&text).contains(part), "no {part:?} in:\n{text}");
    }
}

#[test]
fn a_primary_of_an_earlier_version_is_shown() {
    let mut status = status();
    status.apps = Vec::new();
    let text = table(&status);
    assert!(text.starts_with("8080: node server.js"), "{text}");
    assert!(
        text.contains("least-connections, sticky ip/24,56"),
        "{text}"
    );
}
