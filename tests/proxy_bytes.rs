//! The bytes of a proxy's sessions: they arrive as they were sent and each direction to its own end (F1, F2), a reset
//! arrives as a reset (F5) and harms nobody else (F4), and a user whose pipes are few gets his bytes all the same (D8).

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use common::*;
use socket2::SockRef;

/// A proxy with two workers.
#[track_caller]
fn proxy<'a>(site: &'a Site, to: &str, flags: &[&str]) -> Balancer<'a> {
    let listen = site.bind();
    let mut words = vec!["proxy", "-n", "2", "-l", &listen, "--to", to];
    words.extend(flags);
    Balancer::start(site, &words)
}

/// A backend that does this with each connection, in a thread of its own.
fn backend(site: &Site, serve: impl Fn(TcpStream) + Clone + Send + 'static) -> String {
    let door = TcpListener::bind((site.host.as_str(), 0)).expect("a port");
    let address = door.local_addr().expect("bound").to_string();
    thread::spawn(move || {
        for client in door.incoming().flatten() {
            let serve = serve.clone();
            thread::spawn(move || serve(client));
        }
    });
    address
}

fn reset(stream: TcpStream) {
    SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .expect("a socket");
}

fn connect(site: &Site) -> TcpStream {
    let stream = TcpStream::connect_timeout(&site.to(), DEADLINE).expect("connected");
    stream.set_read_timeout(Some(DEADLINE)).expect("time-out");
    stream.set_write_timeout(Some(DEADLINE)).expect("time-out");
    stream
}

#[track_caller]
fn nobody_there(balancer: &Balancer<'_>) {
    balancer.until("no session is open", |status| {
        status.backends.iter().all(|one| one.open == 0)
    });
}

#[test]
fn sums_are_the_same_at_both_ends_whichever_way_bytes_are_moved() {
    for (splice, sessions) in [("auto", 150), ("on", 75), ("off", 75)] {
        let site = Site::new();
        let sums = Sums::start(&site, 2);
        let balancer = proxy(&site, &sums.to(), &["--splice", splice]);
        let failed = sums.run(site.to(), sessions, 16);
        assert!(failed.is_empty(), "--splice {splice}: {failed:?}");
        nobody_there(&balancer);
        balancer.finish();
    }
}

#[test]
fn a_backends_reset_is_a_reset_and_no_end() {
    const SAID: usize = 100_000;
    let site = Site::new();
    let to = backend(&site, |mut client| {
        let asked = client.read(&mut [0; 8]);
        if asked.is_ok() && client.write_all(&[7; SAID]).is_ok() {
            reset(client);
        }
    });
    let balancer = proxy(&site, &to, &[]);
    for _ in 0..50 {
        let mut client = connect(&site);
        client.write_all(b"question").expect("said");
        let mut heard = Vec::new();
        let error = client.read_to_end(&mut heard).expect_err("no end");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert!(heard.len() <= SAID);
    }
    nobody_there(&balancer);
    balancer.finish();
}

#[test]
fn peers_that_reset_in_mid_transfer_harm_nobody_else() {
    const SESSIONS: u64 = 400;
    let site = Site::new();
    // Talks until nobody listens, and as often as not resets before.
    let to = backend(&site, |mut client| {
        let mut number = [0; 8];
        if client.read_exact(&mut number).is_err() {
            return;
        }
        let most = match u64::from_le_bytes(number) % 2 {
            0 => u64::MAX,
            _ => u64::from_le_bytes(number) % 40,
        };
        for _ in 0..most {
            if client.write_all(&[7; 30_000]).is_err() {
                return;
            }
        }
        reset(client);
    });
    let balancer = proxy(&site, &to, &[]);
    let workers = balancer.workers();
    thread::scope(|scope| {
        for lane in 0..8 {
            let site = &site;
            scope.spawn(move || {
                for number in (lane..SESSIONS).step_by(8) {
                    let mut client = connect(site);
                    client.write_all(&number.to_le_bytes()).expect("said");
                    let mut part = [0; 50_000];
                    for _ in 0..number % 30 {
                        if client.read(&mut part).is_err() {
                            break;
                        }
                    }
                    reset(client);
                }
            });
        }
    });
    nobody_there(&balancer);
    assert_eq!(balancer.workers(), workers);
    balancer.finish();
}

#[test]
fn a_session_that_is_reset_while_nothing_can_move_ends() {
    let site = Site::new();
    let to = backend(
        &site,
        |mut client| {
            while client.write_all(&[7; 100_000]).is_ok() {}
        },
    );
    let balancer = proxy(&site, &to, &[]);
    let clients: Vec<TcpStream> = (0..20).map(|_| connect(&site)).collect();
    balancer.until("all have a backend", |status| {
        status.backends.iter().map(|one| one.open).sum::<u64>() == 20
    });
    clients.into_iter().for_each(reset);
    nobody_there(&balancer);
    balancer.finish();
}

/// Takes all pipes that the kernel lets this user have in full size, and waits.
const TAKER: &str = r"
import fcntl, os, sys
pipes = []
try:
    for _ in range(100):
        pipes.append(os.pipe())
        fcntl.fcntl(pipes[-1][1], 1031, 1 << 20)
except PermissionError:
    pass
os.write(1, b'.')
sys.stdin.read()
";

#[test]
fn a_user_whose_pipes_are_used_up_gets_his_bytes_copied() {
    // Only root can become nobody, and root's own pipes have no quota.
    const PYTHON: &str = "/usr/bin/python3";
    if !nobody_can_use(PYTHON, "/dev/null") {
        return;
    }
    let mut taker = as_nobody(&[PYTHON, "-c", TAKER]);
    let mut taker = taker
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python");
    let said = taker.stdout.take().expect("its output");
    { said }.read_exact(&mut [0]).expect("all are taken");

    let site = Site::new();
    let sums = Sums::start(&site, 1);
    let binary = site.file("forkfront");
    std::fs::copy(env!("CARGO_BIN_EXE_forkfront"), &binary).expect("copied");
    let nobody = Some(nix::unistd::Uid::from_raw(NOBODY));
    nix::unistd::chown(&site.directory.join("run"), nobody, None).expect("chown");
    let home = format!("XDG_RUNTIME_DIR={}", site.directory.join("run").display());
    let ids = [format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")];
    let front = ["setpriv", &ids[0], &ids[1], "--clear-groups", "env", &home];
    let (listen, to) = (site.bind(), sums.to());
    let words = [
        "proxy", "-n", "1", "-l", &listen, "--to", &to, "--splice", "on",
    ];
    let mut balancer = Balancer::spawn_behind(&site, &front, &binary, &words);
    balancer.all_ready();
    let failed = sums.run(site.to(), 100, 16);
    assert!(failed.is_empty(), "{failed:?}");
    let worker = descriptors(balancer.workers()[0]);
    let pipes = worker.values().filter(|link| link.starts_with("pipe:"));
    // Its outputs at most.
    assert!(pipes.count() <= 3, "{worker:?}");
    drop(taker.stdin.take());
    taker.wait().expect("ended");
    balancer.finish();
}
