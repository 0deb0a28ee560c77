//! By what the connections of a listener are known to the kernel: their local end.

use super::Listeners;
use super::door::{Door, Place};
use crate::config::ListenAt;
use crate::sys::process::connections::Local;

impl Listeners {
    /// The local end of each door's connections; `None` for a Unix socket whose name cannot be told exactly.
    pub fn locals(&self) -> impl Iterator<Item = Option<Local>> + '_ {
        self.doors().map(local)
    }

    /// Where each door is, as it would be written. A wildcard of both families is that of IPv6.
    pub fn places(&self) -> impl Iterator<Item = ListenAt> + '_ {
        self.doors().filter_map(|door| match &door.place {
            Place::Tcp(address, _) => Some(ListenAt::Tcp(*address)),
            Place::Unix(text) => Some(ListenAt::Unix(text.strip_prefix("unix:")?.into())),
        })
    }
}

fn local(door: &Door) -> Option<Local> {
    match &door.place {
        Place::Tcp(address, _) => Some(Local::Tcp(address.port())),
        Place::Unix(text) => {
            let path = text.strip_prefix("unix:")?;
            // No name at all, an abstract one, or bytes that are no text.
            let exact = !path.starts_with('@') && !path.contains(char::REPLACEMENT_CHARACTER);
            exact.then(|| Local::Unix(path.as_bytes().to_vec()))
        }
    }
}
