//! Seeded random walks: pieces of any size, pauses, half-closes at any time, either kind of socket, all ways to move.

use super::*;

const SESSIONS: u64 = 48;
const AT_A_TIME: usize = 8;

/// Sends `count` bytes in pieces, with pauses, and ends.
fn say(mut to: &TcpStream, count: usize, mut random: Random) {
    let mut said = 0;
    let longest = [100, 5_000, 200_000][random.below(3)];
    while said < count {
        let piece = (1 + random.below(longest)).min(count - said);
        to.write_all(&BYTES[said..said + piece]).unwrap();
        said += piece;
        pause(&mut random);
    }
    to.shutdown(Shutdown::Write).unwrap();
}

/// Hears `count` bytes in pieces, with pauses, and the end.
fn hear(mut from: &TcpStream, count: usize, mut random: Random) {
    let mut heard = 0;
    let mut buffer = vec![0; 1 + random.below(300_000)];
    loop {
        let read = from.read(&mut buffer).unwrap();
        if read == 0 {
            break;
        }
        assert!(buffer[..read] == BYTES[heard..heard + read]);
        heard += read;
        pause(&mut random);
    }
    assert_eq!(heard, count);
}

fn pause(random: &mut Random) {
    match random.below(20) {
        0 => thread::sleep(Duration::from_micros(random.below(2000) as u64)),
        1..5 => thread::yield_now(),
        _ => {}
    }
}

fn count(random: &mut Random) -> usize {
    let bound = [1, 2, 1000, 100_000, MIB][random.below(5)];
    random.below(bound)
}

fn walk(seed: u64) {
    let mut random = Random(seed);
    let splice = WAYS_TO_MOVE[random.below(3)];
    let mut open = || match random.below(3) {
        0 => unix_connection(),
        _ => connection(),
    };
    let ((client, inner_client), (backend, inner_backend)) = (open(), open());
    let (up, down) = (count(&mut random), count(&mut random));
    let session = start(splice, b"", inner_client, inner_backend);
    let mut more = || Random(random.next());
    thread::scope(|scope| {
        let seeds = (more(), more(), more(), more());
        let (client, backend) = (&client, &backend);
        scope.spawn(move || say(client, up, seeds.0));
        scope.spawn(move || say(backend, down, seeds.1));
        scope.spawn(move || hear(client, down, seeds.2));
        scope.spawn(move || hear(backend, up, seeds.3));
    });
    let ran = session.join().unwrap();
    let moved = Moved {
        up: up as u64,
        down: down as u64,
    };
    assert_eq!((ran.end, ran.moved), (End::Done, moved), "seed {seed}");
    // A spin would be one turn after the other that moves nothing. How many events come to nothing is the kernel's affair:
    // it tells of room after any piece that a reader has taken.
    assert!(ran.unasked <= ran.turns.0, "seed {seed}: {ran:?}");
}

#[test]
fn bytes_arrive_as_they_were_sent() {
    thread::scope(|scope| {
        for lane in 0..AT_A_TIME as u64 {
            scope.spawn(move || (lane..SESSIONS).step_by(AT_A_TIME).for_each(walk));
        }
    });
}
