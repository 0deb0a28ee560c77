//! Many at once: none keeps another waiting, none wakes the dispatcher for nothing.

use super::*;

/// How often the dispatcher's thread has gone to sleep.
fn sleeps() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let of = |task: std::fs::DirEntry| {
        let name = std::fs::read_to_string(task.path().join("comm")).ok()?;
        let status = std::fs::read_to_string(task.path().join("status")).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        (name.trim() == "dispatcher").then(|| line.unwrap().trim().parse::<u64>().unwrap())
    };
    tasks.filter_map(|task| of(task.unwrap())).sum()
}

#[test]
fn when_too_many_are_waited_for_the_oldest_gives_way() {
    let bench = Bench::new(1, |settings| {
        by_cookie(settings);
        settings.routing.max_peeked = 3;
    });
    let worker = bench.hire(0, 10);
    let _silent: Vec<TcpStream> = (1..=10)
        .map(|count| {
            let client = bench.say(b"");
            bench.wait_until_accepted(count);
            client
        })
        .collect();
    let now = bench.snapshot();
    assert_eq!(
        (now.keys.reading, now.keys.fallback.crowded, now.held),
        (3, 7, 3)
    );
    assert_eq!(worker.numbers(), (1..=7).collect::<Vec<_>>());
    let _speaks = bench.say(REQUEST);
    bench.wait_for("found", |now| now.keys.found.cookie == 1);
    assert!(worker.numbers().contains(&11));
}

#[test]
fn with_header_complete_the_oldest_is_closed() {
    let bench = Bench::new(1, |settings| {
        by_head(settings);
        settings.peek_room = 2;
    });
    let _worker = bench.hire(0, 10);
    let mut silent = bench.connect(5);
    let now = bench.wait_for("crowded", |now| now.closed_by_policy == 3);
    assert_eq!((now.keys.refused, now.held), (3, 2));
    assert_eq!(silent[0].read(&mut [0]).unwrap(), 0);
}

#[test]
fn those_who_say_nothing_keep_no_descriptor_from_those_who_do() {
    let bench = Bench::new(1, |settings| {
        by_cookie(settings);
        // All that are left are scarce.
        settings.fd_ceiling = 0;
    });
    let worker = bench.hire(0, 10);
    let _silent = bench.connect(100);
    let _speaks = bench.say(REQUEST);
    let now = bench.wait_until_accepted(101);
    assert!(now.keys.reading <= 1, "{now:?}");
    let now = bench.wait_until_dealt(101);
    assert!(now.keys.fallback.crowded >= 100, "{now:?}");
    assert_eq!(worker.numbers().len(), 101);
}

#[test]
fn a_connection_handed_off_never_wakes_the_dispatcher_again() {
    let bench = Bench::new(1, by_cookie);
    let worker = bench.hire(0, 10);
    let mut kept = Vec::new();
    // Each is registered first, since nothing has come of it yet.
    for round in 1..=100u64 {
        let mut clients = bench.connect(100);
        bench.wait_until_read(100);
        clients
            .iter_mut()
            .for_each(|client| client.write_all(REQUEST).unwrap());
        bench.wait_until_dealt(round * 100);
        if round <= 5 {
            kept.extend(clients.into_iter().zip(worker.take()));
        } else {
            worker.take();
        }
    }
    bench.snapshot();
    let before = sleeps();
    for _ in 0..20 {
        for (client, (_, server)) in &mut kept {
            client.write_all(b"more").unwrap();
            server.write_all(b"answer").unwrap();
        }
    }
    drop(kept);
    let woken = sleeps() - before;
    assert!(woken <= 200, "{woken} times for 10,000 writes and 500 ends");
}

#[test]
fn who_sends_a_byte_at_a_time_is_looked_at_now_and_then() {
    let bench = Bench::new(1, by_cookie);
    let worker = bench.hire(0, 10);
    let mut client = bench.say(b"GET /");
    bench.wait_until_read(1);
    let (begun, before) = (Instant::now(), sleeps());
    for _ in 0..2000 {
        client.write_all(b"a").unwrap();
        std::thread::yield_now();
    }
    let woken = sleeps() - before;
    let looks = 40 + begun.elapsed().as_millis() as u64 / 20;
    assert!(woken <= looks, "woken {woken} times by 2,000 bytes");
    client
        .write_all(b" HTTP/1.1\r\ncookie: sid=x\r\n\r\n")
        .unwrap();
    bench.wait_for("found", |now| now.keys.found.cookie == 1);
    assert_eq!(worker.numbers(), [1]);
}
