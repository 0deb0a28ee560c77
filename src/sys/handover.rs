//! Descriptors on their way from one image of the primary to the next, across an exec of the same process.
//!
//! Who freezes packs what it owns into the [`Luggage`] and writes the [`Ticket`] into its state, which is plain
//! values; who thaws takes it back by the ticket. That is the same in the old image, whose exec failed, and in
//! the new one. Decides nothing, and never touches what a descriptor leads to. Only the upgrade calls
//! [`Luggage::claim`], once, before anything else is opened.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{SockType, getsockopt, sockopt};
use nix::sys::stat::{SFlag, fstat};
use serde::{Deserialize, Serialize};
use socket2::{Domain, SockRef};

use super::process;

mod bytes;

pub use bytes::{Bytes, path, path_if_any, words};

/// What a descriptor must be to be taken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A stream socket, TCP or Unix, that listens or is to listen.
    Listener,
    /// A client's connection, TCP or Unix. Never shown to a pre-flight: a copy would swallow the worker's FIN.
    Connection,
    /// An end of a channel, or a caller of the rendezvous, or its listener: `AF_UNIX`, `SOCK_SEQPACKET`.
    Packets,
    /// A client of the control socket, or its listener: `AF_UNIX`, `SOCK_STREAM`.
    Control,
    /// A process.
    Pidfd,
    /// Memory: a scoreboard, a board of backends, a state.
    Memfd,
    /// An eventfd.
    Bell,
    /// The read end of a worker's output.
    Pipe,
    /// A directory, with the lock on it.
    Directory,
    /// A file, with the lock on it; or a program (`O_PATH`).
    File,
}

/// What stands in a state for a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ticket(u32);

/// What a piece of luggage is called on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// Its number, the same in both images.
    pub fd: RawFd,
    /// What it is.
    pub kind: Kind,
}

/// All descriptors that go along.
#[derive(Debug, Default)]
pub struct Luggage<'a> {
    pieces: Vec<Piece<'a>>,
    /// Originals stay here and copies are taken, so that there is a way back until this is dropped.
    way_back: bool,
}

/// One of them.
#[derive(Debug)]
enum Piece<'a> {
    /// Its former owner has stopped and takes it back if the exec fails.
    Packed(Kind, OwnedFd),
    /// Its owner goes on with it if the exec fails.
    Lent(Kind, BorrowedFd<'a>),
    /// Was taken out.
    Gone,
}

impl Piece<'_> {
    fn named(&self) -> Option<(Kind, BorrowedFd<'_>)> {
        match self {
            Self::Packed(kind, fd) => Some((*kind, fd.as_fd())),
            Self::Lent(kind, fd) => Some((*kind, *fd)),
            Self::Gone => None,
        }
    }
}

impl<'a> Luggage<'a> {
    /// Puts a descriptor in.
    pub fn pack(&mut self, kind: Kind, fd: impl Into<OwnedFd>) -> Ticket {
        self.put(Piece::Packed(kind, fd.into()))
    }

    /// Puts a descriptor in whose owner keeps it in this image.
    pub fn lend(&mut self, kind: Kind, fd: BorrowedFd<'a>) -> Ticket {
        self.put(Piece::Lent(kind, fd))
    }

    fn put(&mut self, piece: Piece<'a>) -> Ticket {
        self.pieces.push(piece);
        Ticket((self.pieces.len() - 1) as u32)
    }

