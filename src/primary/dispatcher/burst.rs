//! Bursts: connections that gather for a moment where every core is busy, are accepted together, and go to each worker
//! in one message after the other by one system call. `policy::gather` judges when that pays.

use std::os::fd::AsFd;

use super::choice::Patience;
use super::deal::{Hand, NotNow};
use super::state::State;
use crate::policy::courtesy::Courtesy;
use crate::policy::gather::Gather;
use crate::sys::clock;
use crate::sys::fdpass;
use crate::sys::scheduler::{SchedStat, let_wakers_finish, nap, nap_exactly};
use crate::wire::Record;

/// Most connections of one burst.
const MOST: usize = fdpass::MANY;

/// Connections that have been given a seat and are still in hand, and what tells how long to wait for more.
#[derive(Debug)]
pub(super) struct Burst {
    /// By the key of their seat.
    hands: Vec<(usize, Hand)>,
    /// Their records as they are sent.
    bytes: Vec<[u8; Record::LEN]>,
    /// What is dealt now goes there instead of to its worker.
    pub is_open: bool,
    pub gather: Gather,
    /// Of dispatchers for proxies.
    courtesy: Option<Courtesy>,
    scheduled: Option<SchedStat>,
}

impl Burst {
    /// For the thread that makes it; no wait is longer than `max` ns.
    pub fn new(max: u64) -> Self {
        Self {
            hands: Vec::with_capacity(MOST),
            bytes: Vec::with_capacity(MOST),
            is_open: false,
            gather: Gather::new(max),
            courtesy: None,
            scheduled: None,
        }
    }

    /// What concerns the thread itself.
    pub fn begin(&mut self, for_proxies: bool) {
        nap_exactly();
        // Elsewhere it gains nothing, and beside servers that compute it would have to wait for them.
        if for_proxies {
            let_wakers_finish(true);
            self.courtesy = Some(Courtesy::default());
        }
        // Without, nothing ever waits.
        self.scheduled = SchedStat::open().ok();
    }

    /// Where strangers keep the cores, it asks for one as others do.
    fn behave(&mut self, now: u64) {
        let waits = || self.scheduled.as_ref()?.waits();
        let courtesy = self.courtesy.as_mut();
        if let Some(courteous) = courtesy.and_then(|courtesy| courtesy.judge(now, waits)) {
            let_wakers_finish(courteous);
        }
    }

    pub fn len(&self) -> usize {
        self.hands.len()
    }
}

impl State {
    /// Waits for more to come, if that pays.
    pub(super) fn gather(&mut self, now: u64) {
        let Self { burst, seats, .. } = self;
        burst.behave(now);
        let delay = || Some(burst.scheduled.as_ref()?.waits()?.0);
        let wait = burst.gather.wait(now, seats.len(), delay);
        // Whoever finds so many has left others behind.
        if wait != 0 && !burst.gather.is_behind(MOST) {
            nap(wait);
        }
    }

    /// Gives a connection its seat, to be sent there with the others of the burst.
    pub(super) fn place_in_burst(&mut self, hand: Hand) -> Result<(), NotNow> {
        if self.burst.hands.len() == MOST {
            self.send_burst();
            self.burst.is_open = true;
        }
        let (key, hand) = self.find_seat(hand, clock::now_ns(), Patience::AsConfigured)?;
        self.seats[key].staged += 1;
        self.burst.hands.push((key, hand));
        Ok(())
    }

    /// Sends the burst, each worker's part in order by one system call. What does not go in goes elsewhere, or is held.
    pub(super) fn send_burst(&mut self) {
        self.burst.is_open = false;
        let mut hands = std::mem::take(&mut self.burst.hands);
        // Unstable, since that allocates nothing; connections are numbered in their order.
        hands.sort_unstable_by_key(|(key, hand)| (*key, hand.record.connection));
        while let Some(&(key, _)) = hands.last() {
            let begin = hands.partition_point(|(other, _)| *other < key);
            let sent = self.send_part(key, &hands[begin..]);
            for (place, (_, hand)) in hands.drain(begin..).enumerate() {
                // Our copies of those that are sent go here: kept any longer, they would swallow the worker's FIN (KF21).
                if place >= sent {
                    self.place_or_hold(hand);
                }
            }
        }
        self.burst.hands = hands;
    }

    /// How many of them are in the channel of this seat now.
    fn send_part(&mut self, key: usize, part: &[(usize, Hand)]) -> usize {
        let bytes = &mut self.burst.bytes;
        bytes.clear();
        bytes.extend(part.iter().map(|(_, hand)| hand.record.encode()));
        let messages = part.iter().zip(bytes.iter());
        let messages = messages.map(|((_, hand), bytes)| (&bytes[..], hand.fd.as_fd()));
        let seat = &mut self.seats[key];
        let sent = seat.send_staged(messages, part.len());
        let slot = seat.slot();
        self.slots[slot].dealt += sent as u64;
        if sent != 0 {
            self.watch(clock::now_ns());
        }
        sent
    }
}
