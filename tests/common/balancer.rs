//! The real binary, running: started at a [`Site`], asked by `forkfront status --json` (the ledger is checked at
//! every look), ended with the census. On a failed assertion its command, output and log are printed.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forkfront::config::Balance;
use forkfront::status::{SlotState, Status};
use nix::sys::signal::Signal;

use super::{Site, Tally, census, command, eventually, send};

/// A running primary.
pub struct Balancer<'a> {
    /// Where it runs.
    pub site: &'a Site,
    words: Vec<String>,
    primary: Child,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
    base: Option<BTreeMap<String, usize>>,
    ended: bool,
}

impl<'a> Balancer<'a> {
    /// Starts `forkfront WORDS` and waits until every slot is ready.
    #[track_caller]
    pub fn start<W: AsRef<str>>(site: &'a Site, words: &[W]) -> Self {
        Self::start_changed(site, words, |_| {})
    }

    /// As [`Balancer::start`], with a change to the command.
    #[track_caller]
    pub fn start_changed<W: AsRef<str>>(
        site: &'a Site,
        words: &[W],
        change: impl FnOnce(&mut Command),
    ) -> Self {
        let mut this = Self::spawn_changed(site, words, change);
        this.all_ready();
        this.base = Some(this.settled_descriptors());
        this
    }

    /// `n` workers of the node fixture, all ready.
    #[track_caller]
    pub fn nodes(site: &'a Site, n: u16, flags: &[&str]) -> Self {
        let (n, server) = (n.to_string(), super::server("http.js"));
        let mut words = vec!["run", "-n", &n];
        words.extend(flags);
        words.extend(["--", "node", &server]);
        Self::start(site, &words)
    }

    /// Starts `forkfront WORDS` and waits for nothing.
    #[track_caller]
    pub fn spawn<W: AsRef<str>>(site: &'a Site, words: &[W]) -> Self {
        Self::spawn_changed(site, words, |_| {})
    }

    /// As [`Balancer::spawn`], with a change to the command: other standard streams, limits, another program in front.
    #[track_caller]
    pub fn spawn_changed<W: AsRef<str>>(
        site: &'a Site,
        words: &[W],
        change: impl FnOnce(&mut Command),
    ) -> Self {
        let mut words: Vec<String> = words.iter().map(|word| word.as_ref().to_string()).collect();
        let control = site.control().display().to_string();
        words.splice(1..1, ["--control".to_string(), control]);
        let mut command = command::forkfront(site, &words);
        change(&mut command);
        let mut primary = command.spawn().expect("the program starts");
        let collect = |from: Option<Box<dyn Read + Send>>| {
            let text = Arc::new(Mutex::new(String::new()));
            if let Some(from) = from {
                follow(from, text.clone());
            }
            text
        };
        let stdout = collect(primary.stdout.take().map(|from| Box::new(from) as _));
        let stderr = collect(primary.stderr.take().map(|from| Box::new(from) as _));
        Self {
            site,
            words,
            primary,
            stdout,
            stderr,
            base: None,
            ended: false,
        }
    }

    /// As [`Balancer::spawn`], with `front` before the binary's path (or `binary`, a copy of it): prlimit, setpriv, a
    /// launcher; they all exec.
    #[track_caller]
    pub fn spawn_behind<W: AsRef<str>>(
        site: &'a Site,
        front: &[&str],
        binary: &Path,
        words: &[W],
    ) -> Self {
        Self::spawn_changed(site, words, |command| {
            let mut whole = Command::new(front[0]);
            whole.args(&front[1..]).arg(binary).args(command.get_args());
            whole.envs(site.environment()).stdin(Stdio::null());
            whole.stdout(Stdio::piped()).stderr(Stdio::piped());
            *command = whole;
        })
    }

    /// The primary's pid.
    pub fn pid(&self) -> u32 {
        self.primary.id()
    }

    /// What workers and primary have written so far, to both streams.
    pub fn output(&self) -> String {
        let out = self.stdout.lock().expect("reader").clone();
        out + &self.stderr.lock().expect("reader")
    }