    /// What was packed, under the same tickets, without what was only lent.
    pub fn unlent(self) -> Luggage<'static> {
        let unlent = |piece: Piece<'a>| match piece {
            Piece::Packed(kind, fd) => Piece::Packed(kind, fd),
            Piece::Lent(..) | Piece::Gone => Piece::Gone,
        };
        Luggage {
            pieces: self.pieces.into_iter().map(unlent).collect(),
            way_back: self.way_back,
        }
    }

    /// Takes a packed descriptor out, close-on-exec.
    ///
    /// # Errors
    /// `InvalidData` if there is none of this kind under the ticket, or it was taken before.
    pub fn take(&mut self, ticket: Ticket, kind: Kind) -> io::Result<OwnedFd> {
        let piece = self.pieces.get_mut(ticket.0 as usize);
        let absent = || {
            let why = format!("the state names a {kind:?} that did not come along");
            io::Error::new(io::ErrorKind::InvalidData, why)
        };
        let piece = piece.ok_or_else(absent)?;
        if self.way_back
            && let Piece::Packed(is, original) = piece
            && *is == kind
            // Without a free number there is no way back from here, but a way on.
            && let Ok(copy) = original.try_clone()
        {
            return Ok(copy);
        }
        match std::mem::replace(piece, Piece::Gone) {
            Piece::Packed(is, fd) if is == kind => Ok(fd),
            other => {
                *piece = other;
                Err(absent())
            }
        }
    }

    /// What is in here, by its numbers, in the order of the tickets.
    pub fn labels(&self) -> Vec<Label> {
        let pieces = self.pieces.iter().filter_map(Piece::named);
        let label = |(kind, fd): (Kind, BorrowedFd<'_>)| Label {
            fd: fd.as_raw_fd(),
            kind,
        };
        pieces.map(label).collect()
    }

    /// What is in here and may be shown to a pre-flight.
    pub fn shown(&self) -> Vec<BorrowedFd<'_>> {
        let pieces = self.pieces.iter().filter_map(Piece::named);
        let shown = pieces.filter(|(kind, _)| *kind != Kind::Connection);
        shown.map(|(_, fd)| fd).collect()
    }

    /// All that is in here.
    pub fn all(&self) -> Vec<BorrowedFd<'_>> {
        let pieces = self.pieces.iter().filter_map(Piece::named);
        pieces.map(|(_, fd)| fd).collect()
    }

    /// Takes over what the former image left open under these labels, in their order, once all are found to be
    /// what they are called. Copies are taken from it as long as there are free numbers, so that the originals
    /// are there for a way back until this is dropped.
    ///
    /// # Errors
    /// `InvalidData` for a number that is not open, is named twice or is no such thing; all stay open then.
    pub fn claim(labels: &[Label]) -> io::Result<Self> {
        check(labels, true)?;
        let own = |label: &Label| Ok(Piece::Packed(label.kind, own(label.fd)?));
        Ok(Self {
            pieces: labels.iter().map(own).collect::<io::Result<_>>()?,
            way_back: true,
        })
    }
}

/// Takes over one descriptor that was left open by this number.
///
/// # Errors
/// `InvalidData` if it is not open or is no such thing.
pub fn claim(fd: RawFd, kind: Kind) -> io::Result<OwnedFd> {
    check(&[Label { fd, kind }], true)?;
    own(fd)
}

/// From now on it is closed with its owner and on exec, as everything of ours.
fn own(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: open and named once (`check`), left open for this very process by the image before it, which is
    // gone; called before anything else is opened, so nobody else owns the number.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    fcntl(&fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(fd)
}

/// Looks whether these numbers are open and what they are called; connections only if they `came` along.
/// Changes nothing about them.
///
/// # Errors
/// `InvalidData` with a sentence about the first that is not.
pub fn check(labels: &[Label], came: bool) -> io::Result<()> {
    let mut seen = HashSet::new();
    for label in labels {
        let Label { fd, kind } = *label;
        let refuse = |why: &str| {
            let why = format!("descriptor {fd} of the state {why}");
            Err(io::Error::new(io::ErrorKind::InvalidData, why))
        };
        if fd <= libc::STDERR_FILENO {
            return refuse("is one of the standard three");
        }
        if !seen.insert(fd) {
            return refuse("is named twice");
        }
        if kind == Kind::Connection && !came {
            continue;
        }
        // SAFETY: only borrowed for the calls below, which answer EBADF if there is no such descriptor.
        let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
        match is(borrowed, kind) {
            Ok(true) => {}
            Ok(false) => return refuse(&format!("is no {kind:?}")),
            Err(error) => return refuse(&format!("is no {kind:?}: {error}")),
        }
    }
    Ok(())
}

fn is(fd: BorrowedFd<'_>, kind: Kind) -> io::Result<bool> {
    let format = || Ok::<_, Errno>(fstat(fd)?.st_mode & SFlag::S_IFMT.bits());
    let socket = |unix: bool, wanted: SockType| {
        let domain = SockRef::from(&fd).domain()?;
        let fits = if unix {
            domain == Domain::UNIX
        } else {
            [Domain::UNIX, Domain::IPV4, Domain::IPV6].contains(&domain)
        };
        Ok::<_, io::Error>(fits && getsockopt(&fd, sockopt::SockType)? == wanted)
    };
    Ok(match kind {
        Kind::Listener | Kind::Connection => socket(false, SockType::Stream)?,
        Kind::Packets => socket(true, SockType::SeqPacket)?,
        Kind::Control => socket(true, SockType::Stream)?,
        Kind::Pidfd => process::is_pidfd(fd),
        Kind::Memfd => fcntl(fd, FcntlArg::F_GET_SEALS).is_ok(),
        Kind::Bell => is_eventfd(fd),
        Kind::Pipe => format()? == SFlag::S_IFIFO.bits(),
        Kind::Directory => format()? == SFlag::S_IFDIR.bits(),
        Kind::File => format()? == SFlag::S_IFREG.bits(),
    })
}

fn is_eventfd(fd: BorrowedFd<'_>) -> bool {
    let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
    std::fs::read_link(link).is_ok_and(|name| name.as_os_str() == "anon_inode:[eventfd]")
}

