//! The watchdog is fed by all threads that must go round, and by nobody else.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::common::{Balancer, Site};
use crate::manager::Manager;

/// What the manager waits for a sign of life.
const WATCHDOG: Duration = Duration::from_millis(800);

/// A thread of another process that stands still until this is dropped.
pub struct Stopped(Child);

impl Stopped {
    #[track_caller]
    pub fn thread(pid: u32, name: &str) -> Self {
        let script = format!(
            "{}/tests/programs/stop_thread.py",
            env!("CARGO_MANIFEST_DIR")
        );
        let mut child = Command::new("python3")
            .args([&script, &pid.to_string(), name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3");
        let mut line = String::new();
        let stdout = child.stdout.as_mut().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        assert_eq!(line, "stopped\n");
        Self(child)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Says nothing for longer than the manager would wait.
#[track_caller]
fn starves(manager: &Manager) {
    // What was on its way.
    let fed = (0..20).take_while(|_| manager.hears("WATCHDOG=1", WATCHDOG / 2));
    assert!(fed.count() < 20, "it goes on to be fed");
    assert!(!manager.hears("WATCHDOG=1", WATCHDOG));
}

#[test]
fn is_fed_while_every_thread_goes_round() {
    let mut site = Site::new().env("WATCHDOG_USEC", WATCHDOG.as_micros());
    let manager = Manager::of(&mut site);
    let balancer = Balancer::nodes(&site, 1, &[]);
    for name in ["", "dispatcher", "forkfront-logs"] {
        for _ in 0..4 {
            assert!(manager.hears("WATCHDOG=1", WATCHDOG), "before {name}");
        }
        let stopped = Stopped::thread(balancer.pid(), name);
        starves(&manager);
        drop(stopped);
        manager.until("WATCHDOG=1");
    }
    balancer.finish();
}

#[test]
fn is_not_ours_to_feed_by_another_pid() {
    let mut site = Site::new()
        .env("WATCHDOG_USEC", WATCHDOG.as_micros())
        .env("WATCHDOG_PID", 1);
    let manager = Manager::of(&mut site);
    let balancer = Balancer::nodes(&site, 1, &[]);
    let said = manager.until("STATUS=serving");
    assert!(
        !said.iter().any(|words| words.contains("WATCHDOG")),
        "{said:#?}"
    );
    assert!(!manager.hears("WATCHDOG", WATCHDOG));
    balancer.finish();
}
