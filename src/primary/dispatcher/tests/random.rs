//! Everything at once, from a seed: whatever is commanded in whatever order, each connection arrives exactly once
//! and the ledger adds up at every moment.

use super::super::probe::is_probe;
use super::*;
use crate::config::StickyDown;

const SLOTS: u64 = 5;
const STEPS: usize = 150;

struct World {
    bench: Bench,
    /// Those that live, and may be commanded about.
    workers: Vec<Worker>,
    clients: Vec<TcpStream>,
    taken: Vec<u64>,
    /// What clients have still to say, by their number.
    owed: Vec<(usize, Vec<u8>)>,
    /// Open until the end: to close what was not read would be a reset.
    served: Vec<TcpStream>,
    hired: u64,
    peeking: bool,
    seed: u64,
}

impl World {
    fn new(seed: u64, peeking: bool) -> Self {
        let bench = Bench::new(3, |settings| {
            (settings.max_held, settings.queue_cap) = (8, 6);
            settings.steal_after = Duration::from_millis(10);
        });
        Self {
            bench,
            workers: Vec::new(),
            clients: Vec::new(),
            taken: Vec::new(),
            owed: Vec::new(),
            served: Vec::new(),
            hired: 0,
            peeking,
            seed,
        }
    }

    /// SplitMix64.
    fn number(&mut self, bound: u64) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.seed ^ (self.seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (x ^ (x >> 27)) % bound
    }

    fn slot(&mut self) -> SlotId {
        SlotId(self.number(SLOTS) as u16)
    }

    fn anybody(&mut self) -> Option<usize> {
        let count = self.workers.len() as u64;
        (count != 0).then(|| self.number(count) as usize)
    }

    fn hire(&mut self, slot: u16) {
        self.hired += 1;
        self.workers.push(self.bench.hire(slot, self.hired));
    }

    fn take(&mut self, index: usize) {
        for (record, mut stream) in self.workers[index].take() {
            stream.write_all(b"x").unwrap();
            if !is_probe(&record) {
                self.taken.push(record.connection);
                self.served.push(stream);
            }
        }
    }

    fn step(&mut self) {
        match self.number(22) {
            0..5 if self.clients.len() < self.taken.len() + 100 => {
                let count = 1 + self.number(8) as usize;
                let first = self.clients.len();
                self.clients.extend(self.bench.connect(count));
                for client in first..first + count {
                    let key = self.number(6);
                    let request = format!("GET /?k=.{key} HTTP/1.1\r\ncookie: k={key}\r\n\r\n");
                    self.owed.push((client, request.into_bytes()));
                    self.say_more(self.owed.len() - 1);
                }
            }
            5..8 => {
                let slot = self.slot().0;
                self.hire(slot);
            }
            8 => {
                let mut all = Vec::new();
                std::mem::swap(&mut all, &mut self.workers);
                self.bench.freeze_and_thaw(&all.iter().collect::<Vec<_>>());
                self.workers = all;
            }
            9 => {
                let slots = 1 + self.number(SLOTS) as usize;
                self.bench.send(Command::Resize(slots));
            }
            10 => {
                let (slot, held) = (self.slot(), self.number(2) == 0);
                self.bench.send(Command::Hold { slot, held });
            }
            11 => {
                let (slot, weight) = (self.slot(), self.number(4) as u16);
                self.bench.send(Command::Weight { slot, weight });
            }
            12 => self.change_policy(),
            13 => {
                let slot = self.slot();
                self.bench.send(Command::Abandon(slot));
            }
            14 | 15 if !self.owed.is_empty() => {
                let one = self.number(self.owed.len() as u64) as usize;
                self.say_more(one);
            }
            _ => {
                if let Some(index) = self.anybody() {
                    self.command_about(index);
                }
            }
        }
    }

