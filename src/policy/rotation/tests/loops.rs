//! Round robin over servers with event loops, simulated: each takes its whole queue (or one connection) in one turn of
//! its loop and serves it in the next. Time is made up, and chance comes from a seed.

use super::super::*;
use super::numbers;
use crate::policy::delay::{Backlog, Look};
use std::cell::Cell;

const US: u64 = 1_000;
const MS: u64 = 1_000_000;

/// One worker.
#[derive(Clone, Debug, Default)]
struct Server {
    /// Time for one connection, ns.
    cost: u64,
    /// Connections that it takes in one turn, at most.
    at_once: u64,
    /// Dealt, and not taken.
    queue: u64,
    /// Taken, to be served in the next turn.
    taken: u64,
    /// Being served in this turn.
    serving: u64,
    /// Connections that have been served and stay.
    idle: u64,
    /// Served in the turns that are over.
    served: u64,
    dealt: u64,
    /// When the next of them is served, or with none left this turn ends; `None`: it sleeps.
    until: Option<u64>,
    backlog: Cell<Backlog>,
}

impl Server {
    fn open(&self) -> u64 {
        self.taken + self.serving + self.idle
    }

    /// Comes back to its wait as often as it should have by `now`; how many it has served.
    fn advance(&mut self, now: u64, stays: bool) -> u64 {
        let mut served = 0;
        loop {
            match self.until {
                Some(until) if until <= now && self.serving != 0 => {
                    served += 1;
                    self.idle += u64::from(stays);
                    self.serving -= 1;
                    self.until = Some(
                        until
                            + if self.serving == 0 {
                                20 * US
                            } else {
                                self.cost
                            },
                    );
                }
                Some(until) if until <= now => {
                    self.until = None;
                    self.turn(until);
                }
                None if self.queue != 0 => self.turn(now),
                _ => break,
            }
        }
        self.served += served;
        served
    }

    /// One turn: serves what it has taken, takes what is queued.
    fn turn(&mut self, now: u64) {
        if self.taken + self.queue == 0 {
            return;
        }
        self.serving = std::mem::take(&mut self.taken);
        if self.queue != 0 {
            self.taken = self.queue.min(self.at_once);
            self.queue -= self.taken;
        }
        self.until = Some(
            now + if self.serving == 0 {
                20 * US
            } else {
                self.cost
            },
        );
    }
}

struct Servers {
    now: u64,
    all: Vec<Server>,
}

impl Servers {
    fn new(costs: &[u64]) -> Self {
        let now = 1_000 * MS;
        let server = |&cost: &u64| Server {
            cost,
            at_once: u64::MAX,
            backlog: Cell::new(Backlog::default()),
            ..Server::default()
        };
        Self {
            now,
            all: costs.iter().map(server).collect(),
        }
    }

    /// Time goes on; how many were served.
    fn advance(&mut self, by: u64, stays: bool) -> u64 {
        self.now += by;
        let now = self.now;
        self.all
            .iter_mut()
            .map(|server| server.advance(now, stays))
            .sum()
    }

    fn deal(&mut self, rotation: &mut Rotation) -> usize {
        let weights = Weights::equal(self.all.len());
        let slot = rotation.choose(Balance::RoundRobin, &weights, self);
        let slot = slot.unwrap();
        let server = &mut self.all[slot];
        server.backlog.get_mut().note_dealt();
        server.queue += 1;
        server.dealt += 1;
        slot
    }

    /// So many clients, each of which comes again as soon as it is served.
    fn closed_loop(&mut self, rotation: &mut Rotation, clients: u64, time: u64) -> u64 {
        let (mut waiting, mut served) = (clients, 0);
        let end = self.now + time;
        while self.now < end {
            for _ in 0..waiting {
                self.deal(rotation);
            }
            waiting = self.advance(20 * US, false);
            served += waiting;
        }
        served
    }

    fn assert_even(&self, why: &str) {
        let dealt: Vec<u64> = self.all.iter().map(|server| server.dealt).collect();
        let spread = dealt.iter().max().unwrap() - dealt.iter().min().unwrap();
        assert!(spread <= 1, "{why}: {dealt:?}");
    }
}

impl Fleet for Servers {
    fn slots(&self) -> usize {
        self.all.len()
    }
    fn takes(&self, _: usize) -> bool {
        true
    }
    fn queued(&self, slot: usize) -> u64 {
        self.all[slot].queue
    }
    fn open(&self, slot: usize) -> u64 {
        self.all[slot].open()
    }
    fn asleep(&self, slot: usize) -> bool {
        self.all[slot].until.is_none()
    }
    fn lags(&self, _: usize) -> bool {
        false
    }
    fn serves(&self, _: usize) -> bool {
        true
    }
    fn delay(&self, slot: usize) -> u64 {
        let server = &self.all[slot];
        let mut backlog = server.backlog.get();
        let delay = backlog.delay(|| Look {
            now: self.now,
            taken: server.dealt - server.queue,
            queued: server.queue,
        });
        server.backlog.set(backlog);
        delay
    }
}

