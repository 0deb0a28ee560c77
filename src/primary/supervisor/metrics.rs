//! What is read over HTTP, and by `forkfront metrics`. Changes nothing but what counts for it.

use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::time::Instant;

use log::{error, info};
use mio::unix::SourceFd;
use mio::{Interest, Poll};

use super::Supervisor;
use super::lives::random;
use super::source::Source;
use crate::config::Balance;
use crate::primary::app::App;
use crate::primary::metrics::{
    Counted, KIND, Metrics, Reply, Resource, Scrape, View, page, readiness,
};
use crate::status::{SlotStatus, Status};

/// Why there is nothing to be shown.
const MUTE: &str = "the dispatcher does not answer";

/// Has the poll tell when somebody reads.
///
/// # Errors
/// Those of epoll_ctl(2).
pub(super) fn watch(poll: &Poll, metrics: &Metrics) -> io::Result<()> {
    let watch = |fd: RawFd| {
        let token = Source::Metrics.token();
        poll.registry()
            .register(&mut SourceFd(&fd), token, Interest::READABLE)
    };
    metrics.descriptor().map_or(Ok(()), watch)
}

impl Supervisor {
    /// They read elsewhere from now on.
    pub(super) fn watch_readers(&mut self) {
        match watch(&self.poll, &self.metrics) {
            Ok(()) => self
                .metrics
                .url()
                .into_iter()
                .for_each(|url| info!("metrics at {url}")),
            Err(error) => error!("nobody can read the metrics: {error}"),
        }
    }

    /// Answers what is asked over HTTP.
    pub(super) fn hear_readers(&mut self) {
        let now = Instant::now();
        for (reader, resource) in self.metrics.ready(now) {
            let reply = self.reply(resource, now);
            self.metrics.answer(reader, reply, now);
        }
    }

    fn reply(&mut self, resource: Resource, now: Instant) -> Reply {
        if resource == Resource::Page {
            return page(u128::from(random()) << 64 | u128::from(random()));
        }
        let Some(mut view) = self.view(now) else {
            return Reply::plain(503, MUTE);
        };
        let reply = match resource {
            Resource::Page | Resource::Health => Reply::plain(200, "ok"),
            Resource::Ready(enough) => match readiness(&view.status, enough) {
                Ok(words) => Reply::plain(200, &words),
                Err(why) => Reply::plain(503, &why),
            },
            Resource::Status => {
                let written = || serde_json::to_vec(&view.status).unwrap_or_default();
                let json = view.json.get_or_insert_with(|| Rc::new(written()));
                Reply::of("application/json", Rc::clone(json))
            }
            Resource::Metrics => {
                let text = view.text.take();
                let text = text.unwrap_or_else(|| Rc::new(self.scrape(&view.status).into_bytes()));
                view.text = Some(Rc::clone(&text));
                Reply::of(KIND, text)
            }
        };
        self.metrics.keep_view(view);
        reply
    }

    /// What was looked at a moment ago, or is looked at now.
    fn view(&mut self, now: Instant) -> Option<View> {
        let view = self.metrics.take_view(now, self.stopping);
        if view.is_some() || self.metrics.is_mute(now) {
            return view;
        }
        let begun = Instant::now();
        let status = self.status();
        let done = Instant::now();
        if status.is_none() {
            self.metrics.be_mute(done);
        }
        Some(View::new(status?, done - begun, done))
    }

    /// The text for Prometheus, as of now.
    ///
    /// # Errors
    /// The sentence for who asked.
    pub(super) fn metrics_text(&mut self) -> Result<String, String> {
        let status = self.status().ok_or_else(|| MUTE.to_owned())?;
        Ok(self.scrape(&status))
    }

    fn scrape(&mut self, status: &Status) -> String {
        for worker in self.workers.iter() {
            self.metrics.tallies.look(worker);
        }
        let slots = status.slots.iter();
        let counted = slots.map(|slot| self.counted(slot)).collect();
        let shown = |app: &&App| status.apps.iter().any(|one| one.name == app.config.name);
        let proxies = self
            .apps
            .iter()
            .filter(shown)
            .filter_map(|app| Some((app.backends.as_ref()?, &app.config.name)));
        Scrape {
            status,
            counted,
            backends: proxies
                .flat_map(|(backends, app)| backends.tallies(app))
                .collect(),
            born: self.metrics.born,
            most_fds: self.open_files.now,
            overflows: self.metrics.overflows.count(),
            readers: self.metrics.counts(),
        }
        .text()
    }

    fn counted(&mut self, slot: &SlotStatus) -> Counted {
        let shown = |app: &&App| app.phase.is_serving() || self.stopping;
        let mut apps = self.apps.iter().filter(shown);
        let Some(app) = apps.find(|app| app.config.name == slot.app) else {
            return Counted::default();
        };
        // What the kernel deals is in nobody's books.
        let kernel = app.config.routing.balance == Balance::Kernel;
        let taken = (!kernel).then_some(slot.accepted);
        self.metrics.tallies.slot(app.id, slot, taken)
    }
}
