//! `-l` in all its forms, and inherited sockets.

use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use super::super::{BindDecision, Listeners, share_out};
use super::{MINE, address, bind, free_port, shared};
use crate::config::{Listen, ListenAt};
use crate::error::ErrorKind;
use crate::sys::inherited::Inherited;

fn named(at: &[(ListenAt, Option<u16>)]) -> crate::error::Result<Listeners> {
    let listen: Vec<_> = at
        .iter()
        .map(|(at, app_port)| Listen {
            at: at.clone(),
            app_port: *app_port,
        })
        .collect();
    Listeners::open(&listen, Vec::new(), MINE)
}

fn temporary(name: &str) -> PathBuf {
    let file = format!("forkfront-listeners-{name}-{}", std::process::id());
    std::env::temp_dir().join(file)
}

#[test]
fn a_named_port_takes_both_families_and_only_that_port_is_shared() {
    let mut listeners = named(&[(ListenAt::AnyAddress(0), Some(8080))]).unwrap();
    let port = listeners.first_port().unwrap();
    for host in ["127.0.0.1", "[::1]"] {
        TcpStream::connect(format!("{host}:{port}")).unwrap();
    }
    let id = shared(bind(&mut listeners, "0.0.0.0:8080", false));
    assert!(listeners.is_listening(id));
    assert!(listeners.ipv4_only(id));
    assert_eq!(shared(bind(&mut listeners, "[::]:8080", true)), id);
    assert!(!listeners.ipv4_only(id));
    assert!(!listeners.listen(id, 5, &[]).unwrap());
    assert_eq!(
        bind(&mut listeners, "0.0.0.0:9090", false),
        BindDecision::PassThrough
    );
    assert_eq!(listeners.app_ports(), [8080]);
}

#[test]
fn without_a_port_of_the_server_a_chosen_port_is_the_servers_too() {
    let listeners = named(&[(ListenAt::Tcp(address("127.0.0.1:0")), None)]).unwrap();
    assert_eq!(listeners.app_ports(), [listeners.first_port().unwrap()]);
}

#[test]
fn a_unix_socket_leads_to_the_first_port() {
    let path = temporary("unix");
    let mut listeners = named(&[(ListenAt::Unix(path.clone()), None)]).unwrap();
    drop(UnixStream::connect(&path).unwrap());
    let id = shared(bind(&mut listeners, "127.0.0.1:3000", false));
    assert_eq!(
        bind(&mut listeners, "127.0.0.1:3001", false),
        BindDecision::PassThrough
    );
    assert_eq!(shared(bind(&mut listeners, "127.0.0.1:3000", false)), id);
    drop(listeners);
    assert!(!path.exists());
}

#[test]
fn several_doors_lead_to_one_port() {
    let path = temporary("doors");
    let listen = [
        (ListenAt::Tcp(address("127.0.0.1:0")), Some(3000)),
        (ListenAt::Unix(path.clone()), None),
        (ListenAt::Tcp(address("127.0.0.1:0")), Some(4000)),
    ];
    let mut listeners = named(&listen).unwrap();
    assert!(listeners.shares_a_port_between_doors());
    let id = shared(bind(&mut listeners, "127.0.0.1:3000", false));
    assert_eq!(listeners.sockets(id).unwrap().len(), 2);
    assert!(listeners.socket_for_worker(id).is_err());
    let other = shared(bind(&mut listeners, "127.0.0.1:4000", false));
    assert_eq!(listeners.sockets(other).unwrap().len(), 1);
    listeners.close();
    assert!(!path.exists());
    assert_eq!(listeners.statuses("app", |_| 0).len(), 2);
    assert!(listeners.sockets(id).is_err());
}

