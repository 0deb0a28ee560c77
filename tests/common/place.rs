//! The preload shim without the program: a server that has it loaded, and the test as its primary, which can send
//! what the real one never would.

use std::io::{IoSlice, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use forkfront::shim_image::SHIM;
use forkfront::sys::board::Board;
use forkfront::sys::channel::Channel;
use forkfront::wire::{Answer, Outcome, Record, Request, Verb};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use socket2::{Domain, SockAddr, Socket, Type};

/// A directory with the shim and the rendezvous in it.
pub struct Place {
    /// Goes with the place.
    pub directory: PathBuf,
    rendezvous: Socket,
}

impl Place {
    /// One of its own.
    pub fn new() -> Self {
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

    /// Starts a server as a worker of the primary that this test is.
    pub fn server(&self, command: &[&str]) -> Preloaded {
        self.changed_server(command, |command| {
            command
                .env("FORKFRONT_RENDEZVOUS", self.directory.join("join.sock"))
                .env("FORKFRONT_WORKER", "7")
                .env("FORKFRONT_PRIMARY", std::process::id().to_string());
        })
    }

    /// Starts a server that has the shim and what `change` gives it.
    pub fn changed_server(&self, words: &[&str], change: impl FnOnce(&mut Command)) -> Preloaded {
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .env("LD_PRELOAD", self.directory.join("shim.so"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        change(&mut command);
        Preloaded(command.spawn().expect("it starts"))
    }

    /// Answers the next request, which must be `verb`; descriptors as given.
    #[track_caller]
    pub fn answer(&self, verb: Verb, answer: &Answer, fds: &[BorrowedFd<'_>]) -> Request {
        let (caller, _) = self.rendezvous.accept().expect("somebody asks");
        let mut bytes = [0; 2048];
        let length = (&caller).read(&mut bytes).expect("a request");
        let request = Request::decode(&bytes[..length]).expect("of this version");
        assert_eq!((request.verb, request.worker), (verb, 7));
        post(&caller, &answer.encode(), fds);
        request
    }

    /// Lets the next server have a channel, and waits until it listens.
    #[track_caller]
    pub fn channel(&self) -> Dealer {
        let Channel { ours, theirs } = Channel::new(64).expect("a channel");
        let board = Board::create(0, 7).expect("a scoreboard");
        let given = [theirs.as_fd(), board.as_fd()];
        let asked = self.answer(Verb::Bind, &Answer::plain(Outcome::Channel), &given);
        self.answer(Verb::Listen, &Answer::errno(0), &[]);
        Dealer {
            channel: Channel { ours, theirs },
            board,
            asked,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// The primary's side of a channel.
pub struct Dealer {
    channel: Channel,
    /// What the shim counts.
    pub board: Board,
    /// What the server asked for.
    pub asked: Request,
}

impl Dealer {
    /// Sends a connection.
    #[track_caller]
    pub fn deal(&self, record: &Record, connection: &impl AsFd) {
        self.post(&record.encode(), &[connection.as_fd()]);
    }

    /// Sends any bytes with any descriptors.
    #[track_caller]
    pub fn post(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
        post(&self.channel.ours, bytes, fds);
    }
}

/// A program with the shim in it.
pub struct Preloaded(Child);

impl Preloaded {
    /// The next line on its standard output is `expected`.
    #[track_caller]
    pub fn says(&mut self, expected: &str) {
        let out = self.0.stdout.as_mut().expect("piped");
        let mut line = Vec::new();
        let mut byte = [0];
        while out.read(&mut byte).expect("read") == 1 && byte[0] != b'\n' {
            line.push(byte[0]);
        }
        assert_eq!(String::from_utf8_lossy(&line), expected);
    }

    /// All that it writes to standard error until its end.
    pub fn complaints(mut self) -> String {
        let mut text = String::new();
        let err = self.0.stderr.as_mut().expect("piped");
        err.read_to_string(&mut text).expect("text");
        text
    }

    /// Its pid.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// How many it has open.
    pub fn descriptors(&self) -> usize {
        let directory = Path::new("/proc").join(self.0.id().to_string()).join("fd");
        std::fs::read_dir(directory).expect("it lives").count()
    }
}

impl Drop for Preloaded {
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
    let bytes = [IoSlice::new(bytes)];
    sendmsg::<()>(socket.as_raw_fd(), &bytes, control, flags, None).expect("sent");
}
