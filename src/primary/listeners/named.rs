//! The doors that exist before any worker does: those named by `-l`, and those inherited.
//!
//! All are bound and listening when [`open`] returns, or none is and one sentence says why.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::sys::socket::SockType;
use socket2::{SockAddr, SockRef};

use super::door::{self, Door, GREATEST_BACKLOG, Place, Wish};
use crate::config::{Listen, ListenAt};
use crate::error::{Error, Result};
use crate::primary::socket_file::{self, LOCK_TIMEOUT, Occupant, Shape};
use crate::sys::inherited::Inherited;

/// Who may connect to `-l unix:PATH`: as to a TCP port, everybody whom the directory lets through.
const UNIX_MODE: u32 = 0o666;

/// A door and the port of the server that it leads to, if that is known.
pub type Named = (Door, Option<u16>);

/// Opens every `-l`, or takes the inherited socket of the same address for it; inherited sockets beyond
/// those lead to the port that they are bound to.
///
/// # Errors
/// A usage error for two `-l` of one address; one sentence for what cannot be listened on.
pub fn open(
    listen: &[Listen],
    inherited: Vec<OwnedFd>,
    backlog: Option<i32>,
) -> Result<Vec<Named>> {
    check_overlaps(listen)?;
    let mut inherited = adopt_all(inherited)?;
    let mut doors = Vec::with_capacity(listen.len() + inherited.len());
    for one in listen {
        let found = inherited.iter().position(|door| matches(&one.at, door));
        let door = match found {
            Some(index) => inherited.remove(index),
            None => open_one(&one.at, backlog, "-l")?,
        };
        doors.push((door, one.shared_port()));
    }
    doors.extend(inherited.into_iter().map(|door| (door, None)));
    for (door, port) in &mut doors {
        // `-l ADDR:0`: the server is told the port that the kernel chose.
        if port.is_none_or(|port| port == 0)
            && let Place::Tcp(address, _) = &door.place
        {
            *port = Some(address.port());
        }
    }
    Ok(doors)
}

/// Which app each inherited socket is for: the one that names its address, else the one whose name the service
/// manager gave it, else the first.
pub fn share_out(inherited: Vec<Inherited>, apps: &[(String, Vec<Listen>)]) -> Vec<Vec<OwnedFd>> {
    let mut shares: Vec<Vec<OwnedFd>> = apps.iter().map(|_| Vec::new()).collect();
    for Inherited { fd, name } in inherited {
        let local = SockRef::from(&fd).local_addr().ok();
        let names_it = |(_, listen): &(String, Vec<Listen>)| {
            let at = |one: &Listen| local.as_ref().is_some_and(|local| is_at(&one.at, local));
            listen.iter().any(at)
        };
        let is_called = |(app, _): &(String, Vec<Listen>)| name.as_ref() == Some(app);
        let share = apps.iter().position(names_it);
        let share = share
            .or_else(|| apps.iter().position(is_called))
            .unwrap_or(0);
        if let Some(share) = shares.get_mut(share) {
            share.push(fd);
        }
    }
    shares
}

fn is_at(at: &ListenAt, local: &SockAddr) -> bool {
    match (at, local.as_socket()) {
        (ListenAt::AnyAddress(port), Some(local)) => {
            local.port() == *port && local.ip().is_unspecified()
        }
        (ListenAt::Tcp(wanted), Some(local)) => *wanted == local,
        (ListenAt::Unix(path), None) => local.as_pathname() == Some(path),
        _ => false,
    }
}

fn adopt_all(inherited: Vec<OwnedFd>) -> Result<Vec<Door>> {
    let adopt = |(index, fd)| {
        door::adopt(fd).map_err(|what| {
            Error::failed(format!(
                "descriptor {}, inherited by LISTEN_FDS, is {what}: forkfront takes listening TCP and Unix stream sockets",
                index + 3
            ))
        })
    };
    inherited.into_iter().enumerate().map(adopt).collect()
}

/// One door, listening; `option` is what its address was given with.
///
/// # Errors
/// One sentence if that cannot be.
pub fn open_one(at: &ListenAt, backlog: Option<i32>, option: &str) -> Result<Door> {
    let mut door = bind(at, backlog, option)?;
    if door.backlog.is_none() {
        door.listen(backlog.unwrap_or(GREATEST_BACKLOG))
            .map_err(|error| refusal(&door.text(), &error, option))?;
    }
    Ok(door)
}

