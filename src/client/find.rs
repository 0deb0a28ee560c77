//! Finds the one running primary of this user by its control socket.
//!
//! A socket file alone says nothing: only one that somebody accepts on belongs to a running primary. Files
//! that a killed primary left behind are passed over; the next `run` removes them.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::getuid;
use socket2::{Domain, SockAddr, Socket, Type};

use super::Target;
use crate::config::file::nearest::nearest;
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::{INSTANCE_PREFIX, UNNAMED_SOCKET, is_valid_name, run_directories};

/// How long a connect waits for room in the control socket's queue: a primary that lives accepts at once.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Where only root makes directories.
const SYSTEM: &str = "/run";

/// A running primary, connected.
#[derive(Debug)]
pub struct Found {
    pub name: String,
    pub stream: UnixStream,
}

/// The primary that is meant.
pub fn primary(target: &Target) -> Result<Found> {
    match target {
        Target::At(path) => at(path),
        Target::Named(name) => named(name, &directories()),
        Target::Only => only(&directories()),
    }
}

/// Names of all that run; none where that cannot be found out.
pub fn names() -> Vec<String> {
    let all = running(&directories()).unwrap_or_default();
    all.into_iter().map(|found| found.name).collect()
}

/// Where a primary of this user has its control socket. It may have been started with another environment
/// than we are, so one more place than it would look in itself.
fn directories() -> Vec<PathBuf> {
    let mut directories = run_directories();
    let uid = getuid();
    let session = PathBuf::from(format!("/run/user/{uid}/forkfront"));
    if uid.is_root() {
        directories.extend(services());
    } else if !directories.contains(&session) {
        directories.push(session);
    }
    directories
}

/// Directories of services that run as users of their own, as scripts/forkfront.service has them.
fn services() -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(SYSTEM).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    paths.filter(|path| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with("forkfront-"))
    })
}

fn at(path: &Path) -> Result<Found> {
    let shown = path.display();
    match connect(path) {
        Ok(stream) => Ok(Found {
            name: shown.to_string(),
            stream,
        }),
        Err(Miss::Gone) => Err(Error::no_primary(format!(
            "no running primary has its control socket at {shown}"
        ))),
        Err(Miss::Trouble(error)) => Err(Error::io(
            format!("cannot connect to the control socket {shown}"),
            &error,
        )),
    }
}

fn named(name: &str, directories: &[PathBuf]) -> Result<Found> {
    // Only its own socket: another primary that is stopped or stuck is nothing to this one.
    for directory in directories {
        for (_, path) in sockets(directory)?.into_iter().filter(|it| it.0 == name) {
            match at(&path) {
                Ok(Found { stream, .. }) => {
                    let name = name.to_owned();
                    return Ok(Found { name, stream });
                }
                Err(error) if error.kind() == ErrorKind::NoPrimary => {}
                Err(error) => return Err(error),
            }
        }
    }
    let all = running(directories).unwrap_or_default();
    Err(Error::no_primary(match all.as_slice() {
        [] => format!("no primary named '{name}' runs"),
        others => {
            let known: Vec<&str> = others.iter().map(|one| one.name.as_str()).collect();
            let near = nearest(name, &known);
            let near = near.map_or(String::new(), |near| format!("; did you mean {near}?"));
            let there = listed(others);
            format!("no primary named '{name}' runs; there is {there}{near}")
        }
    }))
}

fn only(directories: &[PathBuf]) -> Result<Found> {
    let mut all = running(directories)?;
    match all.len() {
        1 => all.swap_remove(0).connected(),
        0 => Err(Error::no_primary(
            "no running primary of yours was found; one is started by 'forkfront run -- COMMAND', or by 'forkfront proxy'",
        )),
        _ => Err(Error::usage(format!(
            "several primaries run: {}; say which one with --name",
            listed(&all)
        ))),
    }
}

/// A primary that runs, though it may not take a connection.
struct Running {
    name: String,
    path: PathBuf,
    connection: io::Result<UnixStream>,
}

impl Running {
    fn connected(self) -> Result<Found> {
        let path = self.path.display();
        let stream = self.connection.map_err(|error| {
            let doing = format!("cannot connect to the control socket {path}");
            Error::io(doing, &error)
        })?;
        Ok(Found {
            name: self.name,
            stream,
        })
    }
}

fn listed(all: &[Running]) -> String {
    let names: Vec<&str> = all.iter().map(|found| found.name.as_str()).collect();
    names.join(", ")
}

/// All that run, by name.
fn running(directories: &[PathBuf]) -> Result<Vec<Running>> {
    let mut all = Vec::new();
    for directory in directories {
        for (name, path) in sockets(directory)? {
            let connection = match connect(&path) {
                Ok(stream) => Ok(stream),
                Err(Miss::Gone) => continue,
                Err(Miss::Trouble(error)) => Err(error),
            };
            all.push(Running {
                name,
                path,
                connection,
            });
        }
    }
    all.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(all)
}