    /// The state now, if the primary answers.
    #[track_caller]
    pub fn try_status(&self) -> Option<Status> {
        let control = self.site.control().display().to_string();
        let answer = command::run_to_end(self.site, &["status", "--json", "--control", &control]);
        if answer.code != Some(0) {
            return None;
        }
        let status: Status = serde_json::from_str(&answer.stdout)
            .unwrap_or_else(|error| panic!("status is not what status.rs says: {error}\n{answer}"));
        let explained = status.dealt + status.held + status.closed_by_policy + status.client_gone;
        assert_eq!(
            status.accepted, explained,
            "the ledger does not add up: {status:#?}"
        );
        Some(status)
    }

    /// The state now.
    #[track_caller]
    pub fn status(&self) -> Status {
        self.try_status().expect("the primary answers")
    }

    /// Waits until `holds` of the status.
    #[track_caller]
    pub fn until(&self, what: &str, mut holds: impl FnMut(&Status) -> bool) -> Status {
        eventually(what, || self.try_status().filter(|status| holds(status)))
    }

    /// Waits until every slot has a ready worker.
    #[track_caller]
    pub fn all_ready(&mut self) -> Status {
        eventually("all slots ready", || {
            if let Some(exit) = self.primary.try_wait().expect("wait") {
                self.ended = true;
                panic!("ended while starting, {exit}\n{}", self.transcript());
            }
            self.try_status().filter(|status| {
                !status.slots.is_empty()
                    && status
                        .slots
                        .iter()
                        .all(|slot| slot.state == SlotState::Ready)
            })
        })
    }

    /// Waits until every slot has a ready worker that is none of `former`.
    #[track_caller]
    pub fn replaced(&self, former: &[u32]) -> Status {
        self.until("all slots ready again", |status| {
            status.slots.iter().all(|slot| {
                let new = slot.pid.is_some_and(|pid| !former.contains(&pid));
                new && slot.state == SlotState::Ready
            })
        })
    }

    /// The counts of `processes` workers differ by at most 1. A worker that left its queue alone for as long as
    /// costs a turn (50 ms; the machine may be busy with other tests) is allowed the turns it lost: 1 %.
    #[track_caller]
    pub fn dealt_in_turn(&self, tally: &Tally, processes: usize) {
        let status = self.status();
        let slowest = status.slots.iter().map(|slot| slot.queue_wait_us.max).max();
        let kept_up = slowest.is_some_and(|slowest| slowest < 45_000);
        tally.even(processes, if kept_up { 1 } else { tally.answered() / 100 });
    }

    /// Pids of the workers, by slot.
    #[track_caller]
    pub fn workers(&self) -> Vec<u32> {
        let status = self.status();
        status
            .slots
            .iter()
            .map(|slot| slot.pid.expect("a worker"))
            .collect()
    }

    /// The slot whose worker's session `pid` is in.
    pub fn slot_of(&self, pid: u32) -> Option<u16> {
        let session = census::session_of(pid)?;
        self.status()
            .slots
            .iter()
            .find(|slot| slot.pid == Some(session))
            .map(|slot| slot.slot)
    }

    /// Sends a signal to the primary.
    pub fn signal(&self, signal: Signal) {
        send(self.pid(), signal);
    }

    /// Waits for the primary's end and returns the exit code.
    #[track_caller]
    pub fn wait(&mut self) -> Option<i32> {
        let status = eventually("the primary ends", || {
            self.primary.try_wait().expect("wait")
        });
        self.ended = true;
        status.code()
    }

    /// As [`Balancer::finish`], where slots or listeners have come or gone for good: descriptors are not compared.
    #[track_caller]
    pub fn finish_as_it_is(mut self) {
        self.base = None;
        self.finish();
    }

    /// The census, then a graceful stop and what must be left of it: nothing.
    #[track_caller]
    pub fn finish(mut self) {
        self.at_rest();
        self.signal(Signal::SIGTERM);
        assert_eq!(self.wait(), Some(0), "exit code of a graceful stop");
        self.nothing_left();
    }

