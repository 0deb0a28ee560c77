//! The preload shim alone, with the test as its primary: what the real one never sends, and what a server
//! sees when there is no primary at all. What a server sees when all is well is `tests/conformance.rs`.

use std::io::{IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use forkfront::shim_image::SHIM;
use forkfront::sys::board::Board;
use forkfront::sys::channel::Channel;
use forkfront::wire::{Address, Answer, Family, Kind, Outcome, Record, Request, Verb};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use socket2::{Domain, SockAddr, Socket, Type};

/// Binds and listens as asked, says how that went, then answers each connection with what it was sent.
const SERVER: &str = r#"
import errno, socket, sys
server = socket.socket()
try:
    server.bind(("127.0.0.1", int(sys.argv[1])))
    server.listen()
except OSError as error:
    print(errno.errorcode[error.errno], flush=True)
    sys.exit()
print("listening", flush=True)
while True:
    connection, address = server.accept()
    connection.sendall(b"%s " % address[0].encode() + connection.recv(10))
    connection.close()
"#;

/// A directory with the shim and the rendezvous in it.
struct Place {
    directory: PathBuf,
    rendezvous: Socket,
}

impl Place {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "ff-shim-{}-{}",
            std::process::id(),
            NUMBER.fetch_add(1, Relaxed)
        );
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir(&directory).expect("own directory");
        let image = directory.join("shim.so");
        std::fs::write(&image, SHIM).expect("the shim is written");
        std::fs::set_permissions(&image, std::fs::Permissions::from_mode(0o500)).expect("mode");
        let rendezvous = Socket::new(Domain::UNIX, Type::SEQPACKET, None).expect("socket");
        let address = SockAddr::unix(directory.join("join.sock")).expect("a short path");
        rendezvous.bind(&address).expect("bind");
        rendezvous.listen(8).expect("listen");
        rendezvous
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("time-out");
        Self {
            directory,
            rendezvous,
        }
    }

    /// Starts the server, as a worker of the primary that this test is.
    fn server(&self, port: u16) -> Server {
        self.changed_server(port, |command| {
            command
                .env("FORKFRONT_RENDEZVOUS", self.directory.join("join.sock"))
                .env("FORKFRONT_WORKER", "7")
                .env("FORKFRONT_PRIMARY", std::process::id().to_string());
        })
    }

    fn changed_server(&self, port: u16, change: impl FnOnce(&mut Command)) -> Server {
        let mut command = Command::new("python3");
        command
            .args(["-c", SERVER, &port.to_string()])
            .env("LD_PRELOAD", self.directory.join("shim.so"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        change(&mut command);
        Server(command.spawn().expect("python starts"))
    }

    /// Answers the next request, which must be `verb`; descriptors as given.
    #[track_caller]
    fn answer(&self, verb: Verb, answer: &Answer, fds: &[BorrowedFd<'_>]) -> Request {
        let (caller, _) = self.rendezvous.accept().expect("somebody asks");
        let mut bytes = [0; 2048];
        let length = (&caller).read(&mut bytes).expect("a request");
        let request = Request::decode(&bytes[..length]).expect("of this version");
        assert_eq!((request.verb, request.worker), (verb, 7));
        post(&caller, &answer.encode(), fds);
        request
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

struct Server(Child);

impl Server {
    /// The next line on its standard output.
    #[track_caller]
    fn says(&mut self, expected: &str) {
        let out = self.0.stdout.as_mut().expect("piped");
        let mut line = Vec::new();
        let mut byte = [0];
        while out.read(&mut byte).expect("read") == 1 && byte[0] != b'\n' {
            line.push(byte[0]);
        }
        assert_eq!(String::from_utf8_lossy(&line), expected);
    }

    fn complaints(mut self) -> String {
        let mut text = String::new();
        let err = self.0.stderr.as_mut().expect("piped");
        err.read_to_string(&mut text).expect("text");
        text
    }

    fn descriptors(&self) -> usize {
        let directory = Path::new("/proc").join(self.0.id().to_string()).join("fd");
        std::fs::read_dir(directory).expect("it lives").count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn post(socket: &impl AsRawFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
    let raw: Vec<_> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control = if raw.is_empty() { &[][..] } else { &rights[..] };
    let flags = MsgFlags::MSG_NOSIGNAL;
    sendmsg::<()>(
        socket.as_raw_fd(),
        &[IoSlice::new(bytes)],
        control,
        flags,
        None,
    )
    .expect("sent");
}

/// A client, and the socket that its connection was accepted as.
fn connection() -> (TcpStream, OwnedFd) {
    let door = TcpListener::bind("127.0.0.1:0").expect("bind");
    let client = TcpStream::connect(door.local_addr().expect("bound")).expect("connect");
    let (accepted, _) = door.accept().expect("accept");
    client
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("time-out");
    (client, accepted.into())
}

fn record() -> Record {
    let mut ip = [0; 16];
    ip[..4].copy_from_slice(&[192, 0, 2, 33]);
    Record {
        peer: Address {
            family: Family::V4,
            port: 4444,
            ip,
            ..Address::default()
        },
        ..Record::control(Kind::Connection, 0)
    }
}

#[track_caller]
fn is_served(mut client: TcpStream) {
    client.write_all(b"hello").expect("write");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("an answer");
    assert_eq!(answer, "192.0.2.33 hello");
}

fn free_port() -> u16 {
    let probe = TcpListener::bind("127.0.0.1:0").expect("bind");
    probe.local_addr().expect("bound").port()
}

/// The server has a listening socket of its own at this port, and sees its client by the kernel's word.
#[track_caller]
fn serves_by_itself(port: u16) {
    let mut client = TcpStream::connect(("127.0.0.1", port)).expect("its own listener");
    client.write_all(b"hello").expect("write");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("an answer");
    assert_eq!(answer, "127.0.0.1 hello");
}

#[test]
fn messages_that_no_primary_sends_cost_nothing() {
    let place = Place::new();
    let mut server = place.server(7777);
    let Channel { ours, theirs } = Channel::new(64).expect("a channel");
    let board = Board::create(0, 7).expect("a scoreboard");
    let channel = Answer::plain(Outcome::Channel);
    let asked = place.answer(Verb::Bind, &channel, &[theirs.as_fd(), board.as_fd()]);
    assert_eq!(
        (asked.address.family, asked.address.port),
        (Family::V4, 7777)
    );
    place.answer(Verb::Listen, &Answer::errno(0), &[]);
    server.says("listening");

    let (client, accepted) = connection();
    post(&ours, &record().encode(), &[accepted.as_fd()]);
    drop(accepted);
    is_served(client);
    let before = server.descriptors();

    let good = record().encode();
    let (mut version, mut kind) = (good, good);
    version[0] = 99;
    kind[1] = 99;
    let (_held, stray) = connection();
    for bytes in [&b""[..], &b"x"[..], &good[..79], &version[..], &kind[..]] {
        post(&ours, bytes, &[stray.as_fd()]);
        post(&ours, bytes, &[stray.as_fd(), stray.as_fd(), stray.as_fd()]);
    }
    post(&ours, &Record::control(Kind::Wake, 0).encode(), &[]);
    post(
        &ours,
        &Record::control(Kind::Drain, 0).encode(),
        &[stray.as_fd()],
    );
    post(&ours, &good, &[]);
    let many: Vec<_> = (0..100).map(|_| stray.as_fd()).collect();
    post(&ours, b"many", &many);

    let (client, accepted) = connection();
    let several = [accepted.as_fd(), stray.as_fd(), stray.as_fd()];
    post(&ours, &good, &several);
    drop(accepted);
    is_served(client);
    let (client, accepted) = connection();
    post(&ours, &good, &[accepted.as_fd()]);
    drop(accepted);
    is_served(client);
    assert_eq!(server.descriptors(), before, "descriptors of the server");
    assert_eq!(board.open(), 0);
    // The record without its connection, and the hundred for which there was no room.
    assert_eq!(board.truncated.load(Relaxed), 2);
}

#[test]
fn the_primary_decides_about_bind() {
    let place = Place::new();
    let mut refused = place.server(7778);
    place.answer(Verb::Bind, &Answer::errno(libc::EADDRINUSE), &[]);
    refused.says("EADDRINUSE");

    let port = free_port();
    let mut own = place.server(port);
    place.answer(Verb::Bind, &Answer::plain(Outcome::PassThrough), &[]);
    // A listening socket may be the primary's too, so it is asked once more: this one is not.
    place.answer(Verb::Recognise, &Answer::errno(libc::EINVAL), &[]);
    own.says("listening");
    serves_by_itself(port);
}

#[test]
fn a_primary_that_is_gone_is_said_in_one_sentence() {
    let place = Place::new();
    std::fs::remove_file(place.directory.join("join.sock")).expect("it was there");
    let mut server = place.server(7779);
    server.says("ECONNREFUSED");
    let text = server.complaints();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("does not answer"), "{text}");
    assert!(text.contains("join.sock"), "{text}");
}

#[test]
fn without_a_primary_in_the_environment_nothing_changes() {
    let place = Place::new();
    let port = free_port();
    let mut server = place.changed_server(port, |_| {});
    server.says("listening");
    serves_by_itself(port);
}

/// What the shim may want from the program it is loaded into: nothing that glibc and musl do not both have.
#[test]
fn it_needs_no_library_and_no_version() {
    let place = Place::new();
    let list = |program: &str, option: &str| {
        let image = place.directory.join("shim.so");
        let output = Command::new(program).arg(option).arg(image).output();
        String::from_utf8(output.expect("binutils").stdout).expect("text")
    };
    let dynamic = list("readelf", "-dW");
    for word in ["NEEDED", "TEXTREL", "RPATH", "RUNPATH"] {
        assert!(!dynamic.contains(word), "{word} in\n{dynamic}");
    }
    assert!(!list("readelf", "-VW").contains("Version needs"));
    let symbols = list("nm", "-D");
    let undefined: Vec<&str> = symbols
        .lines()
        .filter_map(|line| {
            line.trim_start()
                .strip_prefix("U ")
                .or(line.trim_start().strip_prefix("w "))
        })
        .collect();
    let shared = [
        "__errno_location",
        // Weak, and asked for only where there is no dlsym.
        "__fork",
        "bcmp",
        "clock_gettime",
        "dlsym",
        "environ",
        "memcpy",
        "memmove",
        "memset",
        "recvmsg",
        "strlen",
    ];
    assert!(!undefined.is_empty());
    for symbol in undefined {
        assert!(shared.contains(&symbol), "{symbol} is not everywhere");
    }
}
