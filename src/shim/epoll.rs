//! Epoll and listeners: what the kernel does by itself for a socket must be done by hand for a channel.
//!
//! A registration belongs to the open file, not to the number. The server's own socket lives on as the
//! shadow and the channel lives on in the primary, so neither leaves an epoll instance when its number
//! is closed or replaced; left alone they would wake the server for ever. What is registered is read from
//! `/proc`, which also knows what came in through io_uring.

use crate::sys::{self, EpollEvent};
use crate::table::{self, EPOLL};

/// Epoll instances that may watch one listener.
const MAX: usize = 8;

/// Registrations of one descriptor.
pub struct Registrations {
    found: [Option<(i32, EpollEvent)>; MAX],
    len: usize,
}

/// Finds who watches `fd`.
pub fn registrations(fd: i32) -> Registrations {
    let mut list = Registrations {
        found: [None; MAX],
        len: 0,
    };
    table::each(0, u32::MAX, |epoll, byte| {
        if byte == EPOLL
            && let Some(event) = find(epoll, fd)
            && let Some(place) = list.found.get_mut(list.len)
        {
            *place = Some((epoll, event));
            list.len += 1;
        }
    });
    list
}

impl Registrations {
    /// Takes `fd` out of all of them, before its file is replaced.
    pub fn suspend(&self, fd: i32) {
        for (epoll, _) in self.found.iter().flatten() {
            let _ = sys::epoll_remove(*epoll, fd);
        }
    }

    /// Puts `fd` back, with its new file.
    pub fn resume(&self, fd: i32) {
        for (epoll, event) in self.found.iter().flatten() {
            let _ = sys::epoll_add(*epoll, fd, event);
        }
    }
}

/// Takes `fd` out of every epoll instance of this process: it is about to be closed or replaced.
pub fn forget(fd: i32) {
    table::each(0, u32::MAX, |epoll, byte| {
        if byte == EPOLL {
            let _ = sys::epoll_remove(epoll, fd);
        }
    });
}

/// Reads the registration of `fd` from `/proc/thread-self/fdinfo/EPOLL`, a line like
/// `tfd:        4 events: 80000019 data:                4  pos:0 ino:61 sdev:9`, see proc(5).
fn find(epoll: i32, fd: i32) -> Option<EpollEvent> {
    let file = sys::open(&fdinfo_path(epoll)).ok()?;
    let mut line = Line::default();
    let mut chunk = [0; 1024];
    let mut event = None;
    'read: while let Ok(count) = sys::read(file, &mut chunk) {
        if count == 0 {
            break;
        }
        for byte in chunk.get(..count).unwrap_or(&[]) {
            if *byte != b'\n' {
                line.push(*byte);
                continue;
            }
            if let Some((target, found)) = line.parse()
                && target == fd as u64
            {
                event = Some(found);
                break 'read;
            }
            line = Line::default();
        }
    }
    let _ = sys::close(file);
    event
}

/// One line being read; longer ones are cut, the three words that matter come first.
struct Line {
    bytes: [u8; 96],
    len: usize,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            bytes: [0; 96],
            len: 0,
        }
    }
}

impl Line {
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }

    fn parse(&self) -> Option<(u64, EpollEvent)> {
        let line = self.bytes.get(..self.len)?;
        let mut words = line
            .split(|byte| *byte == b' ')
            .filter(|word| !word.is_empty());
        let mut value = |name: &[u8], base| {
            let word = words.next()?;
            (word == name).then(|| number(words.next()?, base))?
        };
        let target = value(b"tfd:", 10)?;
        let events = value(b"events:", 16)? as u32;
        let data = value(b"data:", 16)?;
        Some((target, EpollEvent { events, data }))
    }
}

fn number(digits: &[u8], base: u64) -> Option<u64> {
    digits.iter().try_fold(0_u64, |sum, digit| {
        let value = (*digit as char).to_digit(base as u32)?;
        Some(sum.wrapping_mul(base).wrapping_add(u64::from(value)))
    })
}

fn fdinfo_path(fd: i32) -> [u8; 48] {
    const HEAD: &[u8] = b"/proc/thread-self/fdinfo/";
    let mut path = [0; 48];
    path[..HEAD.len()].copy_from_slice(HEAD);
    let digits = (fd as u32).checked_ilog10().unwrap_or(0) as usize + 1;
    let mut rest = fd as u32;
    for place in path[HEAD.len()..HEAD.len() + digits].iter_mut().rev() {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    path
}
