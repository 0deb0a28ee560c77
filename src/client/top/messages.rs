//! What was said: how each change goes on, and what became of the primary. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Messages that are kept.
const KEPT: usize = 200;

/// How long a good end stays in view; a bad one stays until it is put away, or something newer is said.
const GOOD_STAYS: Duration = Duration::from_secs(20);

/// How far the thing is that a message tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// A change is under way.
    Going,
    /// It is done.
    Done,
    /// It could not be done.
    Failed,
    /// No change: something is so.
    Note,
}

/// One change, or one thing that has happened.
#[derive(Clone, Debug)]
pub struct Message {
    /// The number of the change.
    change: Option<u64>,
    /// What was asked: `restart 2`. Empty for what nobody asked.
    pub about: String,
    /// The last thing that was said of it; further lines tell more.
    pub text: String,
    /// How far it is.
    pub stage: Stage,
    /// Since when it is there.
    since: Instant,
    put_away: bool,
}

/// All messages, the newest last.
#[derive(Debug, Default)]
pub struct Messages(VecDeque<Message>);

impl Messages {
    /// A change was asked for.
    pub fn begin(&mut self, change: u64, about: String, now: Instant) {
        let text = "asked".to_owned();
        self.add(Some(change), about, text, Stage::Going, now);
    }

    /// Something has happened.
    pub fn note(&mut self, text: impl Into<String>, now: Instant) {
        self.add(None, String::new(), text.into(), Stage::Note, now);
    }

    fn add(
        &mut self,
        change: Option<u64>,
        about: String,
        text: String,
        stage: Stage,
        now: Instant,
    ) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(Message {
            change,
            about,
            text,
            stage,
            since: now,
            put_away: false,
        });
    }

    /// How a change goes on, or ended.
    pub fn said(&mut self, change: u64, text: String, stage: Stage, now: Instant) {
        let mut all = self.0.iter_mut();
        let Some(message) = all.find(|one| one.change == Some(change)) else {
            return;
        };
        message.text = text;
        message.stage = stage;
        if stage != Stage::Going {
            message.since = now;
            message.put_away = false;
        }
    }

    /// What has ended is not shown any more.
    pub fn put_away(&mut self) {
        for message in &mut self.0 {
            message.put_away = message.stage != Stage::Going;
        }
    }

    /// What is to be shown, at most `most`: changes under way, else the last thing that was said.
    pub fn in_view(&self, most: usize, now: Instant) -> Vec<&Message> {
        let going = self.0.iter().filter(|one| one.stage == Stage::Going);
        let going: Vec<&Message> = going.collect();
        let ended = self.0.iter().filter(|one| one.stage != Stage::Going);
        let last = ended.max_by_key(|one| one.since).filter(|one| {
            let stays = one.stage == Stage::Failed || now < one.since + GOOD_STAYS;
            stays && !one.put_away
        });
        let all: Vec<&Message> = last.into_iter().chain(going).collect();
        all[all.len().saturating_sub(most)..].to_vec()
    }

    /// Lines of all of them.
    pub fn lines(&self) -> usize {
        self.0.iter().map(|one| one.text.lines().count()).sum()
    }

    /// All of them.
    pub fn all(&self) -> impl DoubleEndedIterator<Item = &Message> {
        self.0.iter()
    }
}
