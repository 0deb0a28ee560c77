//! What becomes of a connection whose first bytes were waited for: dealt, by what they say or for want of that by
//! its client's address, or closed.

use std::time::Duration;

use super::reader::{News, note_fallback};
use super::{Awaits, Clock, Peeked};
use crate::policy::ids::ListenerId;
use crate::policy::sniff::Why;
use crate::primary::dispatcher::Reports;
use crate::primary::dispatcher::state::State;
use crate::primary::messages::Report;
use crate::sys::address::from_wire;
use crate::sys::clock;
use crate::wire::{Address, Belongs};

/// At most one refusal in this time is reported with all its words; the others are counted.
const QUIET: Duration = Duration::from_secs(1);

/// What is to become of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is dealt by this.
    Deal(Belongs),
    /// Its client has gone.
    Gone,
    /// It is closed, since it may not be served without the PROXY header.
    Refuse(&'static str),
    /// It is closed without a word.
    Close,
}

/// What is said of refused connections.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    quiet_until: u64,
    /// Refused since then.
    unsaid: u64,
}

impl Refusals {
    fn note(&mut self, listener: ListenerId, peer: &Address, why: &'static str, reports: &Reports) {
        let now = clock::now_ns();
        if now < self.quiet_until {
            self.unsaid += 1;
            return;
        }
        self.quiet_until = now + QUIET.as_nanos() as u64;
        reports.send(Report::Refused {
            listener,
            peer: from_wire(peer),
            why: why.into(),
            others: std::mem::take(&mut self.unsaid),
        });
    }
}

impl State {
    pub(super) fn conclude(&mut self, one: Peeked, verdict: Verdict) {
        let mut hand = one.hand;
        match verdict {
            Verdict::Deal(belongs) => {
                hand.record.belongs = belongs;
                // What its client took its time for is not what it waits for a worker.
                hand.record.accepted_at = clock::now_ns();
                self.place_or_hold(hand);
            }
            Verdict::Gone => self.client_gone += 1,
            Verdict::Refuse(why) => {
                let listener = ListenerId(hand.record.listener);
                let refusals = &mut self.peek.refusals;
                refusals.note(listener, &hand.record.peer, why, &self.reports);
                self.conclude(Peeked { hand, ..one }, Verdict::Close);
            }
            Verdict::Close => {
                self.closed_by_policy += 1;
                self.peek.counts.refused += 1;
            }
        }
    }

    /// More is not waited for any longer.
    pub(super) fn give_up(&mut self, key: usize, why: Why) {
        let mut one = self.take_out(key);
        let verdict = match (self.look_at(&mut one, News::default()), one.awaits) {
            (Some(verdict), _) => verdict,
            (None, Awaits::ProxyHeader) if why == Why::Crowded => {
                Verdict::Refuse("too many connections were waited for")
            }
            (None, Awaits::ProxyHeader) => Verdict::Refuse("its PROXY header did not come in time"),
            (None, Awaits::Request) if self.peek.needs_head() => Verdict::Close,
            (None, Awaits::Request) => self.fall_back(why),
        };
        self.conclude(one, verdict);
    }

    fn fall_back(&mut self, why: Why) -> Verdict {
        note_fallback(why, &mut self.peek.counts);
        Verdict::Deal(Belongs::Address)
    }

    /// The one that has waited for longest gives way; `false` if none waits.
    pub(in super::super) fn crowd_out(&mut self) -> bool {
        let Some((key, _)) = self.peek.waiting.first(Clock::Deadline) else {
            return false;
        };
        self.give_up(key, Why::Crowded);
        true
    }

    /// No first bytes are waited for any longer, on this lane or on all: its sockets are closed. Who has not said anything to a
    /// server that is not to be kept waiting, or not even who he is, is not dealt.
    pub(in super::super) fn settle_peeked(&mut self, lane: Option<usize>) {
        for key in self.peek.waiting.keys().collect::<Vec<_>>() {
            let waiting = &self.peek.waiting;
            let concerned = |one: &Peeked| lane.is_none_or(|lane| one.hand.lane == lane);
            if !waiting.get(key).is_some_and(concerned) {
                continue;
            }
            let mut one = self.take_out(key);
            let verdict = match (self.look_at(&mut one, News::default()), one.awaits) {
                (Some(verdict), _) => verdict,
                (None, Awaits::ProxyHeader) => Verdict::Close,
                (None, Awaits::Request) if one.seen == Some(0) && self.peek.needs_head() => {
                    Verdict::Close
                }
                (None, Awaits::Request) => self.fall_back(Why::TimedOut),
            };
            self.conclude(one, verdict);
        }
    }
}
