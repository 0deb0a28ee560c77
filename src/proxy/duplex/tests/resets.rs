//! F4, F5: a reset is a reset on the other side too, and is noticed whatever the session was doing.

use super::*;

/// Closes it by a reset.
fn reset(stream: TcpStream) {
    reset_on_close(&stream);
    drop(stream);
}

/// All that still comes, until the reset.
#[track_caller]
fn expect_reset(mut from: &TcpStream) -> usize {
    let mut heard = Vec::new();
    let error = from.read_to_end(&mut heard).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    heard.len()
}

/// A session, its outer ends with the one first that is going to reset.
fn session(splice: Splice, side: Side) -> (TcpStream, TcpStream, JoinHandle<Ran>) {
    let (client, inner_client) = connection();
    let (backend, inner_backend) = connection();
    let session = start(splice, b"", inner_client, inner_backend);
    match side {
        Side::Client => (client, backend, session),
        Side::Backend => (backend, client, session),
    }
}

fn each(run: impl Fn(Splice, Side)) {
    for splice in WAYS_TO_MOVE {
        for side in [Side::Client, Side::Backend] {
            run(splice, side);
        }
    }
}

#[test]
fn of_an_idle_session() {
    each(|splice, side| {
        let (near, far, session) = session(splice, side);
        reset(near);
        assert_eq!(expect_reset(&far), 0);
        assert_eq!(session.join().unwrap().end, End::Reset(side));
    });
}

#[test]
fn what_was_sent_before_it_is_delivered() {
    each(|splice, side| {
        let (mut near, far, session) = session(splice, side);
        near.write_all(&BYTES[..1000]).unwrap();
        let mut heard = [0; 1000];
        (&far).read_exact(&mut heard).unwrap();
        near.write_all(&BYTES[..1000]).unwrap();
        reset(near);
        // Of these none or all: a reset may overtake on the way to us, but a part of them would be odd.
        assert!([0, 1000].contains(&expect_reset(&far)));
        assert_eq!(session.join().unwrap().end, End::Reset(side));
    });
}

#[test]
fn of_a_side_that_had_said_its_last() {
    each(|splice, side| {
        let (near, far, session) = session(splice, side);
        near.shutdown(Shutdown::Write).unwrap();
        expect(&far, 0);
        reset(near);
        // To have been told the end is all that a reader hears; a writer hears the reset.
        assert_eq!(session.join().unwrap().end, End::Reset(side));
        let written = (&far).write(b"x").and_then(|_| (&far).write(b"x"));
        assert!(written.is_err());
    });
}

#[test]
fn of_a_side_that_was_told_the_end() {
    each(|splice, side| {
        let (near, far, session) = session(splice, side);
        far.shutdown(Shutdown::Write).unwrap();
        expect(&near, 0);
        reset(near);
        assert_eq!(expect_reset(&far), 0);
        assert_eq!(session.join().unwrap().end, End::Reset(side));
    });
}

/// Writes until nothing more fits on the way.
fn stuff(mut to: &TcpStream) {
    to.set_write_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    while to.write(&BYTES[..MIB]).is_ok() {}
}

#[test]
fn of_one_who_sends_more_than_the_other_takes() {
    each(|splice, side| {
        let (near, far, session) = session(splice, side);
        stuff(&near);
        reset(near);
        // Nobody reads: it must be noticed all the same.
        assert_eq!(session.join().unwrap().end, End::Reset(side));
        drop(far);
    });
}

#[test]
fn of_one_who_takes_less_than_the_other_sends() {
    each(|splice, side| {
        let (near, far, session) = session(splice, side);
        stuff(&far);
        reset(near);
        assert_eq!(session.join().unwrap().end, End::Reset(side));
        assert_eq!(expect_reset(&far), 0);
    });
}

#[test]
fn an_answer_to_half_a_question_arrives_before_the_reset() {
    each(|splice, side| {
        let (mut near, far, session) = session(splice, side);
        let asking = thread::spawn(move || {
            while (&far).write(&BYTES[..MIB]).is_ok() {}
            far
        });
        near.read_exact(&mut [0; 100_000]).unwrap();
        near.write_all(b"too much").unwrap();
        // With questions unread, closing is a reset.
        drop(near);
        let far = asking.join().unwrap();
        assert_eq!(session.join().unwrap().end, End::Reset(side));
        let mut heard = Vec::new();
        let _ = (&far).read_to_end(&mut heard);
        assert_eq!(heard, b"too much");
    });
}
