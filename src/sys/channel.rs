//! The channel: one `SOCK_SEQPACKET` pair per worker and listener.
//!
//! To an unmodified server the worker's end *is* its listening socket, so it must never poll writable
//! (a listener never does): the direction from worker to primary is filled up at birth and never read.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, send, setsockopt, socketpair, sockopt,
};

use crate::sys::socket::bytes_queued;
use crate::wire::Record;

/// Send buffer that one queued hand-off costs, bytes (KF1: an skb of up to 128 payload bytes).
pub const COST: usize = 768;

/// Both ends, close-on-exec.
#[derive(Debug)]
pub struct Channel {
    /// The primary's end: sent to, never read, never polled.
    pub ours: OwnedFd,
    /// The worker's end: a copy goes to the worker, one is kept to read back from.
    pub theirs: OwnedFd,
}

impl Channel {
    /// A channel with room for `capacity` hand-offs, or as many as `net.core.wmem_max` allows.
    ///
    /// # Errors
    /// Those of socketpair(2) and setsockopt(2).
    pub fn new(capacity: usize) -> io::Result<Self> {
        let (ours, theirs) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )?;
        // The kernel doubles the value that it is given.
        let buffer = (capacity * COST).div_ceil(2);
        if setsockopt(&ours, sockopt::SndBufForce, &buffer).is_err() {
            setsockopt(&ours, sockopt::SndBuf, &buffer)?;
        }
        setsockopt(&theirs, sockopt::SndBuf, &1)?;
        fill(theirs.as_fd())?;
        Ok(Self { ours, theirs })
    }
}

/// Sends until nothing more fits.
fn fill(end: BorrowedFd<'_>) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    loop {
        match send(
            end.as_raw_fd(),
            &[0],
            MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL,
        ) {
            Ok(_) => {}
            Err(nix::errno::Errno::EAGAIN) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Hand-offs in the channel whose worker's end is `kept`: exact, whatever the worker says (KF3).
///
/// # Errors
/// Those of ioctl(2).
pub fn queued(kept: BorrowedFd<'_>) -> io::Result<usize> {
    Ok(bytes_queued(kept)? / Record::LEN)
}

/// Whether the worker has shut its end down (KF7): the next send would be `EPIPE`.
pub fn is_shut(ours: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(ours, PollFlags::empty())];
    let polled = poll(&mut fds, PollTimeout::ZERO);
    let hung_up = |events: PollFlags| events.contains(PollFlags::POLLHUP);
    polled.is_ok() && fds[0].revents().is_some_and(hung_up)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fdpass::{Received, Sent, receive, send as pass};
    use crate::wire::{Kind, Record};

    fn a_record(connection: u64) -> [u8; Record::LEN] {
        Record {
            connection,
            ..Record::control(Kind::Connection, 0)
        }
        .encode()
    }

    #[test]
    fn the_workers_end_never_polls_writable_and_counts_exactly() {
        let channel = Channel::new(64).unwrap();
        let polled = |events| {
            let mut fds = [PollFd::new(channel.theirs.as_fd(), events)];
            poll(&mut fds, PollTimeout::ZERO).unwrap()
        };
        assert_eq!(polled(PollFlags::POLLOUT | PollFlags::POLLIN), 0);
        for n in 0..10 {
            let sent = pass(
                channel.ours.as_fd(),
                &a_record(n),
                Some(channel.ours.as_fd()),
            );
            assert!(matches!(sent, Sent::Done));
        }
        assert_eq!(queued(channel.theirs.as_fd()).unwrap(), 10);
        assert_eq!(polled(PollFlags::POLLOUT), 0);
        assert_eq!(polled(PollFlags::POLLIN), 1);
    }

    #[test]
    fn holds_at_least_its_capacity_and_then_says_full() {
        let channel = Channel::new(100).unwrap();
        let mut sent = 0;
        while matches!(
            pass(channel.ours.as_fd(), &a_record(sent), None),
            Sent::Done
        ) {
            sent += 1;
        }
        assert!((100..=102).contains(&sent), "{sent} fitted");
        let mut buffer = [0; 256];
        for n in 0..sent {
            let Received::Message {
                length,
                fd: None,
                truncated: false,
            } = receive(channel.theirs.as_fd(), &mut buffer, false).unwrap()
            else {
                panic!("message {n} is missing")
            };
            assert_eq!(Record::decode(&buffer[..length]).unwrap().connection, n);
        }
        assert!(matches!(
            receive(channel.theirs.as_fd(), &mut buffer, false).unwrap(),
            Received::Empty
        ));
    }

    #[test]
    fn a_shut_down_channel_is_broken_but_can_be_read_back() {
        use nix::sys::socket::{Shutdown, shutdown};
        use std::os::fd::AsRawFd;
        let channel = Channel::new(8).unwrap();
        assert!(matches!(
            pass(channel.ours.as_fd(), &a_record(7), None),
            Sent::Done
        ));
        assert!(!is_shut(channel.ours.as_fd()));
        shutdown(channel.theirs.as_raw_fd(), Shutdown::Both).unwrap();
        assert!(is_shut(channel.ours.as_fd()));
        assert!(matches!(
            pass(channel.ours.as_fd(), &a_record(8), None),
            Sent::Broken(_)
        ));
        let mut buffer = [0; Record::LEN];
        let received = receive(channel.theirs.as_fd(), &mut buffer, false).unwrap();
        assert!(matches!(
            received,
            Received::Message {
                length: Record::LEN,
                ..
            }
        ));
        let end = receive(channel.theirs.as_fd(), &mut buffer, false).unwrap();
        assert!(matches!(end, Received::Closed));
    }
}
