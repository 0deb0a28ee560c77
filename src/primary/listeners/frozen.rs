//! All listeners for the next image: the sockets stay open, so nobody is refused meanwhile and no backlog is lost.

use std::io;
use std::os::fd::AsFd;

use serde::{Deserialize, Serialize};

use super::door::{Door, Place};
use super::{Listener, Listeners, Settings};
use crate::policy::ids::ListenerId;
use crate::primary::socket_file::{FrozenFile, SocketFile};
use crate::sys::handover::{Kind, Luggage, Ticket};

/// As [`Listeners`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FrozenListeners {
    listeners: Vec<FrozenListener>,
    next: u16,
    named: bool,
    settings: Settings,
    #[serde(default)]
    overflows_before: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct FrozenListener {
    id: ListenerId,
    app_port: Option<u16>,
    doors: Vec<FrozenDoor>,
    asked_v4: bool,
    asked_v6: bool,
    #[serde(default)]
    defers_itself: bool,
}

/// One door.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FrozenDoor {
    /// `None`: it is closed.
    socket: Option<Ticket>,
    place: Place,
    file: Option<FrozenFile>,
    backlog: Option<i32>,
}

impl Listeners {
    /// What the next image needs.
    pub fn freeze<'a>(&'a self, luggage: &mut Luggage<'a>) -> FrozenListeners {
        let Self {
            listeners,
            next,
            named,
            settings,
            overflows_before,
        } = self;
        let mut frozen = Vec::with_capacity(listeners.len());
        for listener in listeners {
            let doors = listener.doors.iter();
            frozen.push(FrozenListener {
                id: listener.id,
                app_port: listener.app_port,
                doors: doors.map(|door| door.freeze(luggage)).collect(),
                asked_v4: listener.asked_v4,
                asked_v6: listener.asked_v6,
                defers_itself: listener.defers_itself,
            });
        }
        FrozenListeners {
            listeners: frozen,
            next: *next,
            named: *named,
            settings: *settings,
            overflows_before: *overflows_before,
        }
    }

    /// As another image left them.
    ///
    /// # Errors
    /// `InvalidData` if a socket did not come along. No name is unlinked then.
    pub fn thaw(frozen: FrozenListeners, luggage: &mut Luggage<'_>) -> io::Result<Self> {
        let mut listeners = Vec::with_capacity(frozen.listeners.len());
        let mut files = Vec::new();
        for (number, listener) in frozen.listeners.into_iter().enumerate() {
            let mut doors = Vec::with_capacity(listener.doors.len());
            for (door, frozen) in listener.doors.into_iter().enumerate() {
                let (thawed, file) = frozen.thaw(luggage)?;
                doors.push(thawed);
                files.extend(file.map(|file| (number, door, file)));
            }
            listeners.push(Listener {
                id: listener.id,
                app_port: listener.app_port,
                doors,
                asked_v4: listener.asked_v4,
                asked_v6: listener.asked_v6,
                defers_itself: listener.defers_itself,
            });
        }
        // Once nothing can fail any more: a name is unlinked when its door is dropped.
        for (number, door, file) in files {
            listeners[number].doors[door].file = Some(SocketFile::thaw(file));
        }
        Ok(Self {
            listeners,
            next: frozen.next,
            named: frozen.named,
            settings: frozen.settings,
            overflows_before: frozen.overflows_before,
        })
    }
}

impl FrozenDoor {
    /// As another image left it, and the name that is the door's once nothing can fail any more: it is unlinked
    /// when its door is dropped.
    ///
    /// # Errors
    /// `InvalidData` if its socket did not come along.
    pub fn thaw(self, luggage: &mut Luggage<'_>) -> io::Result<(Door, Option<FrozenFile>)> {
        let socket = self.socket;
        let socket = socket.map(|socket| luggage.take(socket, Kind::Listener));
        let door = Door::thaw(socket.transpose()?, self.place, self.backlog);
        Ok((door, self.file))
    }
}

impl Door {
    /// What the next image needs.
    pub fn freeze<'a>(&'a self, luggage: &mut Luggage<'a>) -> FrozenDoor {
        let socket = self.socket().ok();
        FrozenDoor {
            socket: socket.map(|socket| luggage.lend(Kind::Listener, socket.as_fd())),
            place: self.place.clone(),
            file: self.file.as_ref().map(SocketFile::freeze),
            backlog: self.backlog,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::status::ListenerStatus;

    #[test]
    fn names_and_backlogs_cross_an_upgrade() {
        let path = std::env::temp_dir().join(format!("forkfront-cross-{}", std::process::id()));
        let wish = format!("unix:{}", path.display()).parse().unwrap();
        let settings = Settings {
            backlog: Some(7),
            own_user: true,
            defer_accept: None,
        };
        let at = "127.0.0.1:0".parse().unwrap();
        let tcp = crate::config::Listen {
            at: crate::config::ListenAt::Tcp(at),
            app_port: Some(8080),
        };
        let listeners = Listeners::open(&[tcp, wish], Vec::new(), settings).unwrap();
        let address = listeners.addresses()[0].clone();
        let early = std::net::TcpStream::connect(&address).unwrap();
        let mut luggage = Luggage::default();
        let frozen = serde_json::to_string(&listeners.freeze(&mut luggage)).unwrap();
        let mut luggage = crate::sys::handover::crossed(&luggage);
        let frozen: FrozenListeners = serde_json::from_str(&frozen).unwrap();
        // As the exec does: without its end.
        std::mem::forget(listeners);
        let next = Listeners::thaw(frozen, &mut luggage).unwrap();
        drop(luggage);
        let statuses: Vec<ListenerStatus> = next.statuses("app", |_| 0);
        // Of both its doors.
        assert_eq!((statuses[0].backlog, statuses[0].backlog_limit), (1, 14));
        assert!(next.is_listening(ListenerId(0)));
        UnixStream::connect(&path).unwrap();
        drop((early, next));
        assert!(!path.exists());
    }
}
