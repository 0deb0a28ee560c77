//! What one worker has to do with one listener: the channel that its `bind` was answered with.
//!
//! The primary's own end and the copy to read back from go to the dispatcher when the server first listens;
//! what stays here answers further questions about the same channel.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::stat::fstat;
use serde::{Deserialize, Serialize};
use socket2::{SockRef, Type};

use crate::policy::ids::ListenerId;
use crate::sys::channel::Channel;
use crate::sys::handover::{Kind, Luggage, Ticket};
use crate::wire::Address;

/// One worker's part in one listener.
#[derive(Debug)]
pub struct Binding {
    /// The listener.
    pub listener: ListenerId,
    /// What the worker's end is known by, wherever it is inherited to.
    pub inode: u64,
    /// The address that the server asked for.
    pub asked: Address,
    /// `IPV6_V6ONLY` as the server asked.
    pub v6only: bool,
    /// Its server listens; not before the first `listen`, nor after the last close.
    pub listening: bool,
    /// Its listener is no more. The binding stays for its place in the scoreboard.
    pub released: bool,
    /// What a `bind` is answered with: the worker's end, or under `--balance kernel` the listening socket.
    end: OwnedFd,
    /// Both ends for the dispatcher, until it has them.
    unadmitted: Option<Ends>,
}

/// What the dispatcher gets.
#[derive(Debug)]
pub struct Ends {
    /// The primary's end.
    pub ours: OwnedFd,
    /// The copy of the worker's end.
    pub kept: OwnedFd,
}

/// A binding for the next image.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FrozenBinding {
    listener: ListenerId,
    inode: u64,
    asked: [u8; Address::LEN],
    v6only: bool,
    listening: bool,
    released: bool,
    /// What it is, too: [`Kind::Packets`] or [`Kind::Listener`].
    end: (Ticket, Kind),
    unadmitted: Option<(Ticket, Ticket)>,
}

impl Binding {
    /// What the next image needs.
    pub fn freeze<'a>(&'a self, luggage: &mut Luggage<'a>) -> FrozenBinding {
        let Self {
            listener,
            inode,
            asked,
            v6only,
            listening,
            released,
            end,
            unadmitted,
        } = self;
        let mut address = [0; Address::LEN];
        asked.encode(&mut address);
        let kind = match SockRef::from(end).r#type() {
            Ok(Type::SEQPACKET) => Kind::Packets,
            _ => Kind::Listener,
        };
        let unadmitted = unadmitted.as_ref().map(|Ends { ours, kept }| {
            let ours = luggage.lend(Kind::Packets, ours.as_fd());
            (ours, luggage.lend(Kind::Packets, kept.as_fd()))
        });
        FrozenBinding {
            listener: *listener,
            inode: *inode,
            asked: address,
            v6only: *v6only,
            listening: *listening,
            released: *released,
            end: (luggage.lend(kind, end.as_fd()), kind),
            unadmitted,
        }
    }

    /// As another image left it.
    ///
    /// # Errors
    /// `InvalidData` if an end did not come along.
    pub fn thaw(frozen: FrozenBinding, luggage: &mut Luggage<'_>) -> io::Result<Self> {
        let unadmitted = match frozen.unadmitted {
            None => None,
            Some((ours, kept)) => Some(Ends {
                ours: luggage.take(ours, Kind::Packets)?,
                kept: luggage.take(kept, Kind::Packets)?,
            }),
        };
        Ok(Self {
            listener: frozen.listener,
            inode: frozen.inode,
            asked: Address::decode(&frozen.asked),
            v6only: frozen.v6only,
            listening: frozen.listening,
            released: frozen.released,
            end: luggage.take(frozen.end.0, frozen.end.1)?,
            unadmitted,
        })
    }

    /// A fresh channel with room for `capacity` hand-offs.
    ///
    /// # Errors
    /// Those of socketpair(2), setsockopt(2), fcntl(2) and fstat(2).
    pub fn over_channel(
        listener: ListenerId,
        asked: Address,
        v6only: bool,
        capacity: usize,
    ) -> io::Result<Self> {
        let Channel { ours, theirs } = Channel::new(capacity)?;
        let kept = theirs.try_clone()?;
        Ok(Self {
            unadmitted: Some(Ends { ours, kept }),
            ..Self::over_socket(listener, asked, v6only, theirs)?
        })
    }

    /// The listening socket itself, which the kernel deals from.
    ///
    /// # Errors
    /// Those of fstat(2).
    pub fn over_socket(
        listener: ListenerId,
        asked: Address,
        v6only: bool,
        end: OwnedFd,
    ) -> io::Result<Self> {
        Ok(Self {
            listener,
            inode: fstat(&end)?.st_ino,
            asked,
            v6only,
            listening: false,
            released: false,
            end,
            unadmitted: None,
        })
    }

    /// What the worker gets.
    pub fn end(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }

    /// The ends for the dispatcher, the first time.
    pub fn take_ends(&mut self) -> Option<Ends> {
        self.unadmitted.take()
    }
}
