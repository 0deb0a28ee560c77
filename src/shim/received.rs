//! One message off a Unix socket, with every descriptor in it accounted for.
//!
//! A receiver that looks at the first descriptor only leaks the others (KF11), so all control messages
//! are walked and what nobody asked for is closed. Used by the accept path and by the rendezvous.

use core::ffi::c_void;
use core::ptr::null_mut;

use crate::next;
use crate::sys::{
    self, Errno, IoVec, MSG_CMSG_CLOEXEC, MSG_CTRUNC, MSG_DONTWAIT, MSG_PEEK, MsgHdr, SOL_SOCKET,
};

/// Room for the control data: many times what a well-behaved primary sends.
const CONTROL: usize = 128;
/// `struct cmsghdr`: a length, a level, a type.
const HEAD: usize = 16;
const SCM_RIGHTS: i32 = 1;

/// A message.
pub struct Received {
    /// Bytes of payload.
    pub len: usize,
    /// The first two descriptors, -1 for none.
    pub fds: [i32; 2],
    /// Descriptors were lost because there was no room for them.
    pub truncated: bool,
}

impl Received {
    /// Nothing more will come. An empty message with a descriptor in it is none of the primary's, but no end
    /// either (KF12).
    pub fn is_end(&self) -> bool {
        self.len == 0 && !self.truncated && self.fds[0] < 0
    }
}

#[repr(C, align(8))]
struct Control([u8; CONTROL]);

/// Receives an answer with up to two descriptors, both close-on-exec.
pub fn answer(socket: i32, bytes: &mut [u8]) -> Result<Received, Errno> {
    receive(bytes, 2, |message| {
        // SAFETY: `receive` filled the message with live buffers.
        unsafe { sys::recvmsg(socket, message, MSG_CMSG_CLOEXEC) }
    })
}

/// Takes a record with at most one descriptor, close-on-exec if asked; never waits.
#[inline]
pub fn record(channel: i32, bytes: &mut [u8], close_on_exec: bool) -> Result<Received, Errno> {
    let close_on_exec = if close_on_exec { MSG_CMSG_CLOEXEC } else { 0 };
    receive(bytes, 1, |message| {
        // SAFETY: `receive` filled the message with live buffers.
        unsafe { sys::recvmsg(channel, message, MSG_DONTWAIT | close_on_exec) }
    })
}

/// Waits for a message as the descriptor would wait in accept(2), by its flags and its `SO_RCVTIMEO`, and
/// leaves it where it is. A cancellation point, restarted after signals as accept(2) is.
pub fn wait(channel: i32) -> Result<(), Errno> {
    let mut byte = 0_u8;
    let mut payload = IoVec {
        base: (&raw mut byte).cast(),
        len: 1,
    };
    let mut message = MsgHdr {
        name: null_mut(),
        name_len: 0,
        iov: &raw mut payload,
        iov_len: 1,
        // No room for descriptors, so that none is made.
        control: null_mut(),
        control_len: 0,
        flags: 0,
    };
    // SAFETY: the message points to a live byte.
    unsafe { next::recvmsg(channel, &mut message, MSG_PEEK) }.map(|_| ())
}

#[inline(always)]
fn receive(
    bytes: &mut [u8],
    wanted: usize,
    call: impl FnOnce(&mut MsgHdr) -> Result<usize, Errno>,
) -> Result<Received, Errno> {
    let mut control = Control([0; CONTROL]);
    let mut payload = IoVec {
        base: bytes.as_mut_ptr().cast::<c_void>(),
        len: bytes.len(),
    };
    let mut message = MsgHdr {
        name: null_mut(),
        name_len: 0,
        iov: &raw mut payload,
        iov_len: 1,
        control: (&raw mut control.0).cast(),
        control_len: CONTROL,
        flags: 0,
    };
    let len = call(&mut message)?;
    let filled = control.0.get(..message.control_len).unwrap_or(&control.0);
    Ok(Received {
        len,
        fds: take(filled, wanted),
        truncated: message.flags & MSG_CTRUNC != 0,
    })
}

/// The first `wanted` descriptors in the control data; all others are closed.
fn take(mut control: &[u8], wanted: usize) -> [i32; 2] {
    let mut fds = [-1; 2];
    let mut found = 0;
    while let Some((head, _)) = control.split_at_checked(HEAD) {
        let len = usize::from_ne_bytes([
            head[0], head[1], head[2], head[3], head[4], head[5], head[6], head[7],
        ]);
        let level = i32::from_ne_bytes([head[8], head[9], head[10], head[11]]);
        let kind = i32::from_ne_bytes([head[12], head[13], head[14], head[15]]);
        let Some(body) = control.get(HEAD..len) else {
            break;
        };
        if level == SOL_SOCKET && kind == SCM_RIGHTS {
            for word in body.chunks_exact(4) {
                let fd = i32::from_ne_bytes([word[0], word[1], word[2], word[3]]);
                match fds.get_mut(found) {
                    Some(place) if found < wanted => *place = fd,
                    _ => {
                        let _ = sys::close(fd);
                    }
                }
                found += 1;
            }
        }
        control = control.get(len.next_multiple_of(8)..).unwrap_or(&[]);
    }
    fds
}
