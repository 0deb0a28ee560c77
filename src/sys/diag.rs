//! Questions to the kernel about its sockets, by sock_diag(7): a message that asks, messages that answer. What is
//! asked and what an answer means is up to those who call: [`process::connections`](super::process) and
//! [`unix_accept_queue`], which asks for `status`.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};
use nix::sys::stat::fstat;

/// linux/netlink.h: types of messages, flags of a request, sizes.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST_DUMP: u16 = 0x1 | 0x300;
const HEADER: usize = 16;
/// What one receive may bring; the kernel fills up to 32 KiB at a time.
const BUFFER: usize = 1 << 16;

/// linux/unix_diag.h: the inode in a `struct unix_diag_msg`, its size, `UDIAG_SHOW_RQLEN`, the attribute that comes
/// of it, and `TCP_LISTEN` as a bit.
const UNIX_INODE: usize = 4;
const UNIX_MESSAGE: usize = 16;
const SHOW_QUEUES: u32 = 0x10;
const UNIX_DIAG_RQLEN: u16 = 4;
const LISTENING: u32 = 1 << 10;

/// The accept queue of a listening Unix socket: connections waiting in it, and its limit, as ss(8) shows them.
///
/// # Errors
/// Those of socket(2), send(2) and recv(2); `NotFound` for a socket that does not listen.
pub fn unix_accept_queue(listener: impl AsFd) -> io::Result<(u32, u32)> {
    let inode = fstat(listener)?.st_ino;
    let mut body = vec![libc::AF_UNIX as u8, 0, 0, 0];
    // States, inode (which only an answer has), what to show, cookie.
    for word in [LISTENING, 0, SHOW_QUEUES, 0, 0] {
        body.extend(word.to_ne_bytes());
    }
    let mut found = None;
    Diag::open()?.dump(&request(&body), |message| {
        if word(message, UNIX_INODE).map(u64::from) == Some(inode) {
            let attributes = message.get(UNIX_MESSAGE..).unwrap_or_default();
            let queues = attribute(attributes, UNIX_DIAG_RQLEN);
            found = queues.and_then(|both| Some((word(both, 0)?, word(both, 4)?)));
        }
    })?;
    found.ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// A question for all sockets that fit `body`, the request of their family.
pub fn request(body: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(HEADER + body.len());
    message.extend(((HEADER + body.len()) as u32).to_ne_bytes());
    message.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message.extend(NLM_F_REQUEST_DUMP.to_ne_bytes());
    // Sequence number and port: one question at a time, and the kernel knows whom it answers.
    message.extend([0; 8]);
    message.extend(body);
    message
}

/// A socket for questions to the kernel about sockets.
pub struct Diag(OwnedFd);

impl Diag {
    /// # Errors
    /// Those of socket(2).
    pub fn open() -> io::Result<Self> {
        Ok(Self(socket(
            AddressFamily::Netlink,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkSockDiag,
        )?))
    }

    /// Asks, and gives the body of each message of the answer to `each`.
    ///
    /// # Errors
    /// Those of send(2) and recv(2); what the kernel answers where it was built without sock_diag.
    pub fn dump(&self, request: &[u8], mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let fd = self.0.as_fd().as_raw_fd();
        send(fd, request, MsgFlags::empty())?;
        let mut buffer = vec![0; BUFFER];
        loop {
            // The kernel prepares the next part before it returns this one: there is always one to receive.
            let length = recv(fd, &mut buffer, MsgFlags::MSG_DONTWAIT)?;
            let mut rest = &buffer[..length];
            while let Some((kind, body, after)) = split(rest) {
                match kind {
                    SOCK_DIAG_BY_FAMILY => each(body),
                    NLMSG_DONE => return Ok(()),
                    NLMSG_ERROR => return Err(refusal(body)),
                    _ => {}
                }
                rest = after;
            }
        }
    }
}

/// The first message of `bytes`: its type, its body, and what follows it.
fn split(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = word(bytes, 0)? as usize;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let body = bytes.get(HEADER..length)?;
    let after = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((kind, body, after))
}

/// `struct nlmsgerr` begins with the negative errno.
fn refusal(body: &[u8]) -> io::Error {
    let errno = word(body, 0).map_or(libc::EPROTO, |word| (word as i32).wrapping_neg());
    io::Error::from_raw_os_error(errno)
}

/// The word at this offset.
pub fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(word.try_into().ok()?))
}

/// The value of the first attribute of this kind.
pub fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16::from_ne_bytes(attributes.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(attributes.get(2..4)?.try_into().ok()?);
        let value = attributes.get(4..length)?;
        if kind == wanted {
            return Some(value);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::{UnixListener, UnixStream};

    #[test]
    fn the_queue_of_a_unix_listener_is_read() {
        let name = format!("/tmp/ff-diag-{}.sock", std::process::id());
        let listener = UnixListener::bind(&name).unwrap();
        nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(7).unwrap()).unwrap();
        assert_eq!(unix_accept_queue(&listener).unwrap(), (0, 7));
        let _waiting = [(); 3].map(|()| UnixStream::connect(&name).unwrap());
        assert_eq!(unix_accept_queue(&listener).unwrap(), (3, 7));
        let error = unix_accept_queue(UnixStream::pair().unwrap().0).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        std::fs::remove_file(&name).unwrap();
    }

    #[test]
    fn what_is_no_answer_is_not_read() {
        assert_eq!(split(&[0; 8]), None);
        assert_eq!(split(&[0xff; 64]), None);
        assert_eq!(attribute(&[0; 24], 4), None);
        assert_eq!(attribute(&[0xff; 24], 4), None);
        assert_eq!(refusal(&[]).raw_os_error(), Some(libc::EPROTO));
    }
}
