//! `bind` and `listen` of servers, answered by real sockets.

mod named;

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use super::{BindDecision, Listeners, MOST_LISTENERS, Settings};
use crate::policy::ids::ListenerId;
use crate::sys::address::to_wire;
use crate::sys::sockopt;
use crate::wire::SocketOption;

const MINE: Settings = Settings {
    backlog: None,
    own_user: true,
    defer_accept: None,
};

fn without_names() -> Listeners {
    Listeners::open(&[], Vec::new(), MINE).unwrap()
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A port that nobody has on any address, and that the kernel gives to nobody who asks for any: servers of tests that
/// run beside this one would be in the way of a wildcard.
fn free_port() -> u16 {
    static STEP: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(211);
    (0..20_000)
        .map(|_| start.wrapping_add(STEP.fetch_add(1, Relaxed)))
        .map(|step| 10_000 + (step % 20_000) as u16)
        .find(|&port| TcpListener::bind(("::", port)).is_ok())
        .expect("a free port below the ephemeral ones")
}

fn flag(level: i32, name: i32) -> SocketOption {
    let mut value = [0; 16];
    value[0] = 1;
    SocketOption {
        level,
        name,
        len: 4,
        value,
    }
}

fn reuse_address() -> [SocketOption; 1] {
    [flag(libc::SOL_SOCKET, libc::SO_REUSEADDR)]
}

#[track_caller]
fn bind(listeners: &mut Listeners, at: &str, v6only: bool) -> BindDecision {
    listeners.for_bind(&to_wire(&address(at)), v6only, false, &reuse_address())
}

#[track_caller]
fn shared(decision: BindDecision) -> ListenerId {
    match decision {
        BindDecision::Share(id) => id,
        other => panic!("not shared: {other:?}"),
    }
}

#[test]
fn the_same_address_is_the_same_listener() {
    let mut listeners = without_names();
    let at = format!("127.0.0.1:{}", free_port());
    let first = shared(bind(&mut listeners, &at, false));
    assert_eq!(shared(bind(&mut listeners, &at, false)), first);
    assert!(!listeners.is_listening(first));
    assert!(TcpStream::connect(&at).is_err());
    assert!(listeners.listen(first, 7, &[]).unwrap());
    assert!(!listeners.listen(first, 5, &[]).unwrap());
    let _client = TcpStream::connect(&at).unwrap();
    let status = &listeners.statuses("app", |_| 3)[0];
    assert_eq!((status.backlog, status.backlog_limit), (1, 7));
    assert_eq!((status.accepted, &status.address), (3, &at));
    assert_eq!(listeners.addresses(), [at]);
}

#[test]
fn both_families_of_a_port_are_two_listeners_as_redis_binds_them() {
    let mut listeners = without_names();
    let port = free_port();
    let v4 = shared(bind(&mut listeners, &format!("0.0.0.0:{port}"), false));
    listeners.listen(v4, 511, &[]).unwrap();
    let v6 = shared(bind(&mut listeners, &format!("[::]:{port}"), true));
    listeners.listen(v6, 511, &[]).unwrap();
    assert_ne!(v4, v6);
    // Without V6ONLY the second takes what the first has: the kernel's errno is the server's.
    let mut listeners = without_names();
    let port = free_port();
    let v4 = shared(bind(&mut listeners, &format!("0.0.0.0:{port}"), false));
    listeners.listen(v4, 511, &[]).unwrap();
    assert_eq!(
        bind(&mut listeners, &format!("[::]:{port}"), false),
        BindDecision::Errno(libc::EADDRINUSE)
    );
}

#[test]
fn port_zero_and_no_address_stay_the_servers_own() {
    let mut listeners = without_names();
    assert_eq!(
        bind(&mut listeners, "127.0.0.1:0", false),
        BindDecision::PassThrough
    );
    let nothing = crate::wire::Address::default();
    assert_eq!(
        listeners.for_bind(&nothing, false, false, &[]),
        BindDecision::PassThrough
    );
}

#[test]
fn the_errno_of_a_bind_is_the_servers() {
    let mut listeners = without_names();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap().to_string();
    assert_eq!(
        bind(&mut listeners, &at, false),
        BindDecision::Errno(libc::EADDRINUSE)
    );
    assert_eq!(
        bind(&mut listeners, "192.0.2.1:8080", false),
        BindDecision::Errno(libc::EADDRNOTAVAIL)
    );
    let freebind = [flag(libc::IPPROTO_IP, libc::IP_FREEBIND)];
    let foreign = to_wire(&address("192.0.2.1:8080"));
    shared(listeners.for_bind(&foreign, false, false, &freebind));
}

#[test]
fn a_port_shared_by_reuseport_is_never_ours_to_share_with_strangers() {
    let mut listeners = without_names();
    let port = free_port();
    let options = [flag(libc::SOL_SOCKET, libc::SO_REUSEPORT)];
    let wide = to_wire(&address(&format!("0.0.0.0:{port}")));
    let narrow = to_wire(&address(&format!("127.0.0.1:{port}")));
    let id = shared(listeners.for_bind(&wide, false, true, &options));
    listeners.listen(id, 16, &options).unwrap();
    assert_eq!(
        shared(listeners.for_bind(&narrow, false, true, &options)),
        id
    );
    let copy: OwnedFd = listeners.socket_for_worker(id).unwrap();
    assert_eq!(
        sockopt::get(&copy, libc::SOL_SOCKET, libc::SO_REUSEPORT).unwrap(),
        0
    );
}

#[test]
fn options_set_on_the_listener_are_inherited() {
    let mut listeners = without_names();
    let at = format!("127.0.0.1:{}", free_port());
    let id = shared(bind(&mut listeners, &at, false));
    let options = [flag(libc::IPPROTO_TCP, libc::TCP_NODELAY)];
    listeners.listen(id, 16, &options).unwrap();
    let keepalive = [flag(libc::SOL_SOCKET, libc::SO_KEEPALIVE)];
    listeners.set_options(id, &keepalive).unwrap();
    let sockets = listeners.sockets(id).unwrap();
    let _client = TcpStream::connect(&at).unwrap();
    let (accepted, _) = TcpListener::from(sockets.into_iter().next().unwrap().0)
        .accept()
        .unwrap();
    let get = |level, name| sockopt::get(&accepted, level, name).unwrap();
    assert_eq!(get(libc::IPPROTO_TCP, libc::TCP_NODELAY), 1);
    assert_eq!(get(libc::SOL_SOCKET, libc::SO_KEEPALIVE), 1);
}

#[test]
fn a_server_that_binds_without_end_stops_somewhere() {
    let mut listeners = without_names();
    let mut errno = 0;
    for host in 1..=MOST_LISTENERS + 1 {
        let at = format!("127.9.9.{host}:{}", 20_000 + std::process::id() % 10_000);
        match bind(&mut listeners, &at, false) {
            BindDecision::Share(_) => {}
            BindDecision::Errno(number) => errno = number,
            BindDecision::PassThrough => panic!("a fixed port is shared"),
        }
    }
    assert_eq!(errno, libc::ENOBUFS);
    let first = listeners.ids().next().unwrap();
    assert!(listeners.release(first) && !listeners.release(first));
}

/// What the kernel answers a server that has the same sockets itself is what a worker is answered, whatever
/// is bound and listened on before.
#[test]
fn a_random_walk_answers_as_the_kernel_does() {
    let hosts = ["0.0.0.0", "127.0.0.1", "127.0.0.2", "[::]", "[::1]"];
    let mut chance = oorandom::Rand64::new(1);
    let mut random = |below: u64| chance.rand_range(0..below) as usize;
    for _ in 0..60 {
        // The same steps, once through `Listeners`, once on the server's own sockets.
        let (shared_port, own_port) = (free_port(), free_port());
        let mut listeners = without_names();
        let mut own: Vec<(SocketAddr, bool, socket2::Socket)> = Vec::new();
        for _ in 0..12 {
            let (host, v6only, listen) = (hosts[random(5)], random(2) == 1, random(2) == 1);
            let at = address(&format!("{host}:{own_port}"));
            let v6only = v6only && at.is_ipv6();
            let same = own.iter().position(|(known, only, _)| {
                *known == at && (*only == v6only || !at.ip().is_unspecified())
            });
            let expected = match same {
                Some(index) => Ok(index),
                None => own_bind(at, v6only).map(|socket| {
                    own.push((at, v6only, socket));
                    own.len() - 1
                }),
            };
            let decision = bind(&mut listeners, &format!("{host}:{shared_port}"), v6only);
            match (decision, expected) {
                (BindDecision::Errno(ours), Err(theirs)) => {
                    assert_eq!(Some(ours), theirs.raw_os_error());
                }
                (BindDecision::Share(id), Ok(index)) if listen => {
                    let ours = listeners.listen(id, 8, &[]).err();
                    let theirs = own[index].2.listen(8).err();
                    let number = |error: Option<io::Error>| error.and_then(|e| e.raw_os_error());
                    assert_eq!(number(ours), number(theirs));
                }
                (BindDecision::Share(_), Ok(_)) => {}
                (decision, expected) => panic!("{at} {v6only}: {decision:?}, {expected:?}"),
            }
        }
    }
}

fn own_bind(at: SocketAddr, v6only: bool) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(at),
        socket2::Type::STREAM,
        None,
    )?;
    if at.is_ipv6() {
        socket.set_only_v6(v6only)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&at.into())?;
    Ok(socket)
}

