//! Receiving a message with several descriptors: the answers of the rendezvous. The hot path, one
//! descriptor per message and no allocation, is [`fdpass`](crate::sys::fdpass).

use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::cmsg_space;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

/// The most descriptors that one answer carries.
pub const MAX_RIGHTS: usize = 4;

/// Receives one message and all its descriptors, close-on-exec. 0 bytes: the other end is gone.
///
/// # Errors
/// Those of recvmsg(2); `InvalidData` if a descriptor was lost on the way (`MSG_CTRUNC`): there were too many,
/// or no number was free for one of them.
pub fn receive_all(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = cmsg_space!([RawFd; MAX_RIGHTS]);
    let mut vectors = [IoSliceMut::new(buffer)];
    let message = recvmsg::<()>(
        socket.as_raw_fd(),
        &mut vectors,
        Some(&mut space),
        MsgFlags::MSG_CMSG_CLOEXEC,
    )?;
    let mut rights = Vec::with_capacity(MAX_RIGHTS);
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = part {
            for fd in fds {
                // SAFETY: the kernel made this descriptor for us in this very call; nobody else owns it.
                rights.push(unsafe { OwnedFd::from_raw_fd(fd) });
            }
        }
    }
    if message.flags.contains(MsgFlags::MSG_CTRUNC) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a descriptor was lost on its way",
        ));
    }
    Ok((message.bytes, rights))
}
