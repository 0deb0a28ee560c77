//! The control socket of a real primary: who may ask, what garbage does, what `stop` says while it works, what
//! names lead to (scenarios K1-K5, H4).

mod common;

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::*;
use nix::sys::signal::Signal;

/// One that is not in somebody's home.
const PYTHON: &str = "/usr/bin/python3";

fn connect(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).expect("the primary takes connections");
    stream.set_read_timeout(Some(DEADLINE)).expect("time-out");
    stream
}

/// Sends `bytes` and reads until the primary closes.
fn provoke(path: &Path, bytes: &[u8]) -> String {
    let mut client = connect(path);
    // The primary may close before it has all.
    let _ = client.write_all(bytes);
    let mut answer = Vec::new();
    let _ = client.read_to_end(&mut answer);
    String::from_utf8(answer).expect("answers are text")
}

#[test]
fn every_kind_of_garbage_is_answered_in_one_line() {
    // K1: garbage, oversize, split, pipelined.
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 1, &[]);
    let control = site.control();
    let long = [vec![b'a'; 100_000], b"\n".to_vec()].concat();
    let deep = [vec![b'['; 4000], b"\n".to_vec()].concat();
    let cases: [&[u8]; 8] = [
        b"\n",
        b"status\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"{\"verb\":\"dance\"}\n",
        b"{\"verb\":\"status\",\"and\":\"more\"}\n",
        b"\xff\xfe\x00\n",
        &long,
        &deep,
    ];
    for case in cases {
        let answer = provoke(&control, case);
        assert_eq!(answer.lines().count(), 1, "{answer}");
        let error: serde_json::Value = serde_json::from_str(&answer).expect("a line of JSON");
        assert!(error["error"].is_string(), "{answer}");
    }
    let mut client = connect(&control);
    for part in [&b"{\"verb\":\"sta"[..], b"tus\"}\n{\"verb\":\"status\"}\n"] {
        client.write_all(part).expect("written");
        std::thread::yield_now();
    }
    let mut lines = BufReader::new(&client).lines();
    for _ in 0..2 {
        let line = lines.next().expect("an answer").expect("read");
        assert!(line.starts_with("{\"ok\":{\"name\":"), "{line}");
    }
    drop(lines);
    drop(client);
    balancer.finish();
}

#[test]
fn ten_thousand_connections_cost_nothing() {
    // K2: idle ones, a status in between, and clients of the service all the while.
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 2, &[]);
    let control = site.control();
    let before = rss_kib(balancer.pid());
    let load = Load::start(site.to(), 2, 1, DEADLINE);
    let mut idle = VecDeque::new();
    for number in 0..10_000 {
        idle.push_back(connect(&control));
        if idle.len() > 200 {
            idle.pop_front();
        }
        if number % 1_000 == 500 {
            let open = descriptors(balancer.pid()).len();
            assert!(open < 150, "{open} descriptors in the primary");
            balancer.status();
        }
    }
    load.proceed(50);
    load.stop().clean();
    drop(idle);
    let grown = rss_kib(balancer.pid()).saturating_sub(before);
    assert!(grown <= 2048, "the primary has grown by {grown} KiB");
    balancer.finish();
}

#[test]
fn a_client_that_never_reads_holds_nobody_up() {
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 1, &[]);
    let mut deaf: Vec<_> = (0..8).map(|_| connect(&site.control())).collect();
    for client in &mut deaf {
        client.set_nonblocking(true).expect("non-blocking");
        let mut written = 0;
        while written < 64 * 1024 {
            match client.write(b"{\"verb\":\"status\"}\n") {
                Ok(length) => written += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => break,
            }
        }
    }
    let start = Instant::now();
    balancer.status();
    // One who has to wait for them gives up after five seconds.
    let took = start.elapsed();
    assert!(took < Duration::from_secs(4), "{took:?}");
    drop(deaf);
    balancer.finish();
}

