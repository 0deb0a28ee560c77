//! Connections of the primary's own: to one worker, in no ledger.

use super::*;

/// The client's end of a probe of this worker.
pub(super) fn probe(bench: &Bench, worker: WorkerId) -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (theirs, _) = listener.accept().unwrap();
    bench.send(Command::Probe {
        worker,
        listener: None,
        socket: theirs.into(),
        peer: Address::default(),
        local: Address::default(),
    });
    ours
}

fn returned(bench: &Bench) -> WorkerId {
    bench.report(|report| match report {
        Report::ProbeReturned(worker) => Some(worker),
        _ => None,
    })
}

#[test]
fn it_comes_to_its_worker_and_is_in_no_ledger() {
    let bench = Bench::new(2, |_| {});
    let (probed, other) = (bench.hire(0, 10), bench.hire(1, 11));
    probed.board.nonblocking.store(1, Relaxed);
    let mut ours = probe(&bench, probed.id);
    let _clients = bench.connect(4);
    let now = bench.wait_until_accepted(4);
    assert_eq!((now.slots[0].queued, now.slots[1].queued), (3, 2));
    assert_eq!((now.slots[0].dealt, now.slots[1].dealt), (2, 2));
    assert_eq!(other.take().len(), 2);
    let (record, mut stream) = probed.take().swap_remove(0);
    assert!(record.nonblocking);
    stream.write_all(b"well").unwrap();
    let mut answer = [0; 4];
    ours.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"well");
    bench.wait_for("taken", |now| now.slots[0].taken() == 2);
    bench.evict(&probed);
    let received = bench.report(|report| match report {
        Report::Evicted { received, .. } => Some(received),
        _ => None,
    });
    assert_eq!(received, probed.board.taken_in_all());
    bench.send(Command::Forget(probed.id));
    assert_eq!(bench.snapshot().slots[0].taken(), 2);
}

#[test]
fn it_goes_to_nobody_else() {
    let bench = Bench::new(2, |_| {});
    let (probed, other) = (bench.hire(0, 10), bench.hire(1, 11));
    let mut ours = probe(&bench, probed.id);
    bench.wait_for("queued", |now| now.slots[0].queued == 1);
    bench.evict(&probed);
    assert_eq!(returned(&bench), probed.id);
    assert_eq!(ours.read(&mut [0]).unwrap(), 0, "closed");
    let mut nobody = probe(&bench, probed.id);
    assert_eq!(returned(&bench), probed.id);
    assert_eq!(nobody.read(&mut [0]).unwrap(), 0, "closed");
    bench.snapshot();
    assert_eq!(other.take().len(), 0);
}

#[test]
fn it_waits_in_the_queue_of_a_worker_that_does_not_move() {
    let bench = Bench::new(2, |settings| {
        // With less, a test that has no core for a moment would look like a second worker that does not move.
        settings.steal_after = Duration::from_millis(500);
    });
    let (stopped, other) = (bench.hire(0, 10), bench.hire(1, 11));
    let _ours = probe(&bench, stopped.id);
    let _clients = bench.connect(6);
    let deadline = Instant::now() + PATIENCE;
    let mut served = 0;
    while served < 6 {
        served += other.take().len();
        assert!(Instant::now() < deadline, "{served} of 6");
        std::thread::yield_now();
    }
    let now = bench.snapshot();
    assert_eq!((now.slots[0].dealt, now.slots[0].queued), (0, 1));
    assert!(
        std::iter::from_fn(|| bench.reports.try_recv().ok())
            .all(|report| matches!(report, Report::Stolen { count: 3, .. }))
    );
    assert_eq!(stopped.take().len(), 1);
}
