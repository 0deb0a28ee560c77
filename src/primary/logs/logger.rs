//! The `log` macros' way to the log thread: filtered here, bounded, and never waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crossbeam_channel::{Receiver, Sender, bounded};
use env_filter::{Builder, Filter};
use log::{Level, LevelFilter, Log, Metadata, Record};
use mio::Waker;
use serde::{Deserialize, Serialize};

use super::now_ms;
use crate::protocol::line::single;

/// Says more or less than `-v` and `-q` do, by module: `debug`, `forkfront::primary=trace`.
const ENVIRONMENT: &str = "FORKFRONT_LOG";

/// Our own lines that may wait for the log thread.
const WAITING: usize = 4096;

/// A line of our own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OwnLine {
    /// ms since 1970.
    pub time: i64,
    pub level: Level,
    pub message: String,
}

/// The way of our own lines to the log thread.
#[derive(Debug)]
pub struct OwnLines {
    sender: Sender<OwnLine>,
    receiver: Receiver<OwnLine>,
    /// Lines for which there was no room, since that was last said.
    dropped: AtomicU64,
    lost: Arc<AtomicU64>,
    waker: Arc<Waker>,
}

impl OwnLines {
    pub fn new(waker: Arc<Waker>, lost: Arc<AtomicU64>) -> Self {
        let (sender, receiver) = bounded(WAITING);
        Self {
            sender,
            receiver,
            dropped: AtomicU64::new(0),
            lost,
            waker,
        }
    }

    /// Leaves a line, or counts it.
    pub fn push(&self, line: OwnLine) {
        if self.sender.try_send(line).is_err() {
            self.dropped.fetch_add(1, Relaxed);
            self.lost.fetch_add(1, Relaxed);
        }
        // Whoever was woken before and has not read yet will find this too.
        let _ = self.waker.wake();
    }

    /// The next line, or a word about those that there was no room for.
    pub fn next(&self) -> Option<OwnLine> {
        self.receiver.try_recv().ok().or_else(|| {
            let dropped = self.dropped.swap(0, Relaxed);
            let plural = if dropped == 1 { "" } else { "s" };
            (dropped > 0).then(|| OwnLine {
                time: now_ms(),
                level: Level::Warn,
                message: format!("{dropped} line{plural} of our own dropped here"),
            })
        })
    }

    /// What waits, and goes on waiting.
    pub fn waiting(&self) -> Vec<OwnLine> {
        let waiting: Vec<OwnLine> = self.receiver.try_iter().collect();
        for line in &waiting {
            let _ = self.sender.try_send(line.clone());
        }
        waiting
    }
}

/// Makes them the target of the `log` macros. The first call of a process holds.
pub fn install(lines: Arc<OwnLines>, level: LevelFilter) {
    let filter = rules().map(|rules| {
        let mut builder = Builder::new();
        builder.filter_level(level).parse(&rules);
        builder.build()
    });
    let most = filter.as_ref().map_or(level, Filter::filter);
    if log::set_boxed_logger(Box::new(Logger { lines, filter })).is_ok() {
        log::set_max_level(most);
    }
}

/// From now on this much is said.
///
/// # Errors
/// A sentence, if the environment decides.
pub fn set_level(level: LevelFilter) -> Result<(), String> {
    match rules() {
        Some(rules) => Err(format!(
            "{ENVIRONMENT}={rules} in the environment of the primary decides what is said"
        )),
        None => {
            log::set_max_level(level);
            Ok(())
        }
    }
}

fn rules() -> Option<String> {
    std::env::var(ENVIRONMENT)
        .ok()
        .filter(|rules| !rules.is_empty())
}

struct Logger {
    lines: Arc<OwnLines>,
    /// None: the level of the macros is all there is.
    filter: Option<Filter>,
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let filter = self.filter.as_ref();
        filter.is_none_or(|filter| filter.enabled(metadata))
    }

    fn log(&self, record: &Record<'_>) {
        let filter = self.filter.as_ref();
        if filter.is_none_or(|filter| filter.matches(record)) {
            self.lines.push(OwnLine {
                time: now_ms(),
                level: record.level(),
                message: single(&record.args().to_string()).into_owned(),
            });
        }
    }

    fn flush(&self) {}
}
