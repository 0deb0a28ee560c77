//! A service manager as far as sd_notify(3) goes: a socket that hears what the primary says.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use crate::common::{DEADLINE, Site};

/// The manager of one site.
pub struct Manager {
    socket: UnixDatagram,
}

impl Manager {
    /// Listens at a path; the site tells its primary.
    pub fn of(site: &mut Site) -> Self {
        let path = site.file("notify");
        let socket = UnixDatagram::bind(&path).expect("bound");
        site.env
            .push(("NOTIFY_SOCKET".into(), path.display().to_string()));
        Self { socket }
    }

    /// The same by an abstract name, and not reading yet: full of what nobody has taken.
    pub fn full(site: &mut Site) -> Self {
        let name = format!("forkfront-{}", site.mark);
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let socket = UnixDatagram::bind_addr(&address).expect("bound");
        let other = UnixDatagram::unbound().expect("socket");
        other.set_nonblocking(true).expect("mode");
        while other.send_to_addr(b"X=1", &address).is_ok() {}
        site.env.push(("NOTIFY_SOCKET".into(), format!("@{name}")));
        Self { socket }
    }

    /// What is said next, if it is within `limit`.
    pub fn next(&self, limit: Duration) -> Option<String> {
        let mut words = [0; 4096];
        self.socket
            .set_read_timeout(Some(limit.max(Duration::from_millis(1))))
            .expect("time-out");
        let length = self.socket.recv(&mut words).ok()?;
        Some(String::from_utf8_lossy(&words[..length]).into_owned())
    }

    /// Listens until something is said that contains `part`, and gives all that was said until then.
    #[track_caller]
    pub fn until(&self, part: &str) -> Vec<String> {
        let end = Instant::now() + DEADLINE;
        let mut said = Vec::new();
        while Instant::now() < end {
            let Some(words) = self.next(Duration::from_millis(100)) else {
                continue;
            };
            said.push(words);
            if said.last().is_some_and(|words| words.contains(part)) {
                return said;
            }
        }
        panic!("{part} was not said: {said:#?}");
    }

    /// Whether `part` is said within `limit`; all else is passed over.
    pub fn hears(&self, part: &str, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.next(left) {
                Some(words) if words.contains(part) => return true,
                None if left.is_zero() => return false,
                _ => {}
            }
        }
    }
}
