//! Who gets what, and what becomes of it when that one does not take it.

use super::*;
use crate::policy::rotation::SLACK;

#[test]
fn deals_in_exact_turn_and_keeps_no_copy() {
    let bench = Bench::new(3, |_| {});
    let workers = [bench.hire(0, 10), bench.hire(1, 11), bench.hire(2, 12)];
    let (mut clients, mut taken) = (Vec::new(), [const { Vec::new() }; 3]);
    let deadline = Instant::now() + PATIENCE;
    while clients.len() < 100 {
        clients.extend(bench.connect(1));
        // Taken at once: who leaves it alone, since the test has no core, loses his turn.
        while taken.iter().map(Vec::len).sum::<usize>() < clients.len() {
            let workers = workers.iter().zip(&mut taken);
            workers.for_each(|(worker, taken)| taken.extend(worker.take()));
            assert!(Instant::now() < deadline, "{} came", clients.len());
            std::thread::yield_now();
        }
    }
    bench.wait_until_accepted(100);
    assert_eq!(taken.each_ref().map(Vec::len), [34, 33, 33]);
    let peers: Vec<u16> = taken
        .iter()
        .flatten()
        .map(|(record, _)| record.peer.port)
        .collect();
    assert!(
        clients
            .iter()
            .all(|client| peers.contains(&client.local_addr().unwrap().port()))
    );
    drop(taken);
    let mut end = [0];
    assert_eq!(
        clients[0].read(&mut end).unwrap(),
        0,
        "the worker's close reaches the client"
    );
}

#[test]
fn what_a_dead_worker_had_not_taken_goes_to_the_living() {
    let bench = Bench::new(2, |_| {});
    let (dead, alive) = (bench.hire(0, 10), bench.hire(1, 11));
    let _clients = bench.connect(40);
    bench.wait_until_accepted(40);
    bench.send(Command::Forget(dead.id));
    bench.wait_for("all dealt to the living", |now| now.slots[1].queued == 40);
    let mut numbers: Vec<u64> = alive.take().iter().map(|(r, _)| r.connection).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=40).collect::<Vec<_>>(), "each exactly once");
    assert_eq!(bench.snapshot().slots[0].read_back, 20);
    assert!(matches!(
        receive(dead.end.as_fd(), &mut [0; 8], false),
        Ok(Received::Closed)
    ));
}

#[test]
fn holds_while_nobody_is_there_and_leaves_the_rest_in_the_backlog() {
    let bench = Bench::new(1, |settings| settings.max_held = 10);
    let _clients = bench.connect(30);
    bench.wait_for("ten held", |now| now.held == 10);
    assert_eq!(bench.snapshot().accepted[0].1, 10);
    let worker = bench.hire(0, 10);
    bench.wait_for("all dealt", |now| {
        now.held == 0 && now.slots[0].queued == 30
    });
    assert_eq!(worker.take().len(), 30);
}

#[test]
fn more_than_fits_anywhere_comes_back_in_order_when_there_is_room() {
    let bench = Bench::new(1, |settings| {
        (settings.max_held, settings.queue_cap) = (5, 128)
    });
    let first = bench.hire(0, 10);
    let _clients = bench.connect(100);
    bench.wait_until_accepted(100);
    bench.send(Command::Forget(first.id));
    bench.wait_for("five in hand", |now| now.held == 5);
    let second = bench.hire(0, 11);
    bench.wait_for("all dealt again", |now| {
        now.held == 0 && now.slots[0].queued == 100
    });
    let numbers: Vec<u64> = second.take().iter().map(|(r, _)| r.connection).collect();
    assert_eq!(numbers, (1..=100).collect::<Vec<_>>());
}

#[test]
fn a_worker_that_does_not_move_is_relieved_and_comes_back() {
    let bench = Bench::new(2, |settings| {
        // With less, a test that has no core for a moment would look like a second worker that does not move.
        settings.steal_after = Duration::from_millis(500);
    });
    let (stopped, alive) = (bench.hire(0, 10), bench.hire(1, 11));
    let _clients = bench.connect(20);
    bench.wait_until_accepted(20);
    let deadline = Instant::now() + PATIENCE;
    let mut served = 0;
    while served < 20 {
        served += alive.take().len();
        assert!(
            Instant::now() < deadline,
            "{served} of 20 came to the one that moves"
        );
        std::thread::yield_now();
    }
    let stolen: u64 = std::iter::from_fn(|| bench.reports.try_recv().ok())
        .map(|report| match report {
            Report::Stolen { worker, count } if worker == stopped.id => count,
            other => panic!("{other:?}"),
        })
        .sum();
    assert!(stolen >= 10, "{stolen} stolen");
    // It takes a connection that it is tried with: it is back in turn.
    let mut back = 0;
    while back == 0 {
        let _client = bench.connect(1);
        back += stopped.take().len();
        alive.take();
        assert!(Instant::now() < deadline, "was never tried again");
    }
}

