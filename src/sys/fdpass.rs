//! One message, at most one file descriptor: the system calls of the hand-off. No allocation.
//!
//! Sending distinguishes the weather (a full channel, too many fds in flight) from a channel that is
//! broken; receiving never leaks or silently drops a descriptor (KF8, KF11, KF12).

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

/// What became of a message. The caller still owns the descriptor it sent a copy of.
#[derive(Debug)]
pub enum Sent {
    /// It is in the channel.
    Done,
    /// The channel is full, or the kernel is short of memory; later.
    Full,
    /// The user has too many descriptors in flight, over all channels (`ETOOMANYREFS`, KF9); later.
    InFlightLimit,
    /// The channel can never be sent to again.
    Broken(io::Error),
}

/// What came.
#[derive(Debug)]
pub enum Received {
    /// `length` bytes, and the descriptor if there was one.
    Message {
        /// Bytes written into the caller's buffer.
        length: usize,
        /// The first descriptor; any further one has been closed.
        fd: Option<OwnedFd>,
        /// The kernel had to throw a descriptor away (`MSG_CTRUNC`): no number was free.
        truncated: bool,
    },
    /// Nothing is queued.
    Empty,
    /// The other end is gone and nothing is queued.
    Closed,
}

/// Space for one descriptor by the rules of cmsg(3); padding makes room for two on 64-bit (KF11).
const CONTROL: usize =
    // SAFETY: CMSG_SPACE only computes.
    unsafe { libc::CMSG_SPACE(size_of::<RawFd>() as u32) as usize };

/// Control buffer with the alignment that `cmsghdr` asks for.
#[repr(C, align(8))]
struct Control([MaybeUninit<u8>; CONTROL]);

/// Sends `bytes` with a copy of `fd`. Never blocks, never raises SIGPIPE.
pub fn send(channel: BorrowedFd<'_>, bytes: &[u8], fd: Option<BorrowedFd<'_>>) -> Sent {
    let mut vector = libc::iovec {
        iov_base: bytes.as_ptr() as *mut _,
        iov_len: bytes.len(),
    };
    let mut control = Control([MaybeUninit::uninit(); CONTROL]);
    let message = head(&mut vector, &mut control, fd);
    loop {
        // SAFETY: `message` points at live buffers of the lengths it states; the kernel only reads them.
        let sent = unsafe {
            libc::sendmsg(
                channel.as_raw_fd(),
                &message,
                libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
            )
        };
        if sent >= 0 {
            return Sent::Done;
        }
        let error = io::Error::last_os_error();
        return match error.raw_os_error() {
            Some(libc::EINTR) => continue,
            Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => Sent::Full,
            Some(libc::ETOOMANYREFS) => Sent::InFlightLimit,
            _ => Sent::Broken(error),
        };
    }
}

/// Most messages of one [`send_many`].
pub const MANY: usize = 64;

/// Sends messages, each with a copy of its descriptor, in order, by one system call. Says how many are in the channel:
/// fewer than all if the next one would not go in, and [`send`] will say why. Never blocks, never raises SIGPIPE.
pub fn send_many<'a>(
    channel: BorrowedFd<'_>,
    messages: impl Iterator<Item = (&'a [u8], BorrowedFd<'a>)>,
) -> usize {
    let mut vectors = [const { MaybeUninit::<libc::iovec>::uninit() }; MANY];
    let mut controls = [const { Control([MaybeUninit::uninit(); CONTROL]) }; MANY];
    let mut heads = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; MANY];
    let mut count = 0;
    let places = vectors.iter_mut().zip(&mut controls).zip(&mut heads);
    for (((vector, control), message), (bytes, fd)) in places.zip(messages) {
        let vector = vector.write(libc::iovec {
            iov_base: bytes.as_ptr() as *mut _,
            iov_len: bytes.len(),
        });
        message.write(libc::mmsghdr {
            msg_hdr: head(vector, control, Some(fd)),
            msg_len: 0,
        });
        count += 1;
    }
    // SAFETY: the first `count` heads are written, and point at live buffers of the lengths that they state; the kernel
    // only reads those, and writes `msg_len`.
    let sent = unsafe {
        libc::sendmmsg(
            channel.as_raw_fd(),
            heads.as_mut_ptr().cast(),
            count,
            // An int with glibc, an unsigned one with musl.
            (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _,
        )
    };
    usize::try_from(sent).unwrap_or(0)
}

/// The head of a message, with one descriptor or none. It points at what it was made of.
fn head(
    vector: &mut libc::iovec,
    control: &mut Control,
    fd: Option<BorrowedFd<'_>>,
) -> libc::msghdr {
    // SAFETY: `msghdr` is plain data for which all-zero is valid.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = vector;
    message.msg_iovlen = 1;
    let Some(fd) = fd else {
        return message;
    };
    *control = Control([MaybeUninit::zeroed(); CONTROL]);
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = CONTROL as _;
    // SAFETY: the control buffer is aligned and has room for one header with one descriptor, so CMSG_FIRSTHDR is not
    // null and CMSG_DATA points into the buffer.
    unsafe {
        let header = libc::CMSG_FIRSTHDR(&message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(size_of::<RawFd>() as u32) as _;
        ptr::write_unaligned(libc::CMSG_DATA(header).cast::<RawFd>(), fd.as_raw_fd());
    }
    message
}

/// Receives one message into `buffer`; the descriptor comes close-on-exec. Blocks only if `wait` is set
/// and the channel is in blocking mode.
///
/// # Errors
/// Those of recvmsg(2) other than `EAGAIN`; `Interrupted` only when waiting.
pub fn receive(channel: BorrowedFd<'_>, buffer: &mut [u8], wait: bool) -> io::Result<Received> {
    let mut vector = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    let mut control = Control([MaybeUninit::zeroed(); CONTROL]);
    // SAFETY: `msghdr` is plain data for which all-zero is valid.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &mut vector;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = CONTROL as _;
    let flags = libc::MSG_CMSG_CLOEXEC | if wait { 0 } else { libc::MSG_DONTWAIT };
    // SAFETY: `message` points at live, writable buffers of the lengths it states.
    let length = unsafe { libc::recvmsg(channel.as_raw_fd(), &mut message, flags) };
    if length < 0 {
        let error = io::Error::last_os_error();
        return match error.raw_os_error() {
            Some(libc::EAGAIN) => Ok(Received::Empty),
            Some(libc::EINTR) if !wait => receive(channel, buffer, wait),
            // The other end was closed with its filling unread. Said once, before what is still queued.
            Some(libc::ECONNRESET) => receive(channel, buffer, wait),
            _ => Err(error),
        };
    }
    let fd = take_descriptors(&message);
    let truncated = message.msg_flags & libc::MSG_CTRUNC != 0;
    if length == 0 && fd.is_none() && !truncated {
        return Ok(Received::Closed);
    }
    Ok(Received::Message {
        length: length as usize,
        fd,
        truncated,
    })
}

/// Takes the first descriptor out of a received message and closes all others.
fn take_descriptors(message: &libc::msghdr) -> Option<OwnedFd> {
    let mut first = None;
    // SAFETY: `message` was filled in by recvmsg, so the CMSG macros walk within its control buffer; each
    // descriptor found there was created for this process by the kernel and is owned by nobody else.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                let bytes = (*header).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                let data = libc::CMSG_DATA(header).cast::<RawFd>();
                for index in 0..bytes / size_of::<RawFd>() {
                    let fd = OwnedFd::from_raw_fd(ptr::read_unaligned(data.add(index)));
                    first.get_or_insert(fd);
                }
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
    first
}
