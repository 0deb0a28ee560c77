//! Sessions that wait a moment before they try to connect again: for want of something of our own, or since no backend
//! could be connected to and one of them may be about to be.

use std::time::Duration;

use mio::Interest;
use nix::errno::Errno;

use super::attempt::{Attempt, Tried};
use super::patience::NEVER;
use super::session::{Session, Stage, Step};
use super::site::Site;
use super::source::Id;
use crate::backend_board::TurnedAway;

/// How long a session rests that had no descriptor to connect with, ms.
const REST: u64 = 16;
/// The same of one that had no port: the kernel looks at all of them each time.
const REST_OF_PORTS: u64 = 100;
/// Where that takes long, since many addresses of ours are given, no look for this long at most, ms.
const LONGEST_REST_OF_PORTS: u64 = 1_000;

impl Attempt {
    /// All that were tried may be tried again.
    fn begin_anew(&mut self) {
        self.tried = Tried::default();
        self.is_anew = true;
    }

    /// It has waited for room: what it has tried may be there again meanwhile. The last try is kept for what it waits for.
    pub(super) fn look_again(&mut self, now: u64) {
        // The wait is not part of the time that connects may take.
        self.anew_until = NEVER;
        if now >= self.anew_at && self.left != 0 {
            self.anew_at = NEVER;
            self.begin_anew();
        }
    }
}

impl Session {
    /// Tries again soon what could not be done for want of descriptors, ports or memory (or, of a Unix socket, since its
    /// backlog is full: it cannot be waited for that). None of it is the backend's fault.
    pub(super) fn rest(&mut self, errno: Errno, mut attempt: Attempt, site: &mut Site) -> Step {
        self.give_place_back(site);
        if attempt.rested_until == NEVER {
            attempt.rested_until = site.now.saturating_add(site.view.patience.connect);
        }
        if site.now >= attempt.rested_until && errno != Errno::EAGAIN {
            let why = match errno {
                Errno::EADDRNOTAVAIL => TurnedAway::NoPort,
                _ => TurnedAway::Exhausted,
            };
            return self.refuse(why, site);
        }
        let (rest, more) = match errno {
            Errno::EADDRNOTAVAIL => match &site.view.proxy().source[..] {
                [] => (REST_OF_PORTS, ": all ports are taken there"),
                _ => (
                    REST_OF_PORTS,
                    ": all ports of --source are taken there, or it is not of this machine, or nothing gets there from it",
                ),
            },
            _ => (REST, ""),
        };
        let why = errno.desc();
        site.complain(format_args!("a connect to a backend waits: {why}{more}"));
        // Those that could not be connected to are not tried again sooner for that.
        attempt.until = match attempt.anew_at {
            NEVER => site.now + rest,
            anew_at => anew_at.max(site.now + rest),
        };
        self.stage = Stage::Resting(Box::new(attempt));
        Step::Waiting
    }

    /// All were tried in vain. One may be starting anew, and where it is the only one nobody else can serve the client,
    /// so all are tried again in a while, as long as a connect may take.
    pub(super) fn begin_anew(&mut self, id: Id, mut attempt: Attempt, site: &mut Site) -> Step {
        if attempt.anew_at >= attempt.anew_until {
            return self.refuse(TurnedAway::Unreachable, site);
        }
        attempt.until = attempt.anew_at;
        attempt.begin_anew();
        self.stage = Stage::Resting(Box::new(attempt));
        match self.watched.client {
            Some(_) => Step::Waiting,
            // It may reset its connection meanwhile.
            None => self.watch_client(id, Interest::READABLE, site),
        }
    }
}

/// For how long no session looks again for a port where none was found, ms. `took`: that look.
pub(super) fn rest_of_ports(took: Duration) -> u64 {
    // A tenth of the time goes there at most, unless we were stopped meanwhile.
    let rest = u64::try_from(took.as_millis()).map_or(u64::MAX, |took| took.saturating_mul(10));
    rest.clamp(REST_OF_PORTS, LONGEST_REST_OF_PORTS)
}

/// Whether it is not the backend's fault.
pub(super) fn is_shortage(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::EMFILE
            | Errno::ENFILE
            | Errno::ENOBUFS
            | Errno::ENOMEM
            | Errno::ENOSPC
            | Errno::EAGAIN
    )
}