#[test]
fn a_full_channel_loses_nothing() {
    let bench = Bench::new(1, |settings| settings.queue_cap = 8);
    let worker = bench.hire(0, 10);
    let mut clients = bench.connect(50);
    bench.wait_for("eight queued", |now| {
        now.slots[0].queued == 8 && now.held == 42
    });
    let deadline = Instant::now() + PATIENCE;
    let mut numbers = Vec::new();
    while numbers.len() < 50 {
        for (record, mut stream) in worker.take() {
            stream.write_all(b"x").unwrap();
            numbers.push(record.connection);
        }
        assert!(Instant::now() < deadline, "{numbers:?}");
        std::thread::yield_now();
    }
    assert_eq!(numbers, (1..=50).collect::<Vec<_>>());
    let mut answer = [0];
    clients
        .iter_mut()
        .for_each(|client| client.read_exact(&mut answer).unwrap());
}

#[test]
fn a_channel_that_was_shut_down_is_reported_and_read_back() {
    use nix::sys::socket::{Shutdown, shutdown};
    use std::os::fd::AsRawFd;
    let bench = Bench::new(2, |_| {});
    let (broken, other) = (bench.hire(0, 10), bench.hire(1, 11));
    let _clients = bench.connect(10);
    bench.wait_until_accepted(10);
    shutdown(broken.end.as_raw_fd(), Shutdown::Both).unwrap();
    let _more = bench.connect(2);
    let report = bench.reports.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(report, Report::Broken { worker, .. } if worker == broken.id));
    bench.send(Command::Evict {
        worker: broken.id,
        listener: None,
    });
    bench.wait_for("all with the other", |now| now.slots[1].queued == 12);
    assert_eq!(other.take().len(), 12);
}

#[test]
fn a_client_keeps_its_slot_and_spills_only_while_it_is_down() {
    let bench = Bench::new(4, |settings| {
        settings.routing.sticky = Some(Sticky::Ip(Prefixes::default()));
        settings.steal_after = Duration::from_secs(1);
    });
    let workers: Vec<Worker> = (0..4)
        .map(|slot| bench.hire(slot, 10 + u64::from(slot)))
        .collect();
    let _clients = bench.connect(20);
    let now = bench.wait_for("dealt", |now| {
        now.slots.iter().any(|slot| slot.queued == 20)
    });
    let home = now.slots.iter().position(|slot| slot.queued == 20).unwrap();
    workers[home].take();
    bench.send(Command::Forget(workers[home].id));
    let _more = bench.connect(5);
    bench.wait_for("spilled", |now| {
        now.held == 0 && now.slots.iter().any(|s| s.queued == 5)
    });
    let _heir = bench.hire(home as u16, 20);
    let _back = bench.connect(3);
    bench.wait_for("home again", |now| now.slots[home].queued == 3);
}

#[test]
fn finishing_deals_the_backlog_and_says_when_all_is_taken() {
    let bench = Bench::new(1, |settings| settings.max_held = 1);
    let _clients = bench.connect(20);
    bench.wait_for("one held", |now| now.held == 1);
    bench.send(Command::Finish);
    let worker = bench.hire(0, 10);
    bench.wait_for("dealt", |now| now.slots[0].queued == 20);
    assert!(bench.reports.is_empty());
    assert_eq!(worker.take().len(), 20);
    assert!(matches!(
        bench.reports.recv_timeout(PATIENCE),
        Ok(Report::Dry)
    ));
    assert!(
        TcpStream::connect(bench.at).is_err(),
        "the listener is closed"
    );
}

#[test]
fn a_lying_scoreboard_misleads_nobody_but_its_own_worker() {
    let bench = Bench::new(2, |_| {});
    let (liar, honest) = (bench.hire(0, 10), bench.hire(1, 11));
    liar.board.taken[0].store(u64::MAX, Relaxed);
    liar.board.closed.store(u64::MAX, Relaxed);
    // More than these, and the honest one, who takes none here, would be behind one who says that it has.
    let each = SLACK as usize;
    let _clients = bench.connect(2 * each);
    bench.wait_until_accepted(2 * SLACK);
    assert_eq!((liar.take().len(), honest.take().len()), (each, each));
}
