//! What a worker is started with by the real binary: nothing of the primary's own state (I2, I3, I6, D6, N1,
//! B13), however the primary itself was started, and no descriptor lost over many restarts.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Balancer, Site, eventually, send, server, session_of, within};
use nix::sys::signal::Signal;

/// Writes down what it was given, then becomes the node fixture, in the same process.
const REPORT: &str = "
    cat /proc/self/status >$REPORT.status.$FORKFRONT_SLOT
    cat /proc/self/limits >$REPORT.limits.$FORKFRONT_SLOT
    cat /proc/self/oom_score_adj >$REPORT.oom.$FORKFRONT_SLOT
    cat /proc/$$/stat >$REPORT.stat.$FORKFRONT_SLOT
    cat /proc/$$/environ >$REPORT.environ.$FORKFRONT_SLOT
    readlink /proc/$$/cwd >$REPORT.cwd.$FORKFRONT_SLOT
    ls -l /proc/self/fd >$REPORT.fd.$FORKFRONT_SLOT
    exec node $HTTP";

/// What a shell does to itself before it becomes the primary: signals ignored, a leaked descriptor, an unusual
/// umask and limit, a lower priority.
const SPOILT: &str = "
    trap '' TERM HUP INT USR1 CHLD PIPE
    umask 027
    ulimit -Sn 300
    exec 7</etc/passwd
    exec nice -n 3 \"$@\"";

fn site() -> Site {
    let site = Site::new();
    let report = site.file("report").display().to_string();
    site.env("REPORT", report).env("HTTP", server("http.js"))
}

fn report(site: &Site, what: &str) -> String {
    fs::read_to_string(site.file(&format!("report.{what}.0"))).expect("a report")
}

/// `NAME: value` lines.
fn table(text: &str) -> BTreeMap<&str, &str> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name, value.trim()))
        .collect()
}

fn environment(text: &str) -> BTreeMap<&str, &str> {
    text.split('\0')
        .filter_map(|one| one.split_once('='))
        .collect()
}

/// The line of /proc/PID/limits that begins with `name`.
fn limit(text: &str, name: &str) -> Vec<String> {
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .expect("the limit")
        .split_whitespace()
        .map(str::to_owned)
        .collect()
}

/// Fields of /proc/PID/stat from the state on.
fn fields(stat: &str) -> Vec<&str> {
    stat.rsplit_once(')')
        .expect("a stat line")
        .1
        .split_whitespace()
        .collect()
}

/// A file of a process in /proc.
fn of(pid: u32, file: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/{file}")).expect("a process")
}

#[test]
fn nothing_of_a_spoilt_primary_reaches_its_workers() {
    let site = site()
        .env("LISTEN_FDNAMES", "x")
        .env("NOTIFY_SOCKET", "/nowhere")
        .env("WATCHDOG_PID", 1)
        .env("FORKFRONT_SLOT", 77);
    let mut balancer = Balancer::spawn_changed(
        &site,
        &[
            "run",
            "-n",
            "1",
            "--env",
            "COLOUR=green",
            "--",
            "sh",
            "-c",
            REPORT,
        ],
        |command| {
            let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
            let mut shell = Command::new("sh");
            shell
                .args(["-c", SPOILT, "sh", env!("CARGO_BIN_EXE_forkfront")])
                .args(arguments)
                .envs(site.environment())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            *command = shell;
        },
    );
    balancer.all_ready();
    signals_and_user(&site, &balancer);
    session_and_limits(&site, &balancer);
    descriptors(&site);
    surroundings(&site, &balancer);
    balancer.finish();
}

fn signals_and_user(site: &Site, balancer: &Balancer) {
    let (status, primary) = (report(site, "status"), of(balancer.pid(), "status"));
    let (status, primary) = (table(&status), table(&primary));
    for set in ["SigPnd", "SigBlk", "SigIgn", "SigCgt"] {
        assert_eq!(status[set], "0000000000000000", "{set}");
    }
    assert_eq!(status["Umask"], "0027");
    for same in ["Uid", "Gid", "Groups", "NoNewPrivs", "Umask"] {
        assert_eq!(status[same], primary[same], "{same}");
    }
}

fn session_and_limits(site: &Site, balancer: &Balancer) {
    let worker = balancer.workers()[0];
    let stat = report(site, "stat");
    let stat = fields(&stat);
    let pid = worker.to_string();
    assert_eq!(stat[1], balancer.pid().to_string(), "parent");
    assert_eq!(
        stat[2..5],
        [pid.as_str(), pid.as_str(), "0"],
        "group, session, terminal"
    );
    assert_eq!(stat[16], fields(&of(balancer.pid(), "stat"))[16], "nice");
    assert_eq!(stat[16], "3", "nice");
    assert_eq!(report(site, "oom"), of(balancer.pid(), "oom_score_adj"));

    let (limits, of_ours) = (report(site, "limits"), of(balancer.pid(), "limits"));
    assert_eq!(limit(&limits, "Max open files")[0], "300");
    assert_ne!(
        limit(&of_ours, "Max open files")[0],
        "300",
        "the primary's own is raised"
    );
    for same in ["Max core file size", "Max processes", "Max stack size"] {
        assert_eq!(limit(&limits, same), limit(&of_ours, same), "{same}");
    }
}

