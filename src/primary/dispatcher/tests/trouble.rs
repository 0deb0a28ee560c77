//! What must not stand still because something else does.

use super::*;
use crate::sys::fdpass::{Sent, send};
use crate::wire::Kind;

#[test]
fn a_listener_that_nobody_serves_holds_up_no_other() {
    let bench = Bench::new(1, |settings| settings.max_held = 10);
    let served = ListenerId(7);
    let at = bench.listen(served);
    let worker = bench.hire_on(served, 0, 10);
    let _waiting = bench.connect(30);
    bench.wait_for("its share held", |now| now.held == 5);
    let _clients: Vec<_> = (0..20).map(|_| TcpStream::connect(at).unwrap()).collect();
    bench.wait_for("the other is dealt", |now| now.slots[0].queued == 20);
    assert_eq!(worker.take().len(), 20);
    let late = bench.hire(0, 10);
    bench.wait_for("all dealt", |now| {
        now.held == 0 && now.slots[0].queued == 30
    });
    assert_eq!(late.take().len(), 30);
}

#[test]
fn connections_read_back_go_to_one_found_stuck_if_there_is_no_other() {
    let bench = Bench::new(2, |settings| {
        settings.steal_after = Duration::from_millis(20)
    });
    let (stuck, other) = (bench.hire(0, 10), bench.hire(1, 11));
    let _clients = bench.connect(10);
    bench.wait_until_accepted(10);
    let deadline = Instant::now() + PATIENCE;
    let mut served = 0;
    while served < 10 {
        served += other.take().len();
        assert!(Instant::now() < deadline, "{served} of 10");
        std::thread::yield_now();
    }
    let _more = bench.connect(5);
    bench.wait_until_accepted(15);
    // It moves again just when the other dies.
    bench.send(Command::Forget(other.id));
    while served < 15 {
        served += stuck.take().len();
        assert!(Instant::now() < deadline, "{served} of 15");
        std::thread::yield_now();
    }
}

#[test]
fn a_full_channel_is_tried_again_though_nothing_was_ever_taken_from_it() {
    let bench = Bench::new(1, |_| {});
    let channel = Channel::new(8).unwrap();
    let ours = channel.ours.try_clone().unwrap();
    let worker = bench.hire_with(LISTENER, 0, 10, channel);
    let wake = Record::control(Kind::Wake, LISTENER.0).encode();
    while matches!(send(ours.as_fd(), &wake, None), Sent::Done) {}
    // Until the dispatcher, with nothing queued, has stopped looking.
    std::thread::sleep(Duration::from_millis(100));
    let _client = bench.connect(1);
    bench.wait_for("held", |now| now.held == 1);
    let mut buffer = [0; Record::LEN];
    while let Received::Message { fd: None, .. } =
        receive(worker.end.as_fd(), &mut buffer, false).unwrap()
    {}
    bench.wait_for("dealt", |now| now.held == 0);
}
