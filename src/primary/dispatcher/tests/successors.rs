//! Two workers of one slot: the newer has the place, whatever is said of the other.

use super::*;

fn evicted(bench: &Bench) -> (WorkerId, u64) {
    bench.report(|report| match report {
        Report::Evicted { worker, received } => Some((worker, received)),
        _ => None,
    })
}

#[test]
fn a_successor_takes_over_and_gets_what_the_former_had_queued() {
    let bench = Bench::new(1, |_| {});
    let old = bench.hire(0, 10);
    let _clients = bench.connect(10);
    bench.wait_until_accepted(10);
    assert_eq!(old.take().len(), 10);
    let _queued = bench.connect(6);
    bench.wait_until_accepted(16);
    let new = bench.hire(0, 11);
    let _after = bench.connect(2);
    bench.wait_until_accepted(18);
    bench.evict(&old);
    assert_eq!(evicted(&bench), (old.id, 10));
    let _more = bench.connect(3);
    bench.wait_until_accepted(21);
    let mut numbers = new.numbers();
    numbers.sort_unstable();
    assert_eq!(numbers, (11..=21).collect::<Vec<_>>());
    assert_eq!(old.take().len(), 0);
}

#[test]
fn the_former_does_not_come_back() {
    let bench = Bench::new(1, |_| {});
    let (old, new) = (bench.hire(0, 10), bench.hire(0, 11));
    let resume = || {
        bench.send(Command::Resume {
            worker: old.id,
            listener: LISTENER,
        });
    };
    // Its server closes its listener and listens again: the newer one keeps the place.
    bench.send(Command::Evict {
        worker: old.id,
        listener: Some(LISTENER),
    });
    resume();
    let _clients = bench.connect(3);
    bench.wait_until_accepted(3);
    assert_eq!((old.take().len(), new.take().len()), (0, 3));
    // But it is there if the newer one dies, until it is sent away.
    bench.send(Command::Forget(new.id));
    let _more = bench.connect(3);
    bench.wait_until_accepted(6);
    assert_eq!(old.take().len(), 3);
    bench.evict(&old);
    assert_eq!(evicted(&bench), (old.id, 6 - 3));
    resume();
    let _held = bench.connect(2);
    bench.wait_for("held", |now| now.held == 2);
    let third = bench.hire(0, 12);
    bench.wait_for("dealt", |now| now.held == 0);
    assert_eq!(third.take().len(), 2);
}

#[test]
fn one_that_never_listened_is_evicted_too() {
    let bench = Bench::new(1, |_| {});
    bench.send(Command::Evict {
        worker: WorkerId(99),
        listener: None,
    });
    assert_eq!(evicted(&bench), (WorkerId(99), 0));
}

#[test]
fn a_channel_shut_down_with_something_queued_is_found_though_nobody_comes() {
    use nix::sys::socket::{Shutdown, shutdown};
    use std::os::fd::AsRawFd;
    let bench = Bench::new(2, |_| {});
    let shut = bench.hire(0, 10);
    let _clients = bench.connect(5);
    bench.wait_until_accepted(5);
    let other = bench.hire(1, 11);
    shutdown(shut.end.as_raw_fd(), Shutdown::Both).unwrap();
    let error = bench.report(|report| match report {
        Report::Broken { worker, error, .. } => Some((worker, error.kind())),
        _ => None,
    });
    assert_eq!(error, (shut.id, std::io::ErrorKind::BrokenPipe));
    bench.wait_for("all with the other", |now| now.slots[1].queued == 5);
    assert_eq!(other.take().len(), 5);
}
