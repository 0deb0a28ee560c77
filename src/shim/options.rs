//! Socket options of a listener: which ones accepted connections inherit, and how they reach the
//! primary's socket, from which the kernel then hands them on.
//!
//! Only options that differ from a fresh socket's are sent, so nothing is sent for most servers.

use crate::sys::{
    self, Errno, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, SO_DOMAIN, SO_PROTOCOL, SO_RCVTIMEO,
    SO_SNDTIMEO, SO_TYPE, SOL_SOCKET,
};
use crate::wire::{MAX_OPTIONS, SocketOption};

const SO_SNDBUF: i32 = 7;
const SO_RCVBUF: i32 = 8;

/// What a listening socket can be told that matters to it or to those it accepts, from socket(7), tcp(7),
/// ip(7) and ipv6(7).
const INHERITED: [(i32, i32); 38] = [
    (SOL_SOCKET, 2), // SO_REUSEADDR: or the port stays taken for a minute after the primary's end
    (SOL_SOCKET, SO_SNDBUF),
    (SOL_SOCKET, SO_RCVBUF),
    (SOL_SOCKET, 9),  // SO_KEEPALIVE
    (SOL_SOCKET, 10), // SO_OOBINLINE
    (SOL_SOCKET, 13), // SO_LINGER
    (SOL_SOCKET, 18), // SO_RCVLOWAT
    (SOL_SOCKET, SO_RCVTIMEO),
    (SOL_SOCKET, SO_SNDTIMEO),
    (SOL_SOCKET, 25),   // SO_BINDTODEVICE
    (SOL_SOCKET, 29),   // SO_TIMESTAMP
    (SOL_SOCKET, 36),   // SO_MARK
    (SOL_SOCKET, 46),   // SO_BUSY_POLL
    (SOL_SOCKET, 60),   // SO_ZEROCOPY
    (IPPROTO_TCP, 1),   // TCP_NODELAY
    (IPPROTO_TCP, 2),   // TCP_MAXSEG
    (IPPROTO_TCP, 3),   // TCP_CORK
    (IPPROTO_TCP, 4),   // TCP_KEEPIDLE
    (IPPROTO_TCP, 5),   // TCP_KEEPINTVL
    (IPPROTO_TCP, 6),   // TCP_KEEPCNT
    (IPPROTO_TCP, 7),   // TCP_SYNCNT
    (IPPROTO_TCP, 8),   // TCP_LINGER2
    (IPPROTO_TCP, 9),   // TCP_DEFER_ACCEPT
    (IPPROTO_TCP, 10),  // TCP_WINDOW_CLAMP
    (IPPROTO_TCP, 13),  // TCP_CONGESTION
    (IPPROTO_TCP, 18),  // TCP_USER_TIMEOUT
    (IPPROTO_TCP, 23),  // TCP_FASTOPEN
    (IPPROTO_TCP, 25),  // TCP_NOTSENT_LOWAT
    (IPPROTO_TCP, 27),  // TCP_SAVE_SYN
    (IPPROTO_IP, 1),    // IP_TOS
    (IPPROTO_IP, 2),    // IP_TTL
    (IPPROTO_IP, 15),   // IP_FREEBIND
    (IPPROTO_IP, 19),   // IP_TRANSPARENT
    (IPPROTO_IPV6, 16), // IPV6_UNICAST_HOPS
    (IPPROTO_IPV6, 23), // IPV6_MTU_DISCOVER
    (IPPROTO_IPV6, 67), // IPV6_TCLASS
    (IPPROTO_IPV6, 75), // IPV6_TRANSPARENT
    (IPPROTO_IPV6, 78), // IPV6_FREEBIND
];

/// Options to send.
pub struct OptionList {
    items: [SocketOption; MAX_OPTIONS],
    len: usize,
}

impl Default for OptionList {
    fn default() -> Self {
        const NONE: SocketOption = SocketOption {
            level: 0,
            name: 0,
            len: 0,
            value: [0; 16],
        };
        Self {
            items: [NONE; MAX_OPTIONS],
            len: 0,
        }
    }
}

impl OptionList {
    /// The options.
    pub fn iter(&self) -> impl Iterator<Item = &SocketOption> {
        self.items.iter().take(self.len)
    }

    /// Adds one; beyond the capacity it is dropped.
    pub fn push(&mut self, option: SocketOption) {
        if let Some(place) = self.items.get_mut(self.len) {
            *place = option;
            self.len += 1;
        }
    }
}

/// The options of `socket` that differ from those of a socket just made.
pub fn differing(socket: i32) -> OptionList {
    let mut list = OptionList::default();
    let Ok(fresh) = alike(socket) else {
        return list;
    };
    for (level, name) in INHERITED {
        let (Some(ours), theirs) = (get(socket, level, name), get(fresh, level, name)) else {
            continue;
        };
        if Some(ours) != theirs {
            list.push(as_set(ours));
        }
    }
    let _ = sys::close(fresh);
    list
}

/// One option as a program sets it, if the primary should hear of it.
pub fn forwarded(level: i32, name: i32, value: &[u8]) -> Option<SocketOption> {
    if !INHERITED.contains(&(level, name)) || value.len() > 16 {
        return None;
    }
    let mut option = SocketOption {
        level,
        name,
        len: value.len() as u8,
        value: [0; 16],
    };
    option.value.get_mut(..value.len())?.copy_from_slice(value);
    Some(option)
}

/// Copies the time-out for a blocking accept() from the server's socket to the channel.
pub fn copy_accept_timeout(from: i32, to: i32) {
    let mut value = [0; 16];
    if sys::option_bytes(from, SOL_SOCKET, SO_RCVTIMEO, &mut value) == Ok(16) && value != [0; 16] {
        let _ = sys::set_option(to, SOL_SOCKET, SO_RCVTIMEO, &value);
    }
}

fn alike(socket: i32) -> Result<i32, Errno> {
    let domain = sys::option(socket, SOL_SOCKET, SO_DOMAIN)?;
    let kind = sys::option(socket, SOL_SOCKET, SO_TYPE)?;
    let protocol = sys::option(socket, SOL_SOCKET, SO_PROTOCOL)?;
    sys::socket(domain, kind, protocol)
}

fn get(socket: i32, level: i32, name: i32) -> Option<SocketOption> {
    let mut value = [0; 16];
    let len = sys::option_bytes(socket, level, name, &mut value).ok()?;
    Some(SocketOption {
        level,
        name,
        len: len as u8,
        value,
    })
}

/// What was read, as it must be set: the kernel reads buffer sizes back doubled, see socket(7).
fn as_set(mut option: SocketOption) -> SocketOption {
    if option.level == SOL_SOCKET && matches!(option.name, SO_SNDBUF | SO_RCVBUF) {
        let [a, b, c, d, ..] = option.value;
        let half = i32::from_ne_bytes([a, b, c, d]) / 2;
        option.value[..4].copy_from_slice(&half.to_ne_bytes());
    }
    option
}
