//! What is dealt in bursts: the same connections to the same slots as one by one, whatever does not go in.

use super::*;

/// Four rounds of accepting; all but the first are sent as bursts, since that has found many.
const CROWD: usize = 250;

/// A listener to which a crowd has come before the dispatcher knew of it.
fn crowd(bench: &Bench) -> Vec<TcpStream> {
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let listener = listener.unwrap();
    let anywhere: std::net::SocketAddr = ([127, 0, 0, 1], 0).into();
    listener.bind(&anywhere.into()).unwrap();
    listener.listen(CROWD as i32).unwrap();
    listener.set_nonblocking(true).unwrap();
    let at = listener.local_addr().unwrap().as_socket().unwrap();
    let clients = (0..CROWD)
        .map(|_| TcpStream::connect(at).unwrap())
        .collect();
    bench.send(Command::AddListener {
        id: LISTENER,
        socket: listener.into(),
        local: Address::default(),
    });
    clients
}

fn all() -> Vec<u64> {
    (1..=CROWD as u64).collect()
}

fn sorted(mut numbers: Vec<u64>) -> Vec<u64> {
    numbers.sort_unstable();
    numbers
}

#[test]
fn a_crowd_is_dealt_in_exact_turn_each_slot_in_order() {
    let bench = Bench::new(3, |settings| settings.queue_cap = CROWD);
    let workers = [bench.hire(0, 10), bench.hire(1, 11), bench.hire(2, 12)];
    let clients = crowd(&bench);
    bench.wait_until_accepted(CROWD as u64);
    let taken = workers.each_ref().map(Worker::take);
    assert_eq!(taken.each_ref().map(Vec::len), [84, 83, 83]);
    for (slot, taken) in taken.iter().enumerate() {
        for (turn, (record, fd)) in taken.iter().enumerate() {
            assert_eq!(record.connection as usize, turn * 3 + slot + 1);
            // The record and the descriptor are of the same connection.
            assert_eq!(fd.peer_addr().unwrap().port(), record.peer.port);
        }
    }
    drop((taken, clients));
}

#[test]
fn what_one_channel_does_not_take_goes_to_another() {
    let bench = Bench::new(2, |settings| settings.queue_cap = CROWD);
    let narrow = bench.hire_with(LISTENER, 0, 10, Channel::new(20).unwrap());
    let wide = bench.hire_with(LISTENER, 1, 11, Channel::new(CROWD).unwrap());
    let _clients = crowd(&bench);
    bench.wait_for("all dealt", |now| {
        now.held == 0 && now.slots[0].queued + now.slots[1].queued == CROWD as u64
    });
    let (few, rest) = (narrow.numbers(), wide.numbers());
    assert!((20..60).contains(&few.len()), "{}", few.len());
    assert_eq!(sorted([few, rest].concat()), all(), "each exactly once");
}

#[test]
fn what_no_channel_takes_is_held_and_dealt_later() {
    let bench = Bench::new(1, |settings| settings.max_held = CROWD);
    let worker = bench.hire_with(LISTENER, 0, 10, Channel::new(30).unwrap());
    let _clients = crowd(&bench);
    bench.wait_until_accepted(CROWD as u64);
    assert!(bench.snapshot().held > 100);
    let mut numbers = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while numbers.len() < CROWD {
        numbers.extend(worker.numbers());
        assert!(Instant::now() < deadline, "{} came", numbers.len());
        std::thread::yield_now();
    }
    assert_eq!(numbers, all(), "in order");
}

#[test]
fn a_broken_channel_costs_nobody_anything() {
    let bench = Bench::new(2, |settings| settings.queue_cap = CROWD);
    let broken = bench.hire(0, 10);
    let whole = bench.hire_with(LISTENER, 1, 11, Channel::new(CROWD).unwrap());
    nix::sys::socket::shutdown(
        std::os::fd::AsRawFd::as_raw_fd(&broken.end),
        nix::sys::socket::Shutdown::Both,
    )
    .unwrap();
    let _clients = crowd(&bench);
    let id = bench.report(|report| match report {
        Report::Broken { worker, .. } => Some(worker),
        _ => None,
    });
    assert_eq!(id, broken.id);
    bench.wait_for("all dealt", |now| now.slots[1].queued == CROWD as u64);
    assert_eq!(sorted(whole.numbers()), all());
}

#[test]
fn there_are_never_more_in_hand_than_allowed() {
    let bench = Bench::new(1, |settings| {
        (settings.max_held, settings.queue_cap) = (70, 128)
    });
    let _clients = crowd(&bench);
    bench.wait_for("as many as may be held", |now| now.held == 70);
    assert_eq!(bench.snapshot().accepted_in_all(), 70);
    let worker = bench.hire_with(LISTENER, 0, 10, Channel::new(40).unwrap());
    let mut numbers = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while numbers.len() < CROWD {
        assert!(bench.snapshot().held <= 70);
        numbers.extend(worker.numbers());
        assert!(Instant::now() < deadline, "{} came", numbers.len());
    }
    assert_eq!(numbers, all());
}