fn bind(at: &ListenAt, backlog: Option<i32>, option: &str) -> Result<Door> {
    let bound = match at {
        ListenAt::AnyAddress(port) => door::bind_any(*port),
        ListenAt::Tcp(address) => {
            let wish = Wish {
                v6only: true,
                reuse_address: true,
                options: &[],
                own_user: true,
            };
            door::bind_tcp(*address, &wish)
        }
        ListenAt::Unix(path) => return bind_unix(path, backlog, option),
    };
    bound.map_err(|error| refusal(&text(at), &error, option))
}

fn bind_unix(path: &Path, backlog: Option<i32>, option: &str) -> Result<Door> {
    let refused = |error| refusal(&text(&ListenAt::Unix(path.to_owned())), &error, option);
    let name = text(&ListenAt::Unix(path.to_owned()));
    socket_file::check_length(path, &format!("give {option} a shorter one"))?;
    // Only who may write the directory may take a name in it, so without the lock (a directory that cannot
    // be read) at worst two of the same owner meet.
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let _lock = socket_file::lock_directory(directory, LOCK_TIMEOUT);
    match socket_file::occupant(path, SockType::Stream).map_err(refused)? {
        Occupant::Nobody => {}
        Occupant::Dead => {
            std::fs::remove_file(path).map_err(refused)?;
        }
        Occupant::Alive(pid) => {
            let who = pid.map_or_else(|| "a process".to_owned(), |pid| format!("process {pid}"));
            return Err(Error::failed(format!(
                "cannot listen on {name}: {who} listens there already; stop it, or give {option} another path"
            )));
        }
        Occupant::Stranger(what) => {
            return Err(Error::failed(format!(
                "cannot listen on {name}: the path {what}; it is left alone, give {option} another path"
            )));
        }
    }
    let shape = Shape {
        kind: SockType::Stream,
        mode: UNIX_MODE,
        backlog,
    };
    let (socket, file) = socket_file::listen_at(path, shape).map_err(refused)?;
    let backlog = backlog.unwrap_or(GREATEST_BACKLOG);
    let mut door = Door::new(socket.into(), Place::Unix(name), Some(backlog));
    door.file = Some(file);
    Ok(door)
}

pub(super) fn matches(at: &ListenAt, door: &Door) -> bool {
    match (at, &door.place) {
        (ListenAt::AnyAddress(port), Place::Tcp(address, _)) => {
            address.port() == *port && address.ip().is_unspecified()
        }
        (ListenAt::Tcp(wanted), Place::Tcp(address, _)) => wanted == address,
        (ListenAt::Unix(_), Place::Unix(name)) => text(at) == *name,
        _ => false,
    }
}

/// The `-l` as people write it.
fn text(at: &ListenAt) -> String {
    match at {
        ListenAt::AnyAddress(port) => {
            SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), *port).to_string()
        }
        ListenAt::Tcp(address) => address.to_string(),
        ListenAt::Unix(path) => format!("unix:{}", path.display()),
    }
}

fn check_overlaps(listen: &[Listen]) -> Result<()> {
    for (index, one) in listen.iter().enumerate() {
        if let Some(other) = listen[..index]
            .iter()
            .find(|other| one.at.overlaps(&other.at))
        {
            return Err(Error::usage(format!(
                "-l {} and -l {} are the same address: give it once",
                text(&other.at),
                text(&one.at)
            )));
        }
    }
    Ok(())
}

/// One sentence: where, why, what to do.
fn refusal(address: &str, error: &io::Error, option: &str) -> Error {
    let advice = match error.raw_os_error() {
        Some(libc::EADDRINUSE) => &format!(
            "another process listens there already (ss -ltnp shows which): stop it, or give {option} another port"
        ),
        Some(libc::EACCES) if address.starts_with("unix:") => {
            "the directory may not be written by this user"
        }
        Some(libc::EACCES) => &format!(
            "ports below 1024 need root or CAP_NET_BIND_SERVICE: give {option} a port from 1024 up"
        ),
        Some(libc::EADDRNOTAVAIL) => &format!(
            "that address is not one of this machine's (ip address shows them): give {option} one that is, or the \
             port alone"
        ),
        Some(libc::EAFNOSUPPORT) => {
            &format!("this kernel has no IPv6: give {option} an IPv4 address")
        }
        Some(libc::ENOENT) if address.starts_with("unix:") => "there is no such directory",
        _ => return Error::io(format!("cannot listen on {address}"), error),
    };
    Error::failed(format!("cannot listen on {address}: {advice}"))
}