#[test]
fn a_queue_that_overflows_is_told() {
    // D4, KF18.
    let mut listeners = without_names();
    let at = address(&format!("127.0.0.1:{}", free_port()));
    let id = shared(bind(&mut listeners, &at.to_string(), false));
    listeners.listen(id, 1, &[]).unwrap();
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let client =
                socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            client.set_nonblocking(true).unwrap();
            // In progress; some of them for good.
            let _ = client.connect(&at.into());
            client
        })
        .collect();
    let full = || {
        let status = &listeners.statuses("app", |_| 0)[0];
        status.backlog > status.backlog_limit && status.overflows > 0
    };
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while !full() {
        assert!(std::time::Instant::now() < patience, "never told");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    drop(clients);
}

#[test]
fn the_kernel_waits_for_first_bytes_unless_the_server_says_otherwise() {
    let deferring = Settings {
        defer_accept: Some(Duration::from_secs(3)),
        ..MINE
    };
    let defers = |listeners: &Listeners, id| {
        let socket = &listeners.sockets(id).unwrap()[0].0;
        sockopt::get(socket, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT).unwrap()
    };
    let mut listeners = Listeners::open(&[], Vec::new(), deferring).unwrap();
    let ours = shared(bind(
        &mut listeners,
        &format!("127.0.0.1:{}", free_port()),
        false,
    ));
    listeners.listen(ours, 7, &reuse_address()).unwrap();
    assert_eq!(defers(&listeners, ours), 3);
    // A server that wants 1 s keeps it, whether it says so before listen(2) or after.
    let own = [flag(libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT)];
    let before = shared(bind(
        &mut listeners,
        &format!("127.0.0.1:{}", free_port()),
        false,
    ));
    listeners.listen(before, 7, &own).unwrap();
    let after = shared(bind(
        &mut listeners,
        &format!("127.0.0.1:{}", free_port()),
        false,
    ));
    listeners.listen(after, 7, &[]).unwrap();
    listeners.set_options(after, &own).unwrap();
    listeners.set_defer_accept(Some(Duration::from_secs(15)));
    assert_eq!(
        [ours, before, after].map(|id| defers(&listeners, id)),
        [15, 1, 1]
    );
    listeners.set_defer_accept(None);
    assert_eq!(
        [ours, before, after].map(|id| defers(&listeners, id)),
        [0, 1, 1]
    );
}