/// Control sockets in a directory that only its owner can write to. A primary that knows no port and was
/// given no name goes by its pid.
fn sockets(directory: &Path) -> Result<Vec<(String, PathBuf)>> {
    let cannot = |error: &io::Error| {
        let shown = directory.display();
        Error::io(format!("cannot look into the run directory {shown}"), error)
    };
    let metadata = match std::fs::symlink_metadata(directory) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(cannot(&error)),
    };
    // In /tmp anybody could have made it first; in /run only root, who gives it to the user of a service.
    let given = getuid().is_root() && directory.parent() == Some(Path::new(SYSTEM));
    let ours = (given || metadata.uid() == getuid().as_raw()) && metadata.mode() & 0o022 == 0;
    if !metadata.is_dir() || !ours {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(|error| cannot(&error))? {
        let path = entry.map_err(|error| cannot(&error))?.path();
        let file = path.file_name().and_then(|name| name.to_str());
        let Some(file) = file else { continue };
        if let Some(name) = file.strip_suffix(".sock") {
            if is_valid_name(name) {
                found.push((name.to_owned(), path));
            }
        } else if let Some(pid) = file.strip_prefix(INSTANCE_PREFIX) {
            found.push((pid.to_owned(), path.join(UNNAMED_SOCKET)));
        }
    }
    Ok(found)
}

/// Why there is no connection.
enum Miss {
    /// Nobody is there.
    Gone,
    /// Somebody may be there.
    Trouble(io::Error),
}

fn connect(path: &Path) -> std::result::Result<UnixStream, Miss> {
    let stream = open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::ConnectionRefused => Miss::Gone,
        io::ErrorKind::WouldBlock => Miss::Trouble(io::Error::new(
            io::ErrorKind::TimedOut,
            "its primary is there but takes no connection; it may be stopped",
        )),
        _ => Miss::Trouble(error),
    })?;
    let peer = getsockopt(&stream, sockopt::PeerCredentials)
        .map_err(|errno| Miss::Trouble(errno.into()))?
        .uid();
    if peer != getuid().as_raw() && peer != 0 && !getuid().is_root() {
        return Err(Miss::Trouble(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("it belongs to user {peer}, whom we do not trust"),
        )));
    }
    Ok(stream)
}

/// connect(2) to a full queue waits as long as `SO_SNDTIMEO` allows (unix(7), socket(7)).
fn open(path: &Path) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_write_timeout(Some(CONNECT_TIMEOUT))?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(std::os::fd::OwnedFd::from(socket).into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::DirBuilderExt;
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::error::ErrorKind;

    /// A run directory of its own, removed at the end.
    struct Directory(PathBuf);

    impl Directory {
        fn new(test: &str) -> Self {
            let name = format!("forkfront-find-{test}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
            made.unwrap();
            Self(path)
        }

        fn listen(&self, name: &str) -> UnixListener {
            UnixListener::bind(self.0.join(name)).unwrap()
        }

        fn only(&self) -> Result<Found> {
            only(std::slice::from_ref(&self.0))
        }

        fn named(&self, name: &str) -> Result<Found> {
            named(name, std::slice::from_ref(&self.0))
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn one_is_found_among_what_others_left() {
        let directory = Directory::new("one");
        assert_eq!(directory.only().unwrap_err().kind(), ErrorKind::NoPrimary);
        drop(directory.listen("stale.sock"));
        std::fs::write(directory.0.join("file.sock"), "").unwrap();
        std::fs::write(directory.0.join("other"), "").unwrap();
        let _hidden = directory.listen(".123.sock");
        assert_eq!(directory.only().unwrap_err().kind(), ErrorKind::NoPrimary);
        let _web = directory.listen("web.sock");
        assert_eq!(directory.only().unwrap().name, "web");
        assert_eq!(directory.named("web").unwrap().name, "web");
        let error = directory.named("stale").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoPrimary);
        assert!(error.to_string().contains("there is web"), "{error}");
    }

    #[test]
    fn one_that_has_no_name_yet_is_found() {
        let directory = Directory::new("unnamed");
        std::fs::create_dir(directory.0.join("w.123")).unwrap();
        assert_eq!(directory.only().unwrap_err().kind(), ErrorKind::NoPrimary);
        let _socket = directory.listen("w.123/control.sock");
        assert_eq!(directory.only().unwrap().name, "123");
        assert_eq!(directory.named("123").unwrap().name, "123");
    }

    #[test]
    fn of_several_one_must_be_named() {
        let directory = Directory::new("several");
        let _sockets = [directory.listen("8080.sock"), directory.listen("web.sock")];
        let error = directory.only().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.to_string().contains("8080, web"), "{error}");
        let error = directory.named("wbe").unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("there is 8080, web; did you mean web?"),
            "{error}"
        );
        assert_eq!(directory.named("8080").unwrap().name, "8080");
    }

    #[test]
    fn a_directory_that_others_can_write_to_is_not_looked_into() {
        use std::os::unix::fs::PermissionsExt;
        let directory = Directory::new("open");
        let _socket = directory.listen("web.sock");
        let open = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(&directory.0, open).unwrap();
        assert_eq!(directory.only().unwrap_err().kind(), ErrorKind::NoPrimary);
    }
}