/// What the next image would find, for tests: copies under other numbers, in place of those that an exec keeps.
#[cfg(test)]
pub fn crossed(luggage: &Luggage<'_>) -> Luggage<'static> {
    use std::os::fd::IntoRawFd;
    let labels = luggage.labels();
    let copies = luggage
        .all()
        .into_iter()
        .zip(labels)
        .map(|(fd, label)| Label {
            fd: fd
                .try_clone_to_owned()
                .expect("a free number")
                .into_raw_fd(),
            ..label
        });
    Luggage::claim(&copies.collect::<Vec<_>>()).expect("all are what they were packed as")
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::IntoRawFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn what_is_packed_is_taken_back_once_and_as_what_it_is() {
        let mut luggage = Luggage::default();
        let (one, other) = UnixStream::pair().unwrap();
        let number = one.as_raw_fd();
        let (one, other) = (
            luggage.pack(Kind::Control, one),
            luggage.pack(Kind::Connection, other),
        );
        assert_eq!((luggage.labels().len(), luggage.shown().len()), (2, 1));
        assert!(luggage.take(one, Kind::Packets).is_err());
        assert_eq!(
            luggage.take(one, Kind::Control).unwrap().as_raw_fd(),
            number
        );
        assert!(luggage.take(one, Kind::Control).is_err(), "twice");
        assert!(luggage.take(Ticket(9), Kind::Control).is_err());
        luggage.take(other, Kind::Connection).unwrap();
        assert!(luggage.labels().is_empty());
    }

    #[test]
    fn what_is_lent_goes_along_and_stays_with_its_owner() {
        let (one, other) = UnixStream::pair().unwrap();
        let mut luggage = Luggage::default();
        let lent = luggage.lend(Kind::Control, one.as_fd());
        let packed = luggage.pack(Kind::Control, other);
        assert_eq!(luggage.labels().len(), 2);
        assert!(luggage.take(lent, Kind::Control).is_err());
        let mut luggage = luggage.unlent();
        assert_eq!(luggage.labels().len(), 1);
        luggage.take(packed, Kind::Control).unwrap();
        assert!(fstat(&one).is_ok());
    }

    #[test]
    fn what_came_along_is_taken_as_a_copy_while_there_is_a_way_back() {
        let fd = OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
        let label = Label {
            fd: fd.into_raw_fd(),
            kind: Kind::Listener,
        };
        let mut luggage = Luggage::claim(&[label]).unwrap();
        let copy = luggage.take(Ticket(0), Kind::Listener).unwrap();
        assert_ne!(copy.as_raw_fd(), label.fd);
        assert_eq!(luggage.labels(), [label]);
    }

    #[test]
    fn nothing_is_taken_for_what_it_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let memory =
            nix::sys::memfd::memfd_create(c"x", nix::sys::memfd::MFdFlags::MFD_CLOEXEC).unwrap();
        let (pipe, _writer) = std::io::pipe().unwrap();
        let (stream, _peer) = UnixStream::pair().unwrap();
        let process = process::open_pidfd(std::process::id()).unwrap();
        let directory = std::fs::File::open("/").unwrap();
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        let all = [
            (listener.as_raw_fd(), vec![Kind::Listener, Kind::Connection]),
            (
                stream.as_raw_fd(),
                vec![Kind::Listener, Kind::Connection, Kind::Control],
            ),
            (memory.as_raw_fd(), vec![Kind::Memfd, Kind::File]),
            (pipe.as_raw_fd(), vec![Kind::Pipe]),
            (process.as_raw_fd(), vec![Kind::Pidfd]),
            (directory.as_raw_fd(), vec![Kind::Directory]),
            (file.as_raw_fd(), vec![Kind::File]),
            (99_999, vec![]),
        ];
        let kinds = [
            Kind::Listener,
            Kind::Connection,
            Kind::Packets,
            Kind::Control,
            Kind::Pidfd,
            Kind::Memfd,
            Kind::Pipe,
            Kind::Directory,
            Kind::File,
        ];
        for (fd, fits) in all {
            for kind in kinds {
                let checked = check(&[Label { fd, kind }], true);
                assert_eq!(
                    checked.is_ok(),
                    fits.contains(&kind),
                    "{fd} as {kind:?}: {checked:?}"
                );
            }
        }
        let label = Label {
            fd: pipe.as_raw_fd(),
            kind: Kind::Pipe,
        };
        assert!(
            check(&[label, label], true)
                .unwrap_err()
                .to_string()
                .contains("twice")
        );
        assert!(
            check(
                &[Label {
                    fd: 1,
                    kind: Kind::Pipe
                }],
                true
            )
            .is_err()
        );
        let absent = Label {
            fd: 99_999,
            kind: Kind::Connection,
        };
        check(&[absent], false).unwrap();
    }
}
