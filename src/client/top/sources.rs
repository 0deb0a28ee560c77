//! Where news comes from, a thread each: looks at the primary, keys, signals, and the answers to changes.
//!
//! They know nothing of the picture. What they tell goes through one bounded channel; a loop that is held up by
//! its terminal holds them up, and nothing piles up.

use std::io;
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ratatui::crossterm::event;

use super::messages::Stage;
use crate::client::Target;
use crate::client::conversation::{Conversation, Lines, plain};
use crate::error::{ErrorKind, Result};
use crate::protocol::{Done, Request};
use crate::status::Status;
use crate::sys::signals::{Signal, Signals};

/// News that wait for the loop.
const WAITING: usize = 64;

/// What has happened.
#[derive(Debug)]
pub enum News {
    /// The primary's state, or why it is not known.
    Look(Result<Box<Status>>),
    /// Something happened at the terminal.
    Terminal(event::Event),
    /// Nothing will happen there any more.
    TerminalLost,
    /// A signal has come.
    Signal(Signal),
    /// How a change goes on, or ended.
    Change(u64, String, Stage),
}

/// The primary that is watched. Once one was found, it stays that one as long as it is there.
#[derive(Clone, Debug)]
pub struct Watched {
    asked: Target,
    found: Option<Target>,
}

impl Watched {
    /// The one that `asked` means.
    pub fn new(asked: Target) -> Self {
        Self { asked, found: None }
    }

    /// Its state.
    ///
    /// # Errors
    /// No primary there, several, or no proper answer.
    pub fn look(&mut self) -> Result<Status> {
        let looked = self.ask();
        match (&looked, &self.found) {
            // It may be there under another name: one that knows no port yet goes by its pid.
            (Err(error), Some(_)) if error.kind() == ErrorKind::NoPrimary => {
                let other = Self::new(self.asked.clone()).ask();
                other.or(looked).inspect(|status| self.found(status))
            }
            _ => looked.inspect(|status| self.found(status)),
        }
    }

    fn ask(&self) -> Result<Status> {
        Conversation::open(self.target(), &Request::Status)?.answer()
    }

    /// It has told its state.
    pub fn found(&mut self, status: &Status) {
        if self.asked == Target::Only {
            self.found = Some(Target::Named(status.name.clone()));
        }
    }

    /// Whom to ask.
    pub fn target(&self) -> &Target {
        self.found.as_ref().unwrap_or(&self.asked)
    }
}

/// All threads.
pub struct Sources {
    news: Sender<News>,
}

impl Sources {
    /// Starts those that are always there.
    ///
    /// # Errors
    /// Those of signalfd(2) and pthread_create(3).
    pub fn start(watched: Watched, interval: Duration) -> io::Result<(Self, Receiver<News>)> {
        // Before any thread: one that does not block them would take them with their default action.
        let signals = Signals::block_and_watch_for_a_screen()?;
        let (news, told) = bounded(WAITING);
        let to = news.clone();
        spawn("looks", move || looks(watched, interval, &to))?;
        let to = news.clone();
        spawn("signals", move || watch_signals(&signals, &to))?;
        let to = news.clone();
        spawn("keys", move || keys(&to))?;
        Ok((Self { news }, told))
    }

    /// Has a change made; news tell how it goes on.
    ///
    /// # Errors
    /// Those of pthread_create(3).
    pub fn change(&self, number: u64, target: Target, request: Request) -> io::Result<()> {
        let to = self.news.clone();
        spawn("change", move || change(number, &target, &request, &to))
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let builder = thread::Builder::new().name(format!("top-{name}"));
    builder.spawn(work).map(drop)
}

/// Looks every `interval`, from one beginning to the next: how long an answer takes changes nothing.
fn looks(mut watched: Watched, interval: Duration, to: &Sender<News>) {
    let mut next = Instant::now() + interval;
    loop {
        thread::sleep(next.saturating_duration_since(Instant::now()));
        let looked = watched.look().map(Box::new);
        if to.send(News::Look(looked)).is_err() {
            return;
        }
        next = (next + interval).max(Instant::now());
    }
}

fn keys(to: &Sender<News>) {
    loop {
        let news = match event::read() {
            Ok(event) => News::Terminal(event),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => News::TerminalLost,
        };
        let lost = matches!(news, News::TerminalLost);
        if to.send(news).is_err() || lost {
            return;
        }
    }
}

fn watch_signals(signals: &Signals, to: &Sender<News>) {
    loop {
        let mut awaited = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        match poll(&mut awaited, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return,
        }
        while let Ok(Some(signal)) = signals.read() {
            if to.send(News::Signal(signal)).is_err() {
                return;
            }
        }
    }
}

fn change(number: u64, target: &Target, request: &Request, to: &Sender<News>) {
    let tell = |text: String, stage| {
        // The loop has ended; the change goes on all the same.
        let _ = to.send(News::Change(number, text, stage));
    };
    let outcome = Conversation::open(target, request).and_then(|mut conversation| {
        conversation.end::<Done>(&mut Lines(|line: &str| tell(line.to_owned(), Stage::Going)))
    });
    match outcome {
        Ok(done) => tell(plain(&done.message), Stage::Done),
        Err(error) => tell(error.to_string(), Stage::Failed),
    }
}