#[test]
fn one_slow_worker_holds_up_only_a_few() {
    let all = [1, 4];
    for (slow, at_once) in [5 * MS, 20 * MS, 100 * MS]
        .into_iter()
        .flat_map(|slow| all.map(|at_once| (slow, at_once)))
    {
        let fast = 200 * US;
        let mut servers = Servers::new(&[slow, fast, fast, fast]);
        servers.all[0].at_once = at_once;
        let mut rotation = Rotation::default();
        servers.closed_loop(&mut rotation, 64, 3_000 * MS);
        let before = servers.all[0].served;
        let time = 4_000 * MS;
        let served = servers.closed_loop(&mut rotation, 64, time);
        // As if nobody was ever without work.
        let ideal = 3 * time / fast + time / slow;
        let what = format!("{slow} ns, {at_once} at once");
        assert!(served * 100 > ideal * 98, "{what}: {served} of {ideal}");
        // It is slow, not out of work, and nobody waits long for it.
        let slow_ones = servers.all[0].served - before;
        assert!(slow_ones * slow > time * 9 / 10, "{what}: {slow_ones}");
        let behind = servers.all[0].open() + servers.all[0].queue;
        // Those that are taken and served are not seen; in the queue at least three are no backlog.
        let bound = (4 + 2 * at_once) * slow + 400 * MS;
        assert!(behind * slow <= bound, "{what}: {behind}");
    }
}

#[test]
fn who_is_fast_again_has_its_turns_again() {
    let mut servers = Servers::new(&[50 * MS, 200 * US, 200 * US]);
    let mut rotation = Rotation::default();
    servers.all[0].at_once = 1;
    servers.closed_loop(&mut rotation, 32, 5_000 * MS);
    servers.all[0].cost = 200 * US;
    servers.closed_loop(&mut rotation, 32, 1_000 * MS);
    let before = servers.all[0].dealt;
    let served = servers.closed_loop(&mut rotation, 32, 1_000 * MS);
    let share = (servers.all[0].dealt - before) as f64 / served as f64;
    assert!((share - 1.0 / 3.0).abs() < 0.02, "{share}");
}

#[test]
fn turns_are_exact_while_all_keep_up() {
    let mut number = numbers(7);
    for round in 0..200 {
        let slots = 2 + number(7);
        let cost = (50 + number(400)) * US;
        let costs: Vec<u64> = (0..slots).map(|_| cost + number(100 * US)).collect();
        let (mut servers, mut rotation) = (Servers::new(&costs), Rotation::default());
        let stays = number(2) == 0;
        // Some have had long-lived connections for long.
        for server in &mut servers.all {
            server.at_once = [1, 3, u64::MAX][number(3) as usize];
            server.idle = number(3) * number(5_000);
        }
        // At most 80 % busy, in bursts.
        let burst = 1 + number(4 * slots);
        let gap = burst * (cost + 100 * US) * 10 / 8 / slots;
        for _ in 0..400 {
            for _ in 0..burst {
                servers.deal(&mut rotation);
                servers.assert_even(&format!("round {round}"));
            }
            servers.advance(gap / 2 + number(gap), stays);
        }
    }
}

#[test]
fn turns_are_exact_at_saturation_as_long_as_nobody_waits_long() {
    for (slots, clients) in [(2, 64), (4, 64), (4, 200), (16, 200)] {
        let costs = vec![200 * US; slots];
        let (mut servers, mut rotation) = (Servers::new(&costs), Rotation::default());
        servers.closed_loop(&mut rotation, clients, 3_000 * MS);
        servers.assert_even(&format!("{slots} slots, {clients} clients"));
    }
}

#[test]
fn workers_that_are_all_slow_alike_share_alike() {
    let (mut servers, mut rotation) = (Servers::new(&[20 * MS; 4]), Rotation::default());
    servers.closed_loop(&mut rotation, 64, 60_000 * MS);
    let dealt: Vec<u64> = servers.all.iter().map(|server| server.dealt).collect();
    let (most, least) = (dealt.iter().max().unwrap(), dealt.iter().min().unwrap());
    assert!(least * 100 > most * 97, "{dealt:?}");
}

#[test]
fn who_stood_still_for_a_moment_is_given_the_turns_that_it_lost() {
    let mut servers = Servers::new(&[200 * US; 4]);
    let mut rotation = Rotation::default();
    let mut number = numbers(3);
    let mut lost = 0;
    for step in 0..20_000 {
        if step % 4_000 == 1_000 {
            // Longer than a queue takes to be behind, and too short for a delay that is told.
            let stands_until = servers.now + 50 * MS;
            servers.all[1].until = Some(stands_until);
        }
        servers.deal(&mut rotation);
        servers.advance(50 * US + number(50 * US), true);
        let dealt = servers.all.iter().map(|server| server.dealt);
        lost = lost.max(dealt.clone().max().unwrap() - dealt.min().unwrap());
    }
    assert!(lost > 20, "nobody stood still: {lost}");
    servers.assert_even("long after");
}
