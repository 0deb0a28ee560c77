//! Which socket options of a server's own socket are set on the primary's listener in its stead, so that
//! accepted connections inherit them as they would have.
//!
//! An allow-list of plain values: a worker is not trusted with options whose value holds a pointer
//! (`SO_ATTACH_FILTER`), that share the port with strangers (`SO_REUSEPORT`), or that lend it the primary's
//! privileges.

use std::io;
use std::os::fd::AsFd;

use libc::{IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, SOL_SOCKET};

use crate::sys::sockopt;
use crate::wire::SocketOption;

/// When an option is taken over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// From any worker.
    Anyone,
    /// Needs a capability: only from workers that run as the primary's own user.
    OwnUser,
}

use Rule::{Anyone, OwnUser};

/// Level, name, greatest length in bytes, rule. `SO_REUSEADDR` to `SO_BINDTODEVICE` matter at bind; most of
/// the others are inherited by accept(2).
const ALLOWED: &[(i32, i32, u8, Rule)] = &[
    (SOL_SOCKET, libc::SO_REUSEADDR, 4, Anyone),
    (SOL_SOCKET, libc::SO_KEEPALIVE, 4, Anyone),
    (SOL_SOCKET, libc::SO_RCVBUF, 4, Anyone),
    (SOL_SOCKET, libc::SO_SNDBUF, 4, Anyone),
    (SOL_SOCKET, libc::SO_LINGER, 8, Anyone),
    (SOL_SOCKET, libc::SO_OOBINLINE, 4, Anyone),
    (SOL_SOCKET, libc::SO_RCVLOWAT, 4, Anyone),
    (SOL_SOCKET, libc::SO_RCVTIMEO, 16, Anyone),
    (SOL_SOCKET, libc::SO_SNDTIMEO, 16, Anyone),
    (SOL_SOCKET, libc::SO_TIMESTAMP, 4, Anyone),
    (SOL_SOCKET, libc::SO_TIMESTAMPNS, 4, Anyone),
    (SOL_SOCKET, libc::SO_ZEROCOPY, 4, Anyone),
    (SOL_SOCKET, libc::SO_BUSY_POLL, 4, OwnUser),
    (SOL_SOCKET, libc::SO_MARK, 4, OwnUser),
    (SOL_SOCKET, libc::SO_RCVBUFFORCE, 4, OwnUser),
    (SOL_SOCKET, libc::SO_SNDBUFFORCE, 4, OwnUser),
    (SOL_SOCKET, libc::SO_BINDTODEVICE, 16, OwnUser),
    (IPPROTO_IP, libc::IP_TOS, 4, Anyone),
    (IPPROTO_IP, libc::IP_TTL, 4, Anyone),
    (IPPROTO_IP, libc::IP_MTU_DISCOVER, 4, Anyone),
    (IPPROTO_IP, libc::IP_FREEBIND, 4, Anyone),
    (IPPROTO_IP, libc::IP_TRANSPARENT, 4, OwnUser),
    (IPPROTO_IPV6, libc::IPV6_TCLASS, 4, Anyone),
    (IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS, 4, Anyone),
    (IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, 4, Anyone),
    (IPPROTO_IPV6, libc::IPV6_FREEBIND, 4, Anyone),
    (IPPROTO_IPV6, libc::IPV6_TRANSPARENT, 4, OwnUser),
    (IPPROTO_TCP, libc::TCP_NODELAY, 4, Anyone),
    (IPPROTO_TCP, libc::TCP_MAXSEG, 4, Anyone),
    (IPPROTO_TCP, libc::TCP_CORK, 4, Anyone),
    (IPPROTO_TCP, libc::TCP_KEEPIDLE, 4, Anyone),
    (IPPROTO_TCP, libc::TCP_KEEPINTVL, 4, Anyone),
    (IPPROTO_TCP, libc::TCP_KEEPCNT, 4, Anyone),
    (IPPROTO_TCP, libc::TCP_SYNCNT, 4, Anyone),
    (IPPROTO_TCP, libc::TCP_LINGER2, 4, Anyone),
    (IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, 4, Anyone),
    (IPPROTO_TCP, libc::TCP_WINDOW_CLAMP, 4, Anyone),
    (IPPROTO_TCP, libc::TCP_CONGESTION, 16, Anyone),
    (IPPROTO_TCP, libc::TCP_USER_TIMEOUT, 4, Anyone),
    (IPPROTO_TCP, libc::TCP_FASTOPEN, 4, Anyone),
    (IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, 4, Anyone),
];

/// Sets those of `options` that are allowed. One that fails does not stop the others.
///
/// # Errors
/// The first failure of setsockopt(2).
pub fn apply(socket: impl AsFd, options: &[SocketOption], own_user: bool) -> io::Result<()> {
    let mut outcome = Ok(());
    for option in options.iter().filter(|option| allowed(option, own_user)) {
        let value = &option.value[..usize::from(option.len)];
        if let Err(error) = sockopt::set(&socket, option.level, option.name, value) {
            log::debug!(
                "socket option {}/{} cannot be set on the listener: {error}",
                option.level,
                option.name
            );
            outcome = outcome.and(Err(error));
        }
    }
    outcome
}

fn allowed(option: &SocketOption, own_user: bool) -> bool {
    ALLOWED.iter().any(|&(level, name, longest, rule)| {
        (level, name) == (option.level, option.name)
            && option.len > 0
            && option.len <= longest
            && (rule == Anyone || own_user)
    })
}

#[cfg(test)]
mod tests {
    use super::{allowed, apply};
    use crate::sys::sockopt;
    use crate::wire::SocketOption;

    fn option(level: i32, name: i32, len: u8) -> SocketOption {
        SocketOption {
            level,
            name,
            len,
            value: [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        }
    }

    #[test]
    fn pointers_and_privileges_are_refused() {
        let at = |name, own| allowed(&option(libc::SOL_SOCKET, name, 4), own);
        assert!(at(libc::SO_KEEPALIVE, false));
        assert!(!at(libc::SO_REUSEPORT, true));
        assert!(!at(libc::SO_ATTACH_FILTER, true));
        assert!(!at(libc::SO_ATTACH_REUSEPORT_EBPF, true));
        assert!(at(libc::SO_MARK, true));
        assert!(!at(libc::SO_MARK, false));
        assert!(!allowed(
            &option(libc::SOL_SOCKET, libc::SO_KEEPALIVE, 5),
            true
        ));
    }

    #[test]
    fn what_is_allowed_is_set_though_another_fails() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut congestion = option(libc::IPPROTO_TCP, libc::TCP_CONGESTION, 4);
        congestion.value[..4].copy_from_slice(b"none");
        let options = [
            congestion,
            option(libc::IPPROTO_TCP, libc::TCP_NODELAY, 4),
            option(libc::SOL_SOCKET, libc::SO_REUSEPORT, 4),
        ];
        assert!(apply(&socket, &options, true).is_err());
        let get = |level, name| sockopt::get(&socket, level, name).unwrap();
        assert_eq!(get(libc::IPPROTO_TCP, libc::TCP_NODELAY), 1);
        assert_eq!(get(libc::SOL_SOCKET, libc::SO_REUSEPORT), 0);
    }
}
