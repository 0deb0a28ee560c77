//! Clients whose slot is down, full, stuck, given up, new, or over its bound: who waits, who goes on, who comes back.

use std::net::Ipv4Addr;

use socket2::{Domain, Socket, Type};

use super::*;
use crate::config::StickyDown;

fn by_ip(settings: &mut Settings, down: StickyDown) {
    settings.routing.sticky = Some(Sticky::Ip(Prefixes::default()));
    settings.routing.sticky_down = down;
}

fn spill(slots: usize, steal_after: Duration) -> Bench {
    Bench::new(slots, |settings| {
        by_ip(settings, StickyDown::Spill);
        settings.steal_after = steal_after;
    })
}

fn hold(slots: usize, max_held: usize) -> Bench {
    Bench::new(slots, |settings| {
        by_ip(settings, StickyDown::Hold);
        settings.max_held = max_held;
    })
}

fn crew(bench: &Bench, slots: u16) -> Vec<Worker> {
    (0..slots)
        .map(|slot| bench.hire(slot, 10 + u64::from(slot)))
        .collect()
}

fn dealt(now: &Snapshot) -> Vec<u64> {
    now.slots.iter().map(|slot| slot.dealt).collect()
}

impl Bench {
    /// One that comes from this address.
    fn connect_from(&self, from: Ipv4Addr) -> TcpStream {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let from: std::net::SocketAddr = (from, 0).into();
        socket.bind(&from.into()).unwrap();
        socket.connect(&self.at.into()).unwrap();
        socket.into()
    }

    /// Which slot is 127.0.0.1's, and an address whose slot is another.
    fn homes(&self, workers: &[Worker]) -> (usize, Ipv4Addr) {
        let mut homes = (1..250).map(|last| {
            let from = Ipv4Addr::new(127, 0, 0, last);
            let _client = self.connect_from(from);
            self.wait_for("in its slot", |now| {
                now.slots.iter().any(|slot| slot.queued != 0)
            });
            let home = workers.iter().position(|worker| !worker.take().is_empty());
            (home.unwrap(), from)
        });
        let (home, _) = homes.next().unwrap();
        let (_, other) = homes.find(|(slot, _)| *slot != home).unwrap();
        (home, other)
    }

    fn steal_after(&self, steal_after: Duration) {
        self.send(Command::SetLimits {
            max_held: 100,
            steal_after,
            room: None,
        });
    }

    #[track_caller]
    fn in_hand(&self, held: u64) -> Snapshot {
        self.wait_for("so many in hand", |now| now.held == held)
    }

    #[track_caller]
    fn queued(&self, slot: usize, queued: u64) -> Snapshot {
        self.wait_for("so many in the slot", |now| {
            now.slots[slot].queued == queued
        })
    }
}

#[test]
fn only_the_first_clients_of_a_slot_that_is_down_wait() {
    const WAIT: Duration = Duration::from_secs(2);
    let bench = spill(3, WAIT);
    let workers = crew(&bench, 3);
    let (home, _) = bench.homes(&workers);
    let since = Instant::now();
    bench.send(Command::Forget(workers[home].id));
    let _first = bench.connect(2);
    bench.in_hand(2);
    let now = bench.in_hand(0);
    assert!(since.elapsed() >= WAIT, "after {:?}", since.elapsed());
    let next = now.slots.iter().position(|slot| slot.queued == 2).unwrap();
    let at = Instant::now();
    let _more: Vec<_> = (0..10).flat_map(|_| bench.connect(1)).collect();
    bench.queued(next, 12);
    assert!(at.elapsed() < WAIT, "it was known to be down");
    let _heir = bench.hire(home as u16, 20);
    let _back = bench.connect(3);
    bench.queued(home, 3);
}