    fn change_policy(&mut self) {
        let all = [
            Balance::RoundRobin,
            Balance::LeastConnections,
            Balance::Idle,
        ];
        let balance = all[self.number(3) as usize];
        let keys = [
            None,
            Some(Sticky::Ip(Prefixes::default())),
            Some(Sticky::Cookie("k".into())),
            Some(Sticky::Route("k".into())),
        ];
        let downs = [StickyDown::Spill, StickyDown::Hold];
        let bound = (self.number(2) == 0).then(|| "1.01".parse().unwrap());
        let sticky = keys[self.number(if self.peeking { 4 } else { 2 }) as usize].clone();
        let header_complete = self.peeking && self.number(3) == 0;
        let mut routing = Routing {
            balance,
            sticky,
            sticky_down: downs[self.number(2) as usize],
            sticky_bound: bound,
            header_complete,
            ..Routing::default()
        };
        // Nobody is to be closed.
        if self.peeking && !header_complete {
            routing.peek_timeout = Duration::from_millis(self.number(30));
            routing.max_peeked = 1 + self.number(12) as usize;
        }
        self.bench.send(Command::Route(routing));
    }

    /// Some of what a client owes, or all of it.
    fn say_more(&mut self, index: usize) {
        let (client, mut bytes) = self.owed.swap_remove(index);
        let all = self.number(3) == 0;
        let some = self.number(bytes.len() as u64 + 1) as usize;
        let rest = bytes.split_off(if all { bytes.len() } else { some });
        self.clients[client].write_all(&bytes).unwrap();
        if !rest.is_empty() {
            self.owed.push((client, rest));
        }
    }

    fn command_about(&mut self, index: usize) {
        let worker = self.workers[index].id;
        let command = match self.number(8) {
            0 => {
                self.workers.swap_remove(index);
                Command::Forget(worker)
            }
            1 => Command::Evict {
                worker,
                listener: None,
            },
            2 => Command::Evict {
                worker,
                listener: Some(LISTENER),
            },
            3 => Command::Resume {
                worker,
                listener: LISTENER,
            },
            4 => {
                drop(super::probes::probe(&self.bench, worker));
                return;
            }
            _ => return self.take(index),
        };
        self.bench.send(command);
    }

    /// Somebody takes everything after all.
    fn finish(mut self) {
        self.bench.send(Command::Resize(2));
        for slot in [SlotId(0), SlotId(1)] {
            self.bench.send(Command::Hold { slot, held: false });
        }
        for worker in std::mem::take(&mut self.workers) {
            self.bench.send(Command::Forget(worker.id));
        }
        for (client, rest) in std::mem::take(&mut self.owed) {
            self.clients[client].write_all(&rest).unwrap();
        }
        self.hire(0);
        self.hire(1);
        let deadline = Instant::now() + PATIENCE;
        while self.taken.len() < self.clients.len() {
            let now = self.bench.snapshot();
            assert!(
                Instant::now() < deadline,
                "{} of {}, now {now:?}",
                self.taken.len(),
                self.clients.len()
            );
            (0..2).for_each(|index| self.take(index));
        }
        self.taken.sort_unstable();
        self.taken.dedup();
        assert_eq!(self.taken.len(), self.clients.len(), "each exactly once");
        let now = self.bench.wait_for("nothing left", |now| now.held == 0);
        assert_eq!((now.closed_by_policy, now.client_gone), (0, 0));
        for mut client in self.clients {
            client.read_exact(&mut [0]).unwrap();
        }
    }
}

fn walk(seed: u64, peeking: bool) {
    let mut world = World::new(seed, peeking);
    for _ in 0..STEPS {
        world.step();
        world.bench.snapshot();
    }
    world.finish();
}

#[test]
fn whatever_is_commanded_no_connection_is_lost_or_comes_twice() {
    (0..12).for_each(|seed| walk(seed, false));
}

#[test]
fn nor_is_one_whose_first_bytes_are_waited_for() {
    (100..124).for_each(|seed| walk(seed, true));
}