    /// With no client there: nothing held or queued, each slot has taken what it was dealt, no more descriptors
    /// than at the start, no zombies.
    #[track_caller]
    pub fn at_rest(&mut self) {
        self.all_ready();
        self.until(
            "nothing held or queued, all dealt taken, nobody leaving",
            |status| {
                let kernel = status.balance == Balance::Kernel;
                status.held == 0
                    && status.leaving.is_empty()
                    && status
                        .slots
                        .iter()
                        .all(|slot| slot.queued == 0 && (kernel || slot.dealt == slot.accepted))
            },
        );
        if let Some(base) = &self.base {
            // An upgrade closes what the first image had inherited from whoever started it.
            let grown = |now: &BTreeMap<String, usize>| {
                now.iter().any(|(kind, count)| base.get(kind) < Some(count))
            };
            let mut now = kinds(self.pid());
            let start = std::time::Instant::now();
            while grown(&now) && start.elapsed() < Duration::from_secs(10) {
                std::thread::sleep(Duration::from_millis(20));
                now = kinds(self.pid());
            }
            assert!(
                !grown(&now),
                "descriptors of the primary: {base:?} at the start, {now:?} now"
            );
        }
        eventually("no zombies", || {
            census::children_in_state_z(self.pid())
                .is_empty()
                .then_some(())
        });
    }

    /// After the end: no process, no file, no panic.
    #[track_caller]
    pub fn nothing_left(&self) {
        let mark = &self.site.mark;
        let mut left = Vec::new();
        for _ in 0..200 {
            left = census::marked(mark);
            if left.is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(left, [], "processes left");
        assert_eq!(
            census::entries(&self.site.directory.join("run")),
            [""; 0],
            "files left"
        );
        let output = self.output();
        assert!(!output.contains("panicked at"), "a panic in the log");
    }

    /// As the last resort of a scenario in which the primary was killed: waits for every process to go by itself.
    #[track_caller]
    pub fn workers_gone(&self, limit: Duration) {
        super::within(limit, "workers gone after their primary", || {
            census::marked(&self.site.mark).is_empty().then_some(())
        });
    }

    fn settled_descriptors(&self) -> BTreeMap<String, usize> {
        eventually("no worker and no command client connected", || {
            if census::guests(self.pid()) != 0 {
                return None;
            }
            // Nothing that comes and goes, such as a health check, is part of it.
            let first = kinds(self.pid());
            let lasts = (0..3).all(|_| {
                std::thread::sleep(Duration::from_millis(5));
                kinds(self.pid()) == first
            });
            lasts.then_some(first)
        })
    }

    fn transcript(&self) -> String {
        format!(
            "$ forkfront {}\n--- stdout\n{}--- stderr\n{}---",
            self.words.join(" "),
            tail(&self.stdout.lock().expect("reader")),
            tail(&self.stderr.lock().expect("reader")),
        )
    }
}

impl Drop for Balancer<'_> {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        if failed {
            if let Ok(None) = self.primary.try_wait() {
                let control = self.site.control().display().to_string();
                let last =
                    command::run_to_end(self.site, &["status", "--json", "--control", &control]);
                eprintln!("last status: {}", last.stdout);
            }
            eprintln!("{}", self.transcript());
        }
        let _ = self.primary.kill();
        let _ = self.primary.wait();
        for (pid, _) in census::marked(&self.site.mark) {
            send(pid, Signal::SIGKILL);
        }
        assert!(failed || self.ended, "the scenario ends without finish()");
    }
}

/// How many descriptors of each kind a process has.
fn kinds(pid: u32) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for (_, link) in census::descriptors(pid) {
        // Looked into at any moment, and closed at once.
        if link.starts_with("/proc") {
            continue;
        }
        let kind = link.split(":[").next().unwrap_or_default().to_string();
        *kinds.entry(kind).or_default() += 1;
    }
    kinds
}

fn follow(mut from: Box<dyn Read + Send>, text: Arc<Mutex<String>>) {
    std::thread::spawn(move || {
        let mut part = [0; 4096];
        while let Ok(n @ 1..) = from.read(&mut part) {
            let part = String::from_utf8_lossy(&part[..n]).into_owned();
            text.lock().expect("collector").push_str(&part);
        }
    });
}

fn tail(text: &str) -> &str {
    let mut from = text.len().saturating_sub(6000);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}
