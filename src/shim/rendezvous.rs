//! Questions to the primary: one connection, one request, one answer.
//!
//! Rare (bind, listen, close of a listener, options), so a connection each time; the accept path never
//! comes here. Blocking, with a deadline, and safe in signal handlers.

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::environment;
use crate::options::OptionList;
use crate::received::{self, Received};
use crate::sys::{
    self, AF_UNIX, EINTR, EMFILE, EPROTO, ETIMEDOUT, Errno, SO_RCVTIMEO, SO_SNDTIMEO,
    SOCK_SEQPACKET, SOL_SOCKET,
};
use crate::wire::{Address, Answer, MAX_OPTIONS, Request, SocketOption, Verb};

/// How long the primary may take to connect and to answer, seconds.
const PATIENCE: i64 = 10;
const REQUEST_MAX: usize = Request::LEN + MAX_OPTIONS * SocketOption::LEN;

/// An answer with the descriptors that came with it, -1 for none.
pub struct Reply {
    /// What the primary says.
    pub answer: Answer,
    /// In the order of [`crate::wire::Outcome`].
    pub fds: [i32; 2],
}

/// A request about the listener with this inode.
pub fn request(verb: Verb, inode: u64) -> Request {
    Request {
        verb,
        v6only: false,
        reuse_port: false,
        native: false,
        nonblocking: false,
        worker: environment::worker(),
        number: 0,
        address: Address::default(),
        inode,
    }
}

/// Asks and waits for the answer.
pub fn ask(request: &Request, options: &OptionList) -> Result<Reply, Errno> {
    let reply = open(request, options).and_then(|socket| {
        let reply = receive(socket);
        let _ = sys::close(socket);
        reply
    });
    reply.inspect_err(|error| complain(*error))
}

/// Says something to which there is no answer. If nobody hears it, nobody needs to.
pub fn tell(request: &Request) {
    if let Ok(socket) = open(request, &OptionList::default()) {
        let _ = sys::close(socket);
    }
}

fn open(request: &Request, options: &OptionList) -> Result<i32, Errno> {
    let socket = sys::socket(AF_UNIX, SOCK_SEQPACKET, 0)?;
    let sent = connect_and_send(socket, request, options);
    if sent.is_err() {
        let _ = sys::close(socket);
    }
    sent.map(|()| socket)
}

fn connect_and_send(socket: i32, request: &Request, options: &OptionList) -> Result<(), Errno> {
    let mut patience = [0; 16];
    patience[..8].copy_from_slice(&PATIENCE.to_ne_bytes());
    sys::set_option(socket, SOL_SOCKET, SO_SNDTIMEO, &patience)?;
    sys::set_option(socket, SOL_SOCKET, SO_RCVTIMEO, &patience)?;

    let path = environment::rendezvous();
    let mut address = [0; 110];
    address[..2].copy_from_slice(&(AF_UNIX as u16).to_ne_bytes());
    if let Some(room) = address.get_mut(2..2 + path.len()) {
        room.copy_from_slice(path);
    }
    // With its closing zero, as connect(2) wants a path.
    let address = address.get(..path.len() + 3).unwrap_or(&[]);
    patiently(|| sys::connect(socket, address))?;

    let mut bytes = [0; REQUEST_MAX];
    bytes[..Request::LEN].copy_from_slice(&request.encode());
    let mut len = Request::LEN;
    for option in options.iter() {
        if let Some(room) = bytes.get_mut(len..len + SocketOption::LEN) {
            room.copy_from_slice(&option.encode());
            len += SocketOption::LEN;
        }
    }
    patiently(|| sys::send(socket, bytes.get(..len).unwrap_or(&[])))?;
    Ok(())
}

fn receive(socket: i32) -> Result<Reply, Errno> {
    let mut bytes = [0; Answer::LEN];
    let Received {
        len,
        fds,
        truncated,
    } = patiently(|| received::answer(socket, &mut bytes))?;
    let answer = bytes.get(..len).and_then(Answer::decode);
    match answer {
        Some(answer) if !truncated => Ok(Reply { answer, fds }),
        _ => {
            for fd in fds.into_iter().filter(|fd| *fd >= 0) {
                let _ = sys::close(fd);
            }
            Err(if truncated { EMFILE } else { EPROTO })
        }
    }
}

/// Retries what a signal has cut short; a deadline that has passed is `ETIMEDOUT`.
fn patiently<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(EINTR) => {}
            Err(sys::EAGAIN) => return Err(ETIMEDOUT),
            other => return other,
        }
    }
}

/// One sentence on stderr, once per process: the server's own message will be a bare errno.
fn complain(Errno(code): Errno) {
    static SAID: AtomicBool = AtomicBool::new(false);
    if SAID.swap(true, Relaxed) {
        return;
    }
    let digits = [
        b'0' + (code / 100 % 10) as u8,
        b'0' + (code / 10 % 10) as u8,
        b'0' + (code % 10) as u8,
    ];
    let mut line = [0; 256];
    let mut len = 0;
    for part in [
        b"forkfront shim: the primary does not answer at ".as_slice(),
        environment::rendezvous(),
        b" (errno ",
        &digits,
        b"), so its port cannot be shared\n",
    ] {
        if let Some(room) = line.get_mut(len..len + part.len()) {
            room.copy_from_slice(part);
            len += part.len();
        }
    }
    let _ = sys::write(2, line.get(..len).unwrap_or(&[]));
}
