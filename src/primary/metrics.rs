//! The state for programs and browsers, over HTTP and for `forkfront metrics`: what is counted for it, who reads it,
//! and how it is written. Read only: nothing changes by a request.
//!
//! | file | does |
//! |---|---|
//! | `readers`, `reader` | the listening socket and who is connected there, bounded in every way |
//! | `http`, `reply` | requests and answers |
//! | `tally` | what counts over the lives of a slot |
//! | `families`, `exposition` | the text for Prometheus |
//! | `ready`, `page` | `/readyz`, `/` |
//!
//! All of it is the main thread's. What is shown is made at most a few times a second and shared by all who ask
//! meanwhile.

mod exposition;
mod families;
mod http;
mod page;
mod reader;
mod readers;
mod ready;
mod reply;
mod tally;

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

use crate::config::ListenAt;
use crate::error::{Error, Result};
use crate::policy::ids::AppId;
use crate::primary::listeners::{self, overflows::Overflows};
use crate::primary::workers::Worker;
use crate::status::Status;
use crate::sys::handover::Luggage;
pub use exposition::KIND;
pub use families::Scrape;
pub use http::Resource;
pub use page::page;
pub use readers::Readers;
use readers::{BACKLOG, Counts, DESCRIPTORS, FrozenReaders};
pub use ready::readiness;
pub use reply::Reply;
use tally::FrozenTallies;
pub use tally::{Counted, Tallies, Waits};

/// For so long what was made for one reader is shown to others, or [`SHARE`] times as long as it took to make.
const FRESH: Duration = Duration::from_millis(50);
/// Looking at the state takes one part in so many of the main thread's time at most.
const SHARE: u32 = 10;

/// How long after a dispatcher has not answered nobody waits for it again: the main thread has other things to do.
const MUTE: Duration = Duration::from_secs(5);

/// What was looked at last, for all who ask at about the same time.
#[derive(Debug)]
pub struct View {
    /// The state.
    pub status: Status,
    /// It as JSON.
    pub json: Option<Rc<Vec<u8>>>,
    /// It as text for Prometheus.
    pub text: Option<Rc<Vec<u8>>>,
    until: Instant,
}

impl View {
    /// Of a state that took so long to be put together, until now.
    pub fn new(status: Status, cost: Duration, now: Instant) -> Self {
        Self {
            status,
            json: None,
            text: None,
            until: now + FRESH.max(cost * SHARE),
        }
    }
}

/// What is counted, and who reads it.
#[derive(Debug)]
pub struct Metrics {
    /// What counts over the lives of slots.
    pub tallies: Tallies,
    /// When the primary was started, seconds since 1970.
    pub born: f64,
    /// How often the kernel has found an accept queue full.
    pub overflows: Overflows,
    readers: Option<Readers>,
    view: Option<View>,
    /// A dispatcher did not answer: until then nobody waits for it again.
    mute_until: Option<Instant>,
}

/// As [`Metrics`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct FrozenMetrics {
    tallies: FrozenTallies,
    overflows: Option<Overflows>,
    readers: Option<FrozenReaders>,
}

/// Opens the address of `--metrics`.
///
/// # Errors
/// One sentence if that cannot be.
pub fn open(at: &ListenAt) -> Result<Readers> {
    let door = listeners::open_one(at, Some(BACKLOG), "--metrics")?;
    Readers::new(door).map_err(|error| Error::io(format!("cannot serve metrics at {at}"), &error))
}

/// Descriptors that are kept free for reading at this address.
pub fn descriptors(at: Option<&ListenAt>) -> usize {
    at.map_or(0, |_| DESCRIPTORS)
}

impl Metrics {
    /// Of a primary that has been running for `uptime`, for those who read there.
    pub fn new(readers: Option<Readers>, uptime: Duration) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let born = now.unwrap_or_default().saturating_sub(uptime);
        Self {
            tallies: Tallies::default(),
            born: (born.as_secs_f64() * 100.0).round() / 100.0,
            overflows: Overflows::from_now_on(),
            readers,
            view: None,
            mute_until: None,
        }
    }

    /// What the next image needs.
    pub fn freeze<'a>(&'a self, luggage: &mut Luggage<'a>) -> FrozenMetrics {
        let Self {
            tallies,
            born: _,
            overflows,
            readers,
            view: _,
            mute_until: _,
        } = self;
        FrozenMetrics {
            tallies: tallies.freeze(),
            overflows: Some(*overflows),
            readers: readers.as_ref().map(|readers| readers.freeze(luggage)),
        }
    }

    /// As another image left it.
    ///
    /// # Errors
    /// Those of [`Readers::thaw`].
    pub fn thaw(
        frozen: FrozenMetrics,
        luggage: &mut Luggage<'_>,
        uptime: Duration,
    ) -> io::Result<Self> {
        let readers = frozen
            .readers
            .map(|readers| Readers::thaw(readers, luggage));
        let mut this = Self::new(readers.transpose()?, uptime);
        this.tallies = Tallies::thaw(frozen.tallies);
        this.overflows = frozen.overflows.unwrap_or(this.overflows);
        Ok(this)
    }

    /// From now on they read there, or nowhere; who was connected is cut off.
    pub fn move_to(&mut self, readers: Option<Readers>) {
        self.readers = readers;
    }

    /// Where to read, if anywhere.
    pub fn url(&self) -> Option<String> {
        self.readers.as_ref().map(Readers::url)
    }

    /// Who reads over HTTP: how many, and what was done for them.
    pub fn counts(&self) -> (usize, Counts) {
        self.readers
            .as_ref()
            .map(Readers::counts)
            .unwrap_or_default()
    }

    /// For the poll.
    pub fn descriptor(&self) -> Option<RawFd> {
        self.readers.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// When [`Metrics::ready`] is to be called at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        self.readers.as_ref().and_then(Readers::deadline)
    }

    /// What is asked, and by whom; each to be answered at once.
    pub fn ready(&mut self, now: Instant) -> Vec<(usize, Resource)> {
        let readers = self.readers.as_mut();
        readers
            .map(|readers| readers.ready(now))
            .unwrap_or_default()
    }

    /// Answers a reader.
    pub fn answer(&mut self, reader: usize, reply: Reply, now: Instant) {
        if let Some(readers) = &mut self.readers {
            readers.answer(reader, reply, now);
        }
    }

    /// What was looked at last, if that is recent and `stopping` is as it was.
    pub fn take_view(&mut self, now: Instant, stopping: bool) -> Option<View> {
        let view = self.view.take();
        view.filter(|view| now < view.until && view.status.stopping == stopping)
    }

    /// There is nothing to be shown, and whoever asked has waited for it: others are told so at once for a while.
    pub fn be_mute(&mut self, now: Instant) {
        self.mute_until = Some(now + MUTE);
    }

    /// Whether that was a moment ago.
    pub fn is_mute(&self, now: Instant) -> bool {
        self.mute_until.is_some_and(|until| now < until)
    }

    /// Keeps it for others.
    pub fn keep_view(&mut self, view: View) {
        self.view = Some(view);
    }

    /// A worker is no more.
    pub fn bury(&mut self, worker: &Worker) {
        self.tallies.bury(worker);
    }

    /// An app is no more.
    pub fn forget(&mut self, app: AppId) {
        self.tallies.forget(app);
    }
}