#[test]
fn held_clients_wait_for_their_own_slot_while_others_go_on() {
    let bench = hold(3, 100);
    let workers = crew(&bench, 3);
    let (home, other) = bench.homes(&workers);
    bench.send(Command::Forget(workers[home].id));
    let _waiting = bench.connect(20);
    bench.in_hand(20);
    let before = bench.snapshot();
    let _others: Vec<_> = (0..10).map(|_| bench.connect_from(other)).collect();
    bench.wait_for("dealt", |now| {
        now.slots.iter().map(|slot| slot.queued).sum::<u64>() == 10
    });
    workers.iter().for_each(|worker| drop(worker.take()));
    // Longer than a spill would take.
    bench.steal_after(Duration::from_millis(20));
    let deadline = Instant::now() + Duration::from_millis(60);
    while Instant::now() < deadline {
        assert_eq!(bench.snapshot().held, 20);
    }
    bench.steal_after(Duration::from_secs(60));
    let heir = bench.hire(home as u16, 20);
    let now = bench.in_hand(0);
    assert_eq!(dealt(&now)[home], dealt(&before)[home] + 20);
    let numbers = heir.numbers();
    assert!(numbers.is_sorted(), "{numbers:?}");
}

#[test]
fn when_there_is_no_room_the_oldest_go_elsewhere_and_nobody_is_starved() {
    let bench = hold(2, 6);
    let workers = crew(&bench, 2);
    let (home, other) = bench.homes(&workers);
    let next = 1 - home;
    bench.send(Command::Forget(workers[home].id));
    let first = bench.snapshot().accepted[0].1 + 1;
    let _waiting = bench.connect(20);
    bench.queued(next, 15);
    bench.in_hand(5);
    assert_eq!(
        workers[next].numbers(),
        (first..first + 15).collect::<Vec<_>>()
    );
    // Whoever comes is accepted.
    let _others: Vec<_> = (0..30).map(|_| bench.connect_from(other)).collect();
    bench.queued(next, 30);
    bench.in_hand(5);
    let heir = bench.hire(home as u16, 20);
    bench.in_hand(0);
    assert_eq!(heir.numbers(), (first + 15..first + 20).collect::<Vec<_>>());
}

#[test]
fn what_a_dead_worker_left_stays_in_its_channel_rather_than_going_elsewhere() {
    let bench = hold(2, 6);
    let workers = crew(&bench, 2);
    let (home, other) = bench.homes(&workers);
    let _queued = bench.connect(40);
    bench.queued(home, 40);
    bench.send(Command::Forget(workers[home].id));
    bench.in_hand(5);
    let _others: Vec<_> = (0..20).map(|_| bench.connect_from(other)).collect();
    bench.queued(1 - home, 20);
    let heir = bench.hire(home as u16, 20);
    bench.queued(home, 40);
    assert!(heir.numbers().is_sorted());
}

#[test]
fn those_held_for_one_slot_do_not_keep_others_in_the_channels_of_former_workers() {
    let bench = hold(3, 6);
    let workers = crew(&bench, 3);
    let (home, other) = bench.homes(&workers);
    let there = bench.connect_from(other);
    let now = bench.wait_for("queued", |now| {
        now.slots.iter().any(|slot| slot.queued != 0)
    });
    let at = now.slots.iter().position(|slot| slot.queued != 0).unwrap();
    let _there: Vec<_> = (0..11).map(|_| bench.connect_from(other)).collect();
    bench.queued(at, 12);
    drop(workers[at].take());
    let _queued: Vec<_> = (0..12).map(|_| bench.connect_from(other)).collect();
    bench.queued(at, 12);
    drop(there);
    bench.send(Command::Forget(workers[home].id));
    let _waiting = bench.connect(20);
    bench.in_hand(5);
    // A reload: the next worker is there before the former one goes.
    let heir = bench.hire(at as u16, 30);
    bench.evict(&workers[at]);
    let gone = |report| {
        matches!(report, Report::Evicted { worker, .. } if worker == workers[at].id).then_some(())
    };
    bench.report(gone);
    assert_eq!(heir.take().len(), 12);
    bench.in_hand(5);
    // One that is given up.
    let _more: Vec<_> = (0..12).map(|_| bench.connect_from(other)).collect();
    bench.queued(at, 12);
    bench.send(Command::Forget(heir.id));
    bench.send(Command::Abandon(SlotId(at as u16)));
    bench.wait_for("read back", |now| {
        now.slots[at].queued == 0 && now.slots[at].read_back == 24
    });
}

