//! Words to the service manager that started us: sd_notify(3), written here since nobody may wait for it.
//!
//! A datagram to the socket that `NOTIFY_SOCKET` names, a path or an abstract name (`@`). Sent without waiting: the
//! manager may be as busy as it likes. Never removes the variables: the workers' environment is made without them.

use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The way to the service manager.
#[derive(Debug)]
pub struct ServiceManager {
    socket: UnixDatagram,
    address: SocketAddr,
}

impl ServiceManager {
    /// The one that the environment names; `None` if there is none.
    ///
    /// # Errors
    /// `InvalidInput` for what is no address of a Unix socket; those of socket(2).
    pub fn from_environment() -> io::Result<Option<Self>> {
        match std::env::var_os("NOTIFY_SOCKET") {
            Some(name) if !name.is_empty() => Self::at(&name).map(Some),
            _ => Ok(None),
        }
    }

    fn at(name: &OsStr) -> io::Result<Self> {
        let address = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(name)?,
            _ => return Err(io::Error::from(ErrorKind::InvalidInput)),
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, address })
    }

    /// Says this, or `false` if the manager has not yet read what was said before.
    ///
    /// # Errors
    /// Those of sendto(2): nobody listens there.
    pub fn say(&self, words: &str) -> io::Result<bool> {
        loop {
            return match self.socket.send_to_addr(words.as_bytes(), &self.address) {
                Ok(_) => Ok(true),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error)
                    if error.kind() == ErrorKind::WouldBlock
                        || error.raw_os_error() == Some(libc::ENOBUFS) =>
                {
                    Ok(false)
                }
                Err(error) => Err(error),
            };
        }
    }
}

/// How long the manager waits for a sign of life of this very process, if it does: sd_watchdog_enabled(3).
pub fn watchdog() -> Option<Duration> {
    let variable = |name| std::env::var(name).ok();
    watchdog_of(
        variable("WATCHDOG_USEC").as_deref(),
        variable("WATCHDOG_PID").as_deref(),
    )
}

fn watchdog_of(microseconds: Option<&str>, pid: Option<&str>) -> Option<Duration> {
    if pid.is_some_and(|pid| pid.parse() != Ok(std::process::id())) {
        return None;
    }
    let microseconds = microseconds?.parse().ok().filter(|time| *time > 0)?;
    Some(Duration::from_micros(microseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut words = [0; 256];
        let length = socket.recv(&mut words).unwrap();
        String::from_utf8_lossy(&words[..length]).into_owned()
    }

    #[test]
    fn by_a_path_and_by_an_abstract_name() {
        let path = std::env::temp_dir().join(format!("forkfront-notify-{}", std::process::id()));
        let manager = UnixDatagram::bind(&path).unwrap();
        let to = ServiceManager::at(path.as_os_str()).unwrap();
        assert!(to.say("READY=1").unwrap());
        assert_eq!(heard(&manager), "READY=1");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(
            to.say("STOPPING=1").unwrap_err().kind(),
            ErrorKind::NotFound
        );

        let name = format!("forkfront-notify-{}", std::process::id());
        let manager =
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let to = ServiceManager::at(OsStr::new(&format!("@{name}"))).unwrap();
        assert!(to.say("STATUS=ü").unwrap());
        assert_eq!(heard(&manager), "STATUS=ü");
    }

    #[test]
    fn nobody_waits_for_a_manager_that_does_not_read() {
        let name = format!("forkfront-notify-full-{}", std::process::id());
        let _manager =
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let to = ServiceManager::at(OsStr::new(&format!("@{name}"))).unwrap();
        let full = (0..100_000).find(|_| !to.say("WATCHDOG=1").unwrap());
        assert!(full.is_some());
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for name in ["vsock:2:1", "run/notify", "unix:/run/notify"] {
            let refused = ServiceManager::at(OsStr::new(name)).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{name}");
        }
    }

    #[test]
    fn the_watchdog_is_of_one_process() {
        let me = std::process::id().to_string();
        let second = Some(Duration::from_secs(1));
        assert_eq!(watchdog_of(Some("1000000"), Some(&me)), second);
        assert_eq!(watchdog_of(Some("1000000"), None), second);
        assert_eq!(watchdog_of(Some("1000000"), Some("1")), None);
        assert_eq!(watchdog_of(Some("1000000"), Some("x")), None);
        assert_eq!(watchdog_of(Some("0"), None), None);
        assert_eq!(watchdog_of(Some("soon"), None), None);
        assert_eq!(watchdog_of(None, Some(&me)), None);
    }
}
