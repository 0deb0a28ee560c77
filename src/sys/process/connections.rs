//! The kernel's word on the connections that came over our listeners: which there are, and which of them given
//! processes hold. It checks what a worker says of itself.
//!
//! The sockets are asked for by sock_diag(7), filtered by local port in the kernel, so that neither the other
//! connections of the machine nor those in `TIME_WAIT` cost anything; they live in the network namespace in
//! which they were accepted, which is the primary's whatever the worker has made of its own. Who holds one is
//! told by the links in `/proc/PID/fd`. With 10,000 connections the kernel's list takes 16 ms and each link that
//! has to be read some µs; who only wants to know whether there is one left has to read a few. For use once in
//! a while, by the main thread. Decides nothing.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;

use serde::{Deserialize, Serialize};

use crate::sys::diag::{self, Diag, request, word};

/// The local end that all connections of one listening socket share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Local {
    /// A TCP port.
    Tcp(u16),
    /// The name that a Unix socket is bound to.
    Unix(Vec<u8>),
}

/// Connections that some process holds, of the listeners asked for.
#[derive(Debug, Default)]
pub struct Connections {
    inodes: HashSet<u64>,
}

/// linux/inet_diag.h: offsets in a `struct inet_diag_msg`, and its size.
const INET_INODE: usize = 68;
const INET_MESSAGE: usize = 72;
/// linux/unix_diag.h: likewise in a `struct unix_diag_msg`; attributes follow it.
const UNIX_INODE: usize = 4;
const UNIX_MESSAGE: usize = 16;
/// `UDIAG_SHOW_NAME`, and the attribute that carries the name.
const SHOW_NAME: u32 = 1;
const UNIX_DIAG_NAME: u16 = 0;

/// States in which a TCP socket belongs to a connection and may belong to a process: by number in
/// net/tcp_states.h, all but `TIME_WAIT` (6), `CLOSE` (7), `LISTEN` (10) and what is not accepted yet.
const TCP_STATES: u32 = 1 << 1 | 1 << 2 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11;
/// `TCP_ESTABLISHED`, which a connected Unix socket is in too.
const ESTABLISHED: u32 = 1 << 1;

impl Connections {
    /// All connections of these listeners as of now.
    ///
    /// # Errors
    /// Those of socket(2), send(2) and recv(2); what the kernel answers where it was built without sock_diag.
    pub fn of<'a>(locals: impl IntoIterator<Item = &'a Local>) -> io::Result<Self> {
        let mut inodes = HashSet::new();
        let mut names = HashSet::new();
        let diag = Diag::open()?;
        for local in locals {
            match local {
                Local::Tcp(port) => {
                    for family in [libc::AF_INET, libc::AF_INET6] {
                        diag.dump(&tcp_request(family as u8, *port), |message| {
                            inodes.extend(inode_at(message, INET_INODE, INET_MESSAGE));
                        })?;
                    }
                }
                Local::Unix(name) => {
                    names.insert(name.as_slice());
                }
            }
        }
        if !names.is_empty() {
            diag.dump(&unix_request(), |message| {
                if unix_name(message).is_some_and(|name| names.contains(name)) {
                    inodes.extend(inode_at(message, UNIX_INODE, UNIX_MESSAGE));
                }
            })?;
        }
        // A socket that nobody holds any more has none.
        inodes.remove(&0);
        Ok(Self { inodes })
    }

    /// How many of them `pids` hold, each counted once and none beyond `enough`; `None` if one of the processes
    /// may not be looked into.
    pub fn held_by(&self, pids: &[u32], enough: usize) -> Option<usize> {
        if self.inodes.is_empty() {
            return Some(0);
        }
        let mut held = HashSet::new();
        for pid in pids {
            let directory = format!("/proc/{pid}/fd");
            let entries = match fs::read_dir(&directory) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(_) => return None,
            };
            for entry in entries.flatten() {
                let target = fs::read_link(entry.path()).ok();
                let inode = target.and_then(|target| socket_inode(target.as_os_str().as_bytes()));
                held.extend(inode.filter(|inode| self.inodes.contains(inode)));
                if held.len() >= enough {
                    return Some(enough);
                }
            }
        }
        Some(held.len())
    }
}