#[test]
fn a_stuck_workers_clients_are_held_for_it_or_go_on_at_once() {
    for down in [StickyDown::Hold, StickyDown::Spill] {
        let bench = Bench::new(2, |settings| by_ip(settings, down));
        let workers = crew(&bench, 2);
        let (home, _) = bench.homes(&workers);
        bench.steal_after(Duration::from_millis(50));
        let _clients = bench.connect(10);
        bench.report(|report| matches!(report, Report::Stolen { .. }).then_some(()));
        if down == StickyDown::Spill {
            bench.queued(1 - home, 10);
            continue;
        }
        assert_eq!(bench.snapshot().slots[1 - home].queued, 0);
        // It is tried with one of them, although that was read back; and gets the others when it moves.
        let deadline = Instant::now() + PATIENCE;
        let mut taken = 0;
        while taken < 10 {
            taken += workers[home].take().len();
            assert!(Instant::now() < deadline, "{taken} of 10");
            std::thread::yield_now();
        }
    }
}

#[test]
fn nobody_is_held_for_a_slot_that_was_given_up_or_is_new() {
    let bench = hold(4, 100);
    let workers = crew(&bench, 4);
    let (home, _) = bench.homes(&workers);
    bench.send(Command::Forget(workers[home].id));
    let _waiting = bench.connect(5);
    bench.in_hand(5);
    bench.send(Command::Abandon(SlotId(home as u16)));
    let now = bench.in_hand(0);
    assert_eq!(now.slots.iter().map(|slot| slot.queued).sum::<u64>(), 5);
    // It has a worker again, and is waited for again.
    let heir = bench.hire(home as u16, 20);
    let _back = bench.connect(2);
    bench.queued(home, 2);
    bench.send(Command::Forget(heir.id));
    bench.in_hand(2);
    let _last = bench.hire(home as u16, 21);
    bench.in_hand(0);
    // Slots are added, without workers yet: a quarter of all clients would have to wait.
    bench.send(Command::Resize(40));
    let _all: Vec<_> = (1..60)
        .map(|last| bench.connect_from(Ipv4Addr::new(127, 0, 0, last)))
        .collect();
    bench.wait_for("all dealt", |now| now.held == 0);
}

#[test]
fn a_slot_whose_worker_listens_elsewhere_only_holds_nobody_here() {
    const OTHER: ListenerId = ListenerId(1);
    let bench = hold(2, 100);
    let at = bench.listen(OTHER);
    let workers = crew(&bench, 2);
    let (home, _) = bench.homes(&workers);
    let next = 1 - home;
    let _here = bench.hire_on(OTHER, next as u16, workers[next].id.0);
    bench.steal_after(Duration::from_millis(20));
    let _clients: Vec<_> = (0..10).map(|_| TcpStream::connect(at).unwrap()).collect();
    bench.queued(next, 10);
}

#[test]
fn a_change_of_the_key_lets_go_whom_it_does_not_hold() {
    let bench = hold(3, 100);
    let workers = crew(&bench, 3);
    let (home, _) = bench.homes(&workers);
    bench.send(Command::Forget(workers[home].id));
    bench.steal_after(Duration::from_millis(20));
    let _waiting = bench.connect(6);
    bench.in_hand(6);
    let routing = |down| Routing {
        sticky: Some(Sticky::Ip(Prefixes::default())),
        sticky_down: down,
        ..Routing::default()
    };
    bench.send(Command::Route(routing(StickyDown::Spill)));
    let deadline = Instant::now() + PATIENCE;
    let mut taken = 0;
    while taken < 6 {
        let others = workers.iter().map(|worker| worker.take().len());
        taken += others.sum::<usize>();
        assert!(Instant::now() < deadline, "{taken} of 6");
        std::thread::yield_now();
    }
    bench.send(Command::Route(routing(StickyDown::Hold)));
    let _again = bench.connect(4);
    bench.in_hand(4);
    bench.send(Command::Route(Routing::default()));
    bench.in_hand(0);
}

