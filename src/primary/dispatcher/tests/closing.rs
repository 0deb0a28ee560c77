//! A listener that is removed while others go on.

use super::*;

const OTHER: ListenerId = ListenerId(7);

fn closed(bench: &Bench) -> ListenerId {
    bench.report(|report| match report {
        Report::ListenerClosed(id) => Some(id),
        _ => None,
    })
}

fn connect(at: std::net::SocketAddr, count: usize) -> Vec<TcpStream> {
    let one = |_| TcpStream::connect(at).unwrap();
    (0..count).map(one).collect()
}

#[test]
fn who_has_come_is_served_and_nobody_is_reset() {
    let bench = Bench::new(1, |settings| settings.max_held = 4);
    let at = bench.listen(OTHER);
    // Two are held, the others wait in the backlog.
    let mut clients = connect(at, 50);
    bench.wait_for("its share held", |now| now.held == 2);
    let worker = bench.hire_on(OTHER, 0, 10);
    bench.send(Command::RemoveListener(OTHER));
    assert_eq!(closed(&bench), OTHER);
    let refused = TcpStream::connect(at).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    for (_, mut stream) in worker.take() {
        stream.write_all(b"x").unwrap();
    }
    let mut answer = [0];
    clients
        .iter_mut()
        .for_each(|client| client.read_exact(&mut answer).unwrap());
    // The other listener has not noticed, and the ledger has not forgotten.
    let served = bench.hire(0, 10);
    let _others = bench.connect(3);
    bench.wait_until_accepted(3);
    assert_eq!(served.take().len(), 3);
    bench.send(Command::Forget(worker.id));
    let now = bench.wait_for("the lane goes", |now| now.accepted.len() == 1);
    assert_eq!((now.accepted_formerly, now.accepted_in_all()), (50, 53));
    // To say it twice, or of one that never was, does no harm.
    bench.send(Command::RemoveListener(OTHER));
    assert_eq!(closed(&bench), OTHER);
}

#[test]
fn what_nobody_is_left_to_take_is_closed_and_counted() {
    let bench = Bench::new(1, |_| {});
    let at = bench.listen(OTHER);
    let mut clients = connect(at, 5);
    bench.wait_for("held", |now| now.held == 5);
    bench.send(Command::RemoveListener(OTHER));
    assert_eq!(closed(&bench), OTHER);
    let now = bench.snapshot();
    assert_eq!((now.held, now.closed_by_policy), (0, 5));
    assert_eq!(clients[0].read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_last_worker_keeps_what_only_it_can_take() {
    let bench = Bench::new(2, |_| {});
    let at = bench.listen(OTHER);
    let (first, last) = (bench.hire_on(OTHER, 0, 10), bench.hire_on(OTHER, 1, 11));
    let _clients = connect(at, 10);
    bench.wait_for("queued", |now| now.slots[1].queued == 5);
    bench.send(Command::RemoveListener(OTHER));
    assert_eq!(closed(&bench), OTHER);
    bench.evict(&first);
    bench.wait_for("all with the last", |now| now.slots[1].queued == 10);
    bench.evict(&last);
    let received = bench.report(|report| match report {
        Report::Evicted { worker, received } if worker == last.id => Some(received),
        _ => None,
    });
    assert_eq!(received, 10);
    assert_eq!(last.take().len(), 10);
    // One that dies with something queued takes it along.
    let dead = bench.hire_on(OTHER, 0, 12);
    bench.send(Command::Forget(dead.id));
    bench.wait_for("nothing lost", |now| now.held == 0);
    assert_eq!(bench.snapshot().closed_by_policy, 0);
}

#[test]
fn one_socket_of_a_listener_goes_and_the_others_stay() {
    let mut bench = Bench::new(1, |settings| settings.max_held = 4);
    let (at, inode) = bench.listen_by(LISTENER);
    let mut clients = connect(at, 20);
    bench.wait_for("some held", |now| now.held == 4);
    let worker = bench.hire(0, 10);
    bench.send(Command::RemoveSocket {
        listener: LISTENER,
        inode,
    });
    bench.freeze_and_thaw(&[&worker]);
    let deadline = Instant::now() + PATIENCE;
    while is_still_open(at) {
        assert!(Instant::now() < deadline, "it is still listened on");
    }
    clients.extend(bench.connect(5));
    bench.wait_until_accepted(25);
    bench.wait_for("dealt", |now| now.held == 0);
    for (_, mut stream) in worker.take() {
        stream.write_all(b"x").unwrap();
    }
    let mut answer = [0];
    clients
        .iter_mut()
        .for_each(|client| client.read_exact(&mut answer).unwrap());
    assert!(bench.reports.is_empty(), "the listener goes on");
}

/// Somebody listens there, though newcomers are kept out.
fn is_still_open(at: std::net::SocketAddr) -> bool {
    let tried = TcpStream::connect_timeout(&at, Duration::from_millis(50));
    tried.unwrap_err().kind() != std::io::ErrorKind::ConnectionRefused
}
