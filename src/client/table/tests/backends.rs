//! The backends of a proxy.

use super::*;
use crate::config::proxy::ProxyBalance;
use crate::status::{BackendState, BackendStatus, TurnedAwayStatus};

fn proxy(backends: Vec<BackendStatus>) -> Status {
    let mut app = app("proxy", Balance::RoundRobin);
    app.command = vec!["/usr/bin/forkfront".into(), "proxy-worker".into()];
    app.sticky = None;
    app.proxy = Some(ProxyStatus {
        balance: ProxyBalance::LeastConnections,
        sticky: Some("ip".into()),
        waiting: 0,
        turned_away: TurnedAwayStatus::default(),
        without_port: 0,
    });
    Status {
        sticky: None,
        command: app.command.clone(),
        apps: vec![app],
        slots: vec![slot("proxy", 0, SlotState::Ready, None)],
        backends,
        leaving: Vec::new(),
        ..status()
    }
}

fn up(address: &str) -> BackendStatus {
    BackendStatus {
        open: 12,
        connects: 1234,
        failures: 3,
        bytes_in: 4096,
        bytes_out: 300 << 20,
        connect_us: QueueWait {
            p50: 80,
            p99: 112,
            max: 5000,
        },
        ..BackendStatus::unused(address, address, BackendState::Up)
    }
}

#[test]
fn a_row_for_each_address_and_their_own_command_is_not_shown() {
    let named = |address| BackendStatus {
        backend: "db.example:5432".into(),
        ..up(address)
    };
    let all = vec![
        up("10.0.0.1:5432"),
        named("10.0.0.2:5432"),
        named("10.0.0.3:5432"),
        up("[2001:db8::1]:5432"),
        up("[2001:db8:1111:2222:3333:4444:5555:6666]:5432"),
        BackendStatus::unused("gone.example:1", "", BackendState::Unresolved),
    ];
    let text = table(&proxy(all));
    fits(&text);
    assert!(text.starts_with("8080: proxy to 6 backends\n"), "{text}");
    assert!(!text.contains("proxy-worker"), "{text}");
    assert!(
        unbroken(&text).contains("5 of 6 backends up, least-connections, sticky ip"),
        "{text}"
    );
    let (from, to) = (text.find("BACKEND").unwrap(), text.find("\nSLOT").unwrap());
    let expected = "\
BACKEND               STATE        WT  OPEN  CONNS FAILED     IN    OUT CONN p99
10.0.0.1:5432         up            1    12   1234      3   4096  300 M   112 us
db.example:5432
 10.0.0.2:5432        up            1    12   1234      3   4096  300 M   112 us
 10.0.0.3:5432        up            1    12   1234      3   4096  300 M   112 us
[2001:db8::1]:5432    up            1    12   1234      3   4096  300 M   112 us
[2001:db8:1111:2222:3333:4444:5555:6666]:5432
                      up            1    12   1234      3   4096  300 M   112 us
gone.example:1        unresolved    1     0      0      0      0      0        -

gone.example:1: its name has no address
";
    assert_eq!(&text[from..to], expected, "\n{text}");
    assert!(coloured(&proxy(vec![up("10.0.0.1:1")])).contains("\x1b[32mup\x1b[0m "));
}

#[test]
fn hundreds_of_backends_fit_and_have_one_sentence_for_the_same_reason() {
    let down = |number: usize| BackendStatus {
        why: Some("connection refused (failed check 3 in a row)\x1b[2J".into()),
        connects: u64::MAX,
        bytes_out: 1 << 62,
        ..BackendStatus::unused(
            &format!("10.0.{}.{}:65535", number / 256, number % 256),
            &format!("10.0.{}.{}:65535", number / 256, number % 256),
            BackendState::Down,
        )
    };
    let mut status = proxy((0..500).map(down).collect());
    let text = table(&status);
    fits(&text);
    let said =
        "10.0.0.0:65535, 10.0.0.1:65535, 10.0.0.2:65535, 10.0.0.3:65535 and 496 more: connection";
    assert!(unbroken(&text).contains(said), "{text}");
    for (number, one) in status.backends.iter_mut().enumerate() {
        one.why = Some(format!("reason {number}"));
    }
    let text = table(&status);
    fits(&text);
    assert!(text.contains("and 488 more such lines: --json"), "{text}");
}

#[test]
fn what_is_special_about_one_is_said_below() {
    let mut backup = up("10.0.0.1:1");
    (backup.backup, backup.max) = (true, Some(12));
    let mut slow = up("10.0.0.2:1");
    slow.share_percent = 40;
    let drained = BackendStatus::unused("10.0.0.3:1", "10.0.0.3:1", BackendState::Drained);
    let mut status = proxy(vec![backup, slow, drained]);
    let proxy = status.apps[0].proxy.as_mut().unwrap();
    (proxy.waiting, proxy.turned_away.unreachable) = (7, 3);
    proxy.turned_away.queue_full = 2;
    let text = table(&status);
    fits(&text);
    for part in [
        "\nsessions: 7 waiting for room at a backend\n",
        "\nsessions: turned away: 3 since none could be connected to, 2 since too many",
        "\n10.0.0.1:1: backup, gets sessions only while no other can\n",
        "\n10.0.0.1:1: full: 12 of 12 sessions\n",
        "\n10.0.0.2:1: slow start: 40 % of its share\n",
        "\n10.0.0.3:1: drained; forkfront backend resume brings it back\n",
    ] {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
}
