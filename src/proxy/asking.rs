//! Whom a client belongs to, where backends are sticky: its address says it, or its first bytes, which are read for
//! that and then sent on with everything else.

use std::os::fd::AsRawFd;

use mio::Interest;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};

use super::attempt::Attempt;
use super::duplex::Side;
use super::session::{Session, Stage, Step};
use super::site::Site;
use super::source::Id;
use super::view::Belongs;
use crate::config::Routing;
use crate::config::Sticky;
use crate::config::proxy::Plan;
use crate::policy::affinity::{Affinity, Key};
use crate::policy::sniff::{Found, HEAD_MAX, Reading, Sniffer};
use crate::sys::address::to_wire;
use crate::wire::Address;

/// Finds out whom clients belong to.
#[derive(Debug)]
pub struct Oracle {
    affinity: Affinity,
    /// `None`: the client's address says it.
    sniffer: Option<Sniffer>,
}

impl Oracle {
    /// `None` if nothing is sticky.
    pub fn new(plan: &Plan) -> Option<Self> {
        let sticky = plan.proxy.sticky.as_ref()?;
        let routing = Routing {
            sticky: Some(sticky.clone()),
            trusted_proxies: plan.trusted_proxies.clone(),
            ..Routing::default()
        };
        Some(Self {
            affinity: Affinity::new(sticky, plan.hash_key),
            sniffer: match sticky {
                Sticky::Ip(_) => None,
                _ => Sniffer::new(&routing),
            },
        })
    }

    fn by_address(&self, peer: &Address) -> Belongs {
        match self.affinity.key(peer) {
            Some(key) => Belongs::With(key),
            None => Belongs::Anywhere,
        }
    }

    /// Whom the client `peer` belongs to by all that has come of it; `end`: there will be no more. `None`: more is
    /// needed.
    fn ask(&mut self, bytes: &[u8], peer: &Address, end: bool) -> Option<Belongs> {
        let Some(sniffer) = &mut self.sniffer else {
            return Some(self.by_address(peer));
        };
        let with = |key: Option<Key>| key.map_or(Belongs::Anywhere, Belongs::With);
        match sniffer.read(bytes, peer, end) {
            Reading::More => None,
            Reading::Done(Found::Key { bytes, .. }) => {
                Some(Belongs::With(self.affinity.key_of(bytes)))
            }
            Reading::Done(Found::Address { address, .. }) => {
                Some(with(self.affinity.key(&address)))
            }
            Reading::Done(Found::Slot { slot, .. }) => Some(Belongs::At(usize::from(slot))),
            Reading::Done(Found::Anybody) => Some(Belongs::Anywhere),
            Reading::Done(Found::Fallback(_)) => Some(self.by_address(peer)),
        }
    }
}

impl Session {
    /// Its first turn.
    pub fn begin(&mut self, id: Id, site: &mut Site) -> Step {
        let mut attempt = Attempt::new(site);
        match &site.view.oracle {
            None => self.set_out(id, attempt, site),
            Some(oracle) if oracle.sniffer.is_none() => {
                attempt.belongs = oracle.by_address(&self.peer());
                self.set_out(id, attempt, site)
            }
            Some(_) => {
                attempt.until = site.now.saturating_add(site.view.patience.peek);
                attempt.was_read = true;
                self.ask(id, Box::new(attempt), site)
            }
        }
    }

    /// More of the client's first bytes may have come.
    pub fn ask(&mut self, id: Id, mut attempt: Box<Attempt>, site: &mut Site) -> Step {
        let client = self.client.as_raw_fd();
        let mut end = false;
        while !end {
            let room = (HEAD_MAX - attempt.first.len()).min(site.first.len());
            match recv(client, &mut site.first[..room], MsgFlags::empty()) {
                // It may wait for what the server says, so that its address decides.
                Ok(0) => end = true,
                Ok(length) => {
                    attempt.first.extend_from_slice(&site.first[..length]);
                    attempt.has_spoken = true;
                }
                Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) => continue,
                Err(_) => return Step::Over,
            }
            end |= attempt.first.len() >= HEAD_MAX;
            if let Some(belongs) = self.belongs(&attempt, end, site) {
                attempt.belongs = belongs;
                return self.set_out(id, *attempt, site);
            }
        }
        self.stage = Stage::Asking(attempt);
        self.watch_client(id, Interest::READABLE, site)
    }

    /// No more of them are waited for.
    pub fn asked_in_vain(&mut self, id: Id, mut attempt: Box<Attempt>, site: &mut Site) -> Step {
        let belongs = self.belongs(&attempt, true, site);
        attempt.belongs = belongs.unwrap_or(Belongs::Anywhere);
        self.set_out(id, *attempt, site)
    }

    fn belongs(&self, attempt: &Attempt, end: bool, site: &mut Site) -> Option<Belongs> {
        match &mut site.view.oracle {
            // Meanwhile nothing is sticky any more.
            None => Some(Belongs::Anywhere),
            Some(oracle) => oracle.ask(&attempt.first, &self.peer(), end),
        }
    }

    /// It is known where the session may go.
    fn set_out(&mut self, id: Id, mut attempt: Attempt, site: &mut Site) -> Step {
        if let Some(form) = site.view.proxy().send_proxy {
            let header = super::header::header(form, &self.client);
            attempt.first.splice(..0, header);
        }
        // Who came before goes before. Where no more may wait it looks all the same, once they have: those may be there
        // for some backends only.
        let may_wait = |site: &Site| site.room || site.queued < site.view.proxy().max_queue;
        if site.queued != 0 && may_wait(site) {
            return self.wait_for_room(Box::new(attempt), site);
        }
        self.connect(id, attempt, site)
    }

    fn peer(&self) -> Address {
        let peer = self.client.peer();
        peer.map_or_else(Address::default, |peer| to_wire(&peer))
    }

    /// Has the poll watch the client, from now on or anew: what it is ready for now is told.
    pub fn watch_client(&mut self, id: Id, interest: Interest, site: &mut Site) -> Step {
        let known = self.watched.client.is_some();
        let watched = match known {
            true => site.watch_again(&self.client, id, Side::Client, interest),
            false => site.watch(&self.client, id, Side::Client, interest),
        };
        match watched {
            Ok(watched) => {
                self.watched.client = watched;
                Step::Waiting
            }
            Err(errno) => {
                site.complain(format_args!("a client cannot be watched: {}", errno.desc()));
                self.reset();
                Step::Over
            }
        }
    }
}