fn descriptors(site: &Site) {
    let open = report(site, "fd");
    let open: Vec<&str> = open
        .lines()
        .filter(|line| line.contains(" -> "))
        .map(|line| line.rsplitn(4, ' ').take(3).last().expect("a number"))
        .collect();
    // The report's file is its 1, and `ls` has the directory open as 3.
    assert_eq!(open, ["0", "1", "2", "3"], "{}", report(site, "fd"));
    assert!(report(site, "fd").contains("0 -> /dev/null"));
    assert!(report(site, "fd").contains("2 -> pipe:"));
}

fn surroundings(site: &Site, balancer: &Balancer) {
    let here = std::env::current_dir().expect("a directory");
    assert_eq!(report(site, "cwd").trim_end(), here.display().to_string());
    let (theirs, ours) = (report(site, "environ"), of(balancer.pid(), "environ"));
    let (mut theirs, mut ours) = (environment(&theirs), environment(&ours));
    assert_eq!(theirs["FORKFRONT_SLOT"], "0");
    assert_eq!(theirs.remove("COLOUR"), Some("green"));
    assert!(theirs["LD_PRELOAD"].ends_with(".so"));
    theirs.retain(|name, _| !name.starts_with("FORKFRONT_") && *name != "LD_PRELOAD");
    ours.retain(|name, _| {
        ![
            "FORKFRONT_",
            "LISTEN_",
            "NOTIFY_",
            "WATCHDOG_",
            "LD_PRELOAD",
        ]
        .iter()
        .any(|gone| name.starts_with(gone))
    });
    assert_eq!(theirs, ours, "all else is as the primary got it");
}

#[test]
fn fifty_restarts_leave_the_primary_as_it_was() {
    let site = Site::new();
    let mut balancer = Balancer::nodes(&site, 10, &[]);
    for round in 1..=5 {
        let before = balancer.workers();
        for &worker in &before {
            send(worker, Signal::SIGKILL);
        }
        balancer.until("ten new workers", |status| {
            status.slots.iter().all(|slot| {
                slot.restarts >= round && slot.pid.is_some_and(|pid| !before.contains(&pid))
            })
        });
        balancer.all_ready();
    }
    // The census compares the primary's descriptors with those at its start, and looks for zombies.
    balancer.finish();
}

#[test]
fn workers_of_another_user_still_die_with_the_primary() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let site = site();
    // The first process, which has nothing to do with the channel, has only the kernel to tell it; the change
    // of user has cleared what was set before.
    let words = [
        "run",
        "-n",
        "1",
        "--user",
        "65534",
        "--group",
        "65533",
        "--",
        "sh",
        "-c",
        "node $HTTP & exec sleep 1000",
    ];
    let mut balancer = Balancer::spawn(&site, &words);
    balancer.all_ready();
    let worker = balancer.workers()[0];
    let status = fs::read_to_string(format!("/proc/{worker}/status")).expect("the worker");
    let status = table(&status);
    assert_eq!(status["Uid"], "65534\t65534\t65534\t65534");
    assert_eq!(status["Gid"], "65533\t65533\t65533\t65533");
    for name in ["CapPrm", "CapEff"] {
        assert_eq!(status[name], "0000000000000000", "{name}");
    }
    assert!(
        !status["Groups"].split(' ').any(|group| group == "0"),
        "{status:?}"
    );
    balancer.signal(Signal::SIGKILL);
    balancer.wait();
    balancer.workers_gone(Duration::from_secs(10));
}

#[test]
fn orphans_that_ignore_term_can_be_killed_instead() {
    let site = site();
    let line = "trap '' TERM; node $HTTP & while :; do sleep 1; done";
    let words = [
        "run",
        "-n",
        "1",
        "--orphans",
        "kill",
        "--",
        "sh",
        "-c",
        line,
    ];
    let mut balancer = Balancer::spawn(&site, &words);
    balancer.all_ready();
    let worker = balancer.workers()[0];
    assert_eq!(session_of(worker), Some(worker));
    balancer.signal(Signal::SIGKILL);
    balancer.wait();
    within(
        Duration::from_secs(5),
        "the first process is killed",
        || (!std::path::Path::new(&format!("/proc/{worker}")).exists()).then_some(()),
    );
    // Its child ignores TERM as well, and that is all that it was promised.
    eventually("the rest is ended by hand", || {
        let rest = common::members_of(worker);
        for &pid in &rest {
            send(pid, Signal::SIGKILL);
        }
        rest.is_empty().then_some(())
    });
}
