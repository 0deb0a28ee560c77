//! The unit files: as `systemd-analyze` sees them, and under a systemd that was booted for the purpose (H5).

use std::process::Command;
use std::time::Duration;

use crate::booted::Booted;
use crate::common::{Endless, Load, Outcome, Site, ask, eventually};
use crate::watchdog::Stopped;

const LIMIT: Duration = Duration::from_secs(20);

/// Whether this test can boot: it is root, and may make namespaces and mount. Says so if not.
fn can_boot() -> bool {
    let tried = Command::new("unshare")
        .args([
            "--mount", "--pid", "--cgroup", "--fork", "mount", "-t", "tmpfs", "tmpfs", "/mnt",
        ])
        .output();
    let can = tried.is_ok_and(|tried| tried.status.success());
    if !can {
        eprintln!(
            "not root, or namespaces are forbidden: no systemd can be booted here, so nothing is tested"
        );
    }
    can
}

/// `systemd-analyze WORDS` on the units of scripts/, with the program where they look for it.
#[track_caller]
fn analyze(words: &[&str], units: &[&str]) -> String {
    let site = Site::new();
    let mut paths = Vec::new();
    for unit in units {
        let text =
            std::fs::read_to_string(format!("{}/scripts/{unit}", env!("CARGO_MANIFEST_DIR")));
        let program = env!("CARGO_BIN_EXE_forkfront");
        let text = text
            .expect("the unit")
            .replace("/usr/local/bin/forkfront", program);
        std::fs::write(site.file(unit), text).expect("written");
        paths.push(site.file(unit).display().to_string());
    }
    let mut command = Command::new("systemd-analyze");
    let done = command.args(words).args(&paths).output();
    let done = done.expect("systemd-analyze, which scripts/test installs");
    let text = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{words:?}: {text}");
    text.into_owned()
}

#[test]
fn systemd_has_nothing_to_say_against_them() {
    assert_eq!(
        analyze(
            &["verify", "--man=no"],
            &["forkfront.service", "forkfront.socket"]
        ),
        ""
    );
}

#[test]
fn the_service_is_confined() {
    // Tenths: up to 2.0 of 10.
    let text = analyze(
        &["security", "--offline=yes", "--threshold=20"],
        &["forkfront.service"],
    );
    assert!(text.contains("Overall exposure level"), "{text}");
}

#[track_caller]
fn answers(site: &Site, id: u64) {
    let outcome = ask(site.to(), id);
    assert!(matches!(outcome, Outcome::Ok(_)), "{outcome:?}");
}

#[test]
fn start_reload_and_stop_under_load() {
    if !can_boot() {
        return;
    }
    let site = Site::new();
    let booted = Booted::new(&site, 2, "");
    booted.does(&["start", "forkfront"]);
    // Ready means ready.
    answers(&site, 1);
    let status = booted.does(&["status", "forkfront"]);
    assert!(status.contains("Status: \"serving "), "{status}");
    assert!(status.contains("2 of 2 workers ready"), "{status}");
    let found = booted.run(&["forkfront", "status"]);
    assert!(found.status.success(), "root finds it: {found:?}");

    let load = Load::start(site.to(), 4, 100, LIMIT);
    for _ in 0..2 {
        load.proceed(200);
        booted.does(&["reload", "forkfront"]);
    }
    load.proceed(200);
    booted.app(2, "ready-timeout = \"10s\"\n[app.env]\n");
    let refused = booted.systemctl(&["reload", "forkfront"]);
    assert!(
        !refused.well,
        "a file that is wrong was taken: {}",
        refused.text
    );
    eventually("status says why", || {
        booted
            .property("StatusText")
            .contains("the last reload failed")
            .then_some(())
    });
    let report = load.stop();
    report.clean();

    let mut endless = Endless::open(site.to());
    booted.app(2, "drain-timeout = \"1s\"");
    booted.does(&["reload", "forkfront"]);
    assert!(endless.is_alive());
    booted.does(&["stop", "forkfront"]);
    assert_eq!(booted.property("Result"), "success");
    assert_eq!(booted.property("ActiveState"), "inactive");
}

#[test]
fn who_hangs_is_killed_and_started_again() {
    if !can_boot() {
        return;
    }
    let site = Site::new();
    let booted = Booted::new(&site, 1, "");
    booted.drop_in("forkfront.service", "[Service]\nWatchdogSec=1\n");
    booted.does(&["start", "forkfront"]);
    let first = booted.primary();
    {
        let _stopped = Stopped::thread(first, "dispatcher");
        eventually("the watchdog bites", || {
            booted.journal().contains("Watchdog timeout").then_some(())
        });
    }
    eventually("it runs again", || {
        (booted.property("NRestarts") == "1").then_some(())
    });
    eventually("and serves", || {
        matches!(ask(site.to(), 7), Outcome::Ok(_)).then_some(())
    });
    assert_ne!(booted.primary(), first);
    booted.does(&["stop", "forkfront"]);
}

#[test]
fn with_a_socket_of_systemd_nobody_is_refused() {
    if !can_boot() {
        return;
    }
    let site = Site::new();
    let booted = Booted::new(&site, 2, "");
    let port = format!("[Socket]\nListenStream=\nListenStream={}\n", site.bind());
    booted.drop_in("forkfront.socket", &port);
    booted.does(&["start", "forkfront.socket"]);
    // The first one starts the service and waits for it.
    answers(&site, 1);
    let load = Load::start(site.to(), 4, 100, LIMIT);
    for verb in ["restart", "reload", "restart"] {
        load.proceed(100);
        booted.does(&[verb, "forkfront.service"]);
    }
    load.proceed(100);
    let report = load.stop();
    report.clean();
    booted.does(&["stop", "forkfront.service", "forkfront.socket"]);
}