#[test]
fn at_the_end_nobody_is_held() {
    let bench = hold(2, 100);
    let workers = crew(&bench, 2);
    let (home, _) = bench.homes(&workers);
    bench.send(Command::Forget(workers[home].id));
    let _waiting = bench.connect(6);
    bench.in_hand(6);
    bench.send(Command::Finish);
    bench.queued(1 - home, 6);
    assert_eq!(workers[1 - home].take().len(), 6);
    bench.report(|report| matches!(report, Report::Dry).then_some(()));
}

#[test]
fn an_upgrade_forgets_neither_who_waits_nor_since_when_a_place_is_empty() {
    let mut bench = hold(2, 100);
    let workers = crew(&bench, 2);
    let (home, _) = bench.homes(&workers);
    bench.send(Command::Forget(workers[home].id));
    let _waiting = bench.connect(3);
    bench.in_hand(3);
    bench.freeze_and_thaw(&[&workers[1 - home]]);
    let _more = bench.connect(2);
    bench.in_hand(5);
    bench.send(Command::Abandon(SlotId(home as u16)));
    bench.queued(1 - home, 5);
    bench.freeze_and_thaw(&[&workers[1 - home]]);
    let _still_more = bench.connect(2);
    bench.queued(1 - home, 7);
}

#[test]
fn a_slot_by_its_own_word_is_the_slot_whatever_the_address() {
    let bench = Bench::new(4, |settings| {
        settings.routing.sticky = Some(Sticky::Route("sid".into()));
        settings.routing.sticky_bound = Some("1.25".parse().unwrap());
    });
    let workers = crew(&bench, 4);
    let ask = |slot: usize| {
        let mut client = bench.connect(1).remove(0);
        write!(client, "GET /?sid=abc.{slot} HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        client
    };
    // The bound is not for it: it has nowhere else to go.
    let _clients: Vec<_> = (0..20).map(|_| ask(2)).collect();
    bench.queued(2, 20);
    workers[2].take();
    bench.send(Command::Route(Routing {
        sticky: Some(Sticky::Route("sid".into())),
        ..Routing::default()
    }));
    // One that is drained or never was is none: its client goes by the address, as one does that waits too long.
    let slot = SlotId(2);
    bench.send(Command::Hold { slot, held: true });
    let _drained: Vec<_> = (0..3).map(|_| ask(2)).collect();
    let now = bench.wait_for("elsewhere", |now| {
        now.slots.iter().any(|slot| slot.queued == 3)
    });
    let by_address = now.slots.iter().position(|slot| slot.queued == 3).unwrap();
    let _never: Vec<_> = (0..3).map(|_| ask(9)).collect();
    bench.queued(by_address, 6);
    bench.send(Command::Hold { slot, held: false });
    let _back = ask(2);
    bench.queued(2, 1);
    bench.steal_after(Duration::from_millis(50));
    bench.send(Command::Forget(workers[2].id));
    let _down = ask(2);
    bench.wait_for("both elsewhere", |now| {
        now.held == 0 && now.slots[2].queued == 0
    });
}

#[test]
fn no_slot_has_more_than_the_bound_and_a_client_comes_back() {
    let bench = Bench::new(4, |settings| {
        by_ip(settings, StickyDown::Spill);
        settings.routing.sticky_bound = Some("1.25".parse().unwrap());
    });
    let workers = crew(&bench, 4);
    let _clients = bench.connect(80);
    let now = bench.wait_until_accepted(80);
    let mut queued: Vec<u64> = now.slots.iter().map(|slot| slot.queued).collect();
    queued.sort_unstable();
    assert_eq!(queued, [5, 25, 25, 25]);
    workers.iter().for_each(|worker| drop(worker.take()));
    // All are closed, as the scoreboards say.
    for worker in &workers {
        let opened = worker.board.opened.load(Relaxed);
        worker.board.closed.store(opened, Relaxed);
    }
    let _one = bench.connect(1);
    let now = bench.wait_until_accepted(81);
    let again = now.slots.iter().position(|slot| slot.queued == 1).unwrap();
    assert!(now.slots[again].dealt == 26, "{now:?}");
}
