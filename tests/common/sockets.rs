//! Real WebSocket and socket.io clients, many in one process of their own (`tests/programs`): told what to do by
//! lines, answering each with what every one of them knows.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::Site;

/// What one client knows.
#[derive(Clone, Debug, Deserialize)]
pub struct Seen {
    /// Connected, and the server has said who it is.
    pub connected: bool,
    /// `polling` or `websocket`.
    pub transport: Option<String>,
    /// The slot it is connected to.
    pub slot: Option<u16>,
    /// The process it is connected to.
    pub pid: Option<u32>,
    /// How often it has connected.
    pub connects: u32,
    /// Whether what it said last was answered, by the process it is connected to.
    pub said: Option<bool>,
    /// What went wrong so far, and how often.
    pub errors: BTreeMap<String, u32>,
}

/// Clients at work.
pub struct Sockets {
    child: Child,
    commands: ChildStdin,
    answers: Receiver<String>,
}

impl Sockets {
    /// `count` socket.io clients of the server at `to`.
    #[track_caller]
    pub fn io(to: SocketAddr, count: usize, options: &Value) -> Self {
        Self::start(
            "socketio_clients.js",
            &format!("http://{to}"),
            count,
            options,
        )
    }

    /// `count` clients of `program`, which is told the URL and the options.
    #[track_caller]
    pub fn start(program: &str, url: &str, count: usize, options: &Value) -> Self {
        let mut child = Command::new("node")
            .arg(format!(
                "{}/tests/programs/{program}",
                env!("CARGO_MANIFEST_DIR")
            ))
            .arg(url)
            .arg(count.to_string())
            .arg(options.to_string())
            .env("NODE_PATH", node_modules())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node starts");
        let (says, answers) = channel();
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = says.send(line);
            }
        });
        Self {
            commands: child.stdin.take().expect("piped"),
            child,
            answers,
        }
    }

    /// Tells the clients `words` and returns what they know then.
    #[track_caller]
    pub fn tell(&mut self, words: &str) -> Vec<Seen> {
        writeln!(self.commands, "{words}").expect("the clients listen");
        let limit = Duration::from_secs(60);
        let line = self.answers.recv_timeout(limit).expect("an answer in time");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line}"))
    }

    /// Waits until all are connected and upgraded (30 s at most).
    #[track_caller]
    pub fn settle(&mut self) -> Vec<Seen> {
        self.tell("settle 30000")
    }

    /// As [`Sockets::settle`], where every client must be connected by a WebSocket; the slot of each.
    #[track_caller]
    pub fn upgraded(&mut self) -> Vec<u16> {
        self.upgraded_from(&[])
    }

    /// As [`Sockets::upgraded`], once none is connected to one of `former` any more.
    #[track_caller]
    pub fn upgraded_from(&mut self, former: &[u32]) -> Vec<u16> {
        let former: String = former.iter().map(|pid| format!(" {pid}")).collect();
        let seen = self.tell(&format!("settle 30000{former}"));
        let upgraded = |one: &Seen| one.connected && one.transport.as_deref() == Some("websocket");
        let others: Vec<&Seen> = seen.iter().filter(|one| !upgraded(one)).collect();
        let all = seen.len();
        assert!(others.is_empty(), "{} of {all}: {others:#?}", others.len());
        slots_of(&seen)
    }

    /// Each says something; all must be answered by the worker that they are connected to.
    #[track_caller]
    pub fn all_say(&mut self) {
        let seen = self.tell("say");
        let silent: Vec<&Seen> = seen.iter().filter(|one| one.said != Some(true)).collect();
        assert!(silent.is_empty(), "not answered: {silent:#?}");
    }

    /// All disconnect and connect anew.
    #[track_caller]
    pub fn again(&mut self) {
        self.tell("again");
    }

    /// All leave.
    pub fn leave(self) {
        drop(self);
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The slots of clients that are all connected.
#[track_caller]
pub fn slots_of(seen: &[Seen]) -> Vec<u16> {
    seen.iter()
        .map(|one| one.slot.expect("connected"))
        .collect()
}

/// How many clients each of `n` slots has.
pub fn spread(slots: &[u16], n: u16) -> Vec<usize> {
    let mut counts: BTreeMap<u16, usize> = (0..n).map(|slot| (slot, 0)).collect();
    slots
        .iter()
        .for_each(|slot| *counts.entry(*slot).or_default() += 1);
    counts.into_values().collect()
}

/// Four slots have had their turns: the counts differ by no more than what a busy machine may cost, a tenth.
#[track_caller]
pub fn even(slots: &[u16]) {
    let counts = spread(slots, 4);
    let most = counts.iter().max().unwrap_or(&0) - counts.iter().min().unwrap_or(&0);
    assert!(most <= slots.len() / 10, "not even: {counts:?}");
}

/// Where `scripts/test` has put the npm packages of `tests/programs/package.json`: the value for `NODE_PATH`.
#[track_caller]
pub fn node_modules() -> String {
    let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../test-node/node_modules");
    assert!(
        made.join("socket.io").exists(),
        "{} has no npm packages: run scripts/test, which installs them",
        made.display()
    );
    made.display().to_string()
}

/// A site whose workers find the npm packages; what engine.io did not know is written down in `journal`.
pub fn socketio_site() -> Site {
    let site = Site::new();
    let journal = site.file("journal").display().to_string();
    site.env("NODE_PATH", node_modules())
        .env("JOURNAL", journal)
}