/// The inode in `socket:[INODE]`.
fn socket_inode(link: &[u8]) -> Option<u64> {
    let number = link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`.
fn tcp_request(family: u8, port: u16) -> Vec<u8> {
    /// `struct inet_diag_sockid` but for the port it begins with.
    const REST_OF_ID: usize = 46;
    let mut body = vec![family, libc::IPPROTO_TCP as u8, 0, 0];
    body.extend(TCP_STATES.to_ne_bytes());
    body.extend(port.to_be_bytes());
    body.extend([0; REST_OF_ID]);
    request(&body)
}

/// `struct nlmsghdr` and `struct unix_diag_req`.
fn unix_request() -> Vec<u8> {
    let mut body = vec![libc::AF_UNIX as u8, 0, 0, 0];
    for word in [ESTABLISHED, 0, SHOW_NAME, 0, 0] {
        body.extend(word.to_ne_bytes());
    }
    request(&body)
}

fn inode_at(message: &[u8], at: usize, size: usize) -> Option<u64> {
    let fixed = message.get(..size)?;
    word(fixed, at).map(u64::from)
}

/// What a Unix socket is bound to: the path without its terminating zero.
fn unix_name(message: &[u8]) -> Option<&[u8]> {
    let name = diag::attribute(message.get(UNIX_MESSAGE..)?, UNIX_DIAG_NAME)?;
    Some(name.strip_suffix(&[0]).unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::os::unix::net::{UnixListener, UnixStream};

    fn held(local: &Local) -> Option<usize> {
        let all = Connections::of([local]).unwrap();
        all.held_by(&[std::process::id()], usize::MAX)
    }

    #[test]
    fn accepted_connections_are_counted_and_nothing_else() {
        for host in ["127.0.0.1:0", "[::1]:0", "[::]:0"] {
            let listener = TcpListener::bind(host).unwrap();
            let port = listener.local_addr().unwrap().port();
            let local = Local::Tcp(port);
            assert_eq!(held(&local), Some(0), "{host}: a listener is no connection");
            let to = if host.contains("::1") {
                "::1"
            } else {
                "127.0.0.1"
            };
            let clients: Vec<_> = (0..5)
                .map(|_| TcpStream::connect((to, port)).unwrap())
                .collect();
            assert_eq!(held(&local), Some(0), "{host}: not accepted yet");
            let mut accepted: Vec<_> = (0..5).map(|_| listener.accept().unwrap().0).collect();
            assert_eq!(
                held(&local),
                Some(5),
                "{host}: the clients' own ends are others"
            );
            let twice = accepted[0].try_clone().unwrap();
            assert_eq!(held(&local), Some(5), "{host}: held twice, counted once");
            clients[1].shutdown(Shutdown::Both).unwrap();
            assert_eq!(held(&local), Some(5), "{host}: half-closed is open");
            drop(twice);
            accepted.truncate(2);
            assert_eq!(held(&local), Some(2), "{host}");
            accepted.clear();
            assert_eq!(held(&local), Some(0), "{host}: what lingers is nobody's");
        }
    }

    #[test]
    fn a_unix_listeners_connections_are_known_by_its_name() {
        let name = format!("/tmp/ff-connections-{}.sock", std::process::id());
        let listener = UnixListener::bind(&name).unwrap();
        let local = Local::Unix(name.clone().into_bytes());
        let client = UnixStream::connect(&name).unwrap();
        let accepted = listener.accept().unwrap();
        let _stranger = UnixStream::pair().unwrap();
        assert_eq!(held(&local), Some(1));
        drop(accepted);
        assert_eq!(held(&local), Some(0));
        drop(client);
        std::fs::remove_file(&name).unwrap();
    }

    #[test]
    fn the_dead_hold_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let local = Local::Tcp(listener.local_addr().unwrap().port());
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let _accepted = listener.accept().unwrap();
        let all = Connections::of([&local]).unwrap();
        assert_eq!(all.held_by(&[u32::MAX], usize::MAX), Some(0));
        let both = [u32::MAX, std::process::id()];
        assert_eq!(all.held_by(&both, usize::MAX), Some(1));
        assert_eq!(all.held_by(&both, 1), Some(1), "and looks no further");
    }

    #[test]
    fn what_is_no_answer_is_not_read() {
        assert_eq!(unix_name(&[0; 24]), None);
        assert_eq!(unix_name(&[0; 7]), None);
        assert_eq!(inode_at(&[1; 71], INET_INODE, INET_MESSAGE), None);
        assert_eq!(socket_inode(b"socket:[77]"), Some(77));
        assert_eq!(socket_inode(b"pipe:[77]"), None);
    }
}