#[test]
fn a_dead_unix_socket_is_replaced_and_nothing_else_is() {
    let path = temporary("stale");
    drop(UnixListener::bind(&path).unwrap());
    let alone = [(ListenAt::Unix(path.clone()), None)];
    let listeners = named(&alone).unwrap();
    let error = named(&alone).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed);
    let me = std::process::id().to_string();
    assert!(error.to_string().contains(&me), "{error}");
    drop(listeners);
    std::fs::write(&path, "precious").unwrap();
    let error = named(&alone).unwrap_err();
    assert!(error.to_string().contains("not a socket"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn what_cannot_be_listened_on_is_one_sentence() {
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = busy.local_addr().unwrap();
    let cases = [
        (ListenAt::Tcp(taken), "127.0.0.1", "already"),
        (
            ListenAt::Tcp(address("192.0.2.1:80")),
            "192.0.2.1:80",
            "not one of this machine's",
        ),
        (
            ListenAt::Unix("/nonexistent/socket".into()),
            "/nonexistent/socket",
            "no such directory",
        ),
        (
            ListenAt::Unix(format!("/tmp/{}", "x".repeat(103)).into()),
            "108 bytes",
            "shorter",
        ),
    ];
    for (at, place, why) in cases {
        // The first one is open by then: it must not stay so.
        let fine = (ListenAt::Tcp(address("127.0.0.1:0")), Some(1));
        let error = named(&[fine, (at, Some(2))]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Failed);
        let sentence = error.to_string();
        assert!(
            sentence.contains(place) && sentence.contains(why),
            "{sentence}"
        );
    }
}

#[test]
fn one_address_twice_is_a_usage_error() {
    let tcp = |text| ListenAt::Tcp(address(text));
    let unix = || ListenAt::Unix("/tmp/x.sock".into());
    let pairs = [
        (ListenAt::AnyAddress(8080), ListenAt::AnyAddress(8080)),
        (ListenAt::AnyAddress(8080), tcp("127.0.0.1:8080")),
        (tcp("0.0.0.0:8080"), tcp("127.0.0.1:8080")),
        (tcp("[::]:8080"), tcp("[::1]:8080")),
        (unix(), unix()),
    ];
    for (one, other) in pairs {
        let error = named(&[(one, Some(1)), (other, Some(2))]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
    }
    let port = free_port();
    let both = [
        (tcp(&format!("0.0.0.0:{port}")), None),
        (tcp(&format!("[::]:{port}")), None),
    ];
    assert!(named(&both).is_ok());
}

#[test]
fn inherited_sockets_are_taken_for_what_is_named() {
    let inherited = |listener: TcpListener| vec![OwnedFd::from(listener)];
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = socket.local_addr().unwrap();
    let listen = [Listen {
        at: ListenAt::Tcp(at),
        app_port: Some(3000),
    }];
    let mut listeners = Listeners::open(&listen, inherited(socket), MINE).unwrap();
    shared(bind(&mut listeners, "127.0.0.1:3000", false));
    drop(listeners);
    // Named by nothing: it leads to its own port.
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let listeners = Listeners::open(&[], inherited(socket), MINE).unwrap();
    assert_eq!(listeners.app_ports(), [port]);
    // Not listening, and not even a stream.
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let error = Listeners::open(&[], vec![udp.into()], MINE).unwrap_err();
    assert!(error.to_string().contains("descriptor 3"), "{error}");
    let (stream, _other) = UnixStream::pair().unwrap();
    assert!(Listeners::open(&[], vec![stream.into()], MINE).is_err());
}

#[test]
fn inherited_sockets_go_to_the_app_that_names_them_or_is_named() {
    let app = |name: &str, port: u16| {
        let at = ListenAt::Tcp(([127, 0, 0, 1], port).into());
        let listen = Listen { at, app_port: None };
        (name.to_owned(), vec![listen])
    };
    let socket = |name: Option<&str>| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let name = name.map(str::to_owned);
        let fd = OwnedFd::from(listener);
        (Inherited { fd, name }, port)
    };
    // The address counts for more than the name.
    let (addressed, port) = socket(Some("web"));
    let inherited = vec![
        socket(Some("api")).0,
        addressed,
        socket(None).0,
        socket(Some("x")).0,
    ];
    let apps = [app("web", 1), app("api", port)];
    let shares: Vec<usize> = share_out(inherited, &apps).iter().map(Vec::len).collect();
    assert_eq!(shares, [2, 2]);
}