#[test]
fn another_user_is_refused_by_the_file_and_by_the_primary() {
    // K3, K4. In a directory that everybody may enter.
    if !nobody_can_use(PYTHON, "/dev/null") {
        return;
    }
    let site = Site::new();
    let path = site.file("open.sock");
    // Somebody who tries to connect from before the socket is there, as fast as can be.
    let mut racer = as_nobody(&[
        PYTHON,
        "-c",
        "import socket, sys, time
end = time.time() + float(sys.argv[2])
while time.time() < end:
    s = socket.socket(socket.AF_UNIX)
    try:
        s.connect(sys.argv[1])
    except OSError:
        continue
    print('connected')
    break",
        &path.display().to_string(),
        "3",
    ])
    .stdout(Stdio::piped())
    .spawn()
    .expect("setpriv");
    let words = ["run", "-n", "1", "--", "node", &server("http.js")];
    let site_control = site.control();
    let balancer = Balancer::start(&site, &words);
    // The same socket under a name that everybody can reach.
    std::fs::hard_link(&site_control, &path).expect("linked");
    assert_eq!(
        std::fs::metadata(&path).expect("there").mode() & 0o777,
        0o600
    );
    let mut said = String::new();
    let mut out = racer.stdout.take().expect("piped");
    out.read_to_string(&mut said).expect("read");
    racer.wait().expect("ended");
    assert_eq!(said, "", "another user got through");
    // And if somebody opens the file, the primary still looks who it is.
    let open = std::fs::Permissions::from_mode(0o666);
    std::fs::set_permissions(&path, open).expect("mode");
    let answer = as_nobody(&[
        PYTHON,
        "-c",
        "import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
try:
    s.send(b'{\"verb\":\"stop\"}\\n')
except OSError:
    pass
print(s.recv(4096).decode(), end='')",
        &path.display().to_string(),
    ])
    .output()
    .expect("setpriv");
    let answer = String::from_utf8_lossy(&answer.stdout);
    assert!(answer.starts_with("{\"error\":\"only the user"), "{answer}");
    assert!(!balancer.status().stopping);
    std::fs::remove_file(&path).expect("removed");
    balancer.finish();
}

#[test]
fn stop_tells_how_far_it_is_and_ends_with_the_primary() {
    let site = Site::new();
    let mut balancer = Balancer::nodes(&site, 2, &[]);
    let client = Client::asking(site.to(), 1, "slow");
    balancer.until("the slow request is being served", |status| {
        status.slots.iter().map(|slot| slot.open).sum::<u64>() == 1
    });
    let control = site.control().display().to_string();
    let second = {
        let mut asker = connect(&site.control());
        asker.write_all(b"{\"verb\":\"stop\"}\n").expect("asked");
        asker
    };
    let finished = run_to_end(&site, &["stop", "--control", &control]);
    assert_eq!(finished.code, Some(0), "{finished}");
    let said = format!("{}{}", finished.stdout, finished.stderr);
    assert!(said.contains("1 open connection"), "{finished}");
    assert!(said.contains("has stopped"), "{finished}");
    assert!(client.body().expect("answered").ends_with("slow\n"));
    let lines: Vec<String> = BufReader::new(second)
        .lines()
        .map_while(Result::ok)
        .collect();
    assert_eq!(lines.last().map(String::as_str), Some("{\"ok\":null}"));
    assert_eq!(balancer.wait(), Some(0));
    balancer.nothing_left();
}

#[test]
fn a_name_is_for_one_primary_and_leads_to_it() {
    // H4, in the run directory of this user.
    let site = Site::new();
    let name = format!("test-{}", site.mark);
    let words = [
        "run",
        "--name",
        &name,
        "-n",
        "1",
        "--",
        "node",
        &server("http.js"),
    ];
    let mut first = common::forkfront(&site, &words).spawn().expect("started");
    let pid = first.id().to_string();
    eventually("a named primary answers", || {
        let answer = run_to_end(&site, &["status", "--json", "--name", &name]);
        (answer.code == Some(0) && answer.stdout.contains("\"state\":\"ready\"")).then_some(())
    });
    let other = Site::new();
    let refused = run_to_end(&other, &words);
    refused.refused(&other, 1, &format!("pid {pid}"));
    // What dies without a word leaves its files; the next of that name sweeps them.
    send(first.id(), Signal::SIGKILL);
    first.wait().expect("ended");
    let gone = run_to_end(&site, &["status", "--name", &name]);
    assert_eq!(gone.code, Some(3), "{gone}");
    let mut again = common::forkfront(&other, &words).spawn().expect("started");
    eventually("the next of that name answers", || {
        let answer = run_to_end(&other, &["status", "--name", &name]);
        (answer.code == Some(0)).then_some(())
    });
    let stopped = run_to_end(&other, &["stop", "--name", &name]);
    assert_eq!(stopped.code, Some(0), "{stopped}");
    assert_eq!(again.wait().expect("ended").code(), Some(0));
    let base = forkfront::protocol::run_directories().swap_remove(0);
    for left in [format!("{name}.sock"), format!("w.{pid}")] {
        assert!(!base.join(&left).exists(), "{left} is left behind");
    }
}
