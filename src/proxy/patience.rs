//! How long each thing may take, in the milliseconds of the worker's clock, and what becomes of a session that takes
//! longer.

use std::time::Duration;

use nix::errno::Errno;
use socket2::{SockRef, TcpKeepalive};

use super::duplex::reset_on_close;
use super::session::{Session, Stage, Step};
use super::site::Site;
use super::source::Id;
use crate::backend_board::TurnedAway;
use crate::config::proxy::Plan;
use crate::worker::Stream;

/// Never.
pub const NEVER: u64 = u64::MAX;
/// A backend that was restarted may be there again, ms. A quarter of a connect's time if that is less, so that the usual
/// three fit into it.
const ANEW: u64 = 1_000;
/// A session that is over by then needs no keepalives, and is spared the calls to ask for them.
const KEEPALIVE_AFTER: u64 = 2_000;

/// All of it as the plan has it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Patience {
    /// A client's first bytes.
    pub peek: u64,
    /// Each connect.
    pub connect: u64,
    /// From a connect that failed to the next one at the same backend.
    pub anew: u64,
    /// A wait for room.
    pub queue: u64,
    /// Nothing in either direction.
    idle: u64,
    /// Nothing after one side has ended.
    half_closed: u64,
    /// The whole session.
    lifetime: u64,
    /// From the last byte to the first keepalive.
    keepalive: Option<Duration>,
}

impl Patience {
    /// What `plan` says.
    pub fn new(plan: &Plan) -> Self {
        let timeouts = &plan.proxy.timeouts;
        let connect = milliseconds(timeouts.connect);
        let some = |time: Option<Duration>| time.map_or(NEVER, milliseconds);
        Self {
            peek: plan.peek_timeout_ms,
            connect,
            anew: ANEW.min(connect / 4).max(1),
            queue: milliseconds(timeouts.queue),
            idle: some(timeouts.idle),
            half_closed: some(timeouts.half_closed.or(timeouts.idle)),
            lifetime: some(timeouts.lifetime),
            keepalive: plan.proxy.keepalive,
        }
    }
}

/// Never none: what is due at once would be late before it has begun.
fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(NEVER).max(1)
}

impl Session {
    /// When it is to be looked at though nothing comes; [`NEVER`]: it need not be.
    pub fn due(&self, patience: &Patience) -> u64 {
        match &self.stage {
            Stage::New => NEVER,
            Stage::Asking(attempt)
            | Stage::Queued(attempt)
            | Stage::Resting(attempt)
            | Stage::Connecting(attempt) => attempt.until,
            Stage::Moving(_) => {
                let keepalive = match patience.keepalive {
                    Some(_) if !self.kept_alive => self.started.saturating_add(KEEPALIVE_AFTER),
                    _ => NEVER,
                };
                keepalive.min(self.end_of_patience(patience))
            }
        }
    }

    /// When a session that moves bytes is to end.
    fn end_of_patience(&self, patience: &Patience) -> u64 {
        let quiet = match &self.stage {
            Stage::Moving(duplex) if duplex.is_half_closed() => patience.half_closed,
            _ => patience.idle,
        };
        let life = self.started.saturating_add(patience.lifetime);
        self.active.saturating_add(quiet).min(life)
    }

    /// The time has come for which it was to be looked at, or will come soon.
    pub fn late(&mut self, id: Id, site: &mut Site) -> Step {
        if self.due(&site.view.patience) > site.now {
            return Step::Waiting;
        }
        match std::mem::take(&mut self.stage) {
            Stage::New => Step::Waiting,
            Stage::Asking(attempt) => self.asked_in_vain(id, attempt, site),
            Stage::Queued(_) => self.refuse(TurnedAway::QueueTimeout, site),
            Stage::Resting(attempt) => self.connect(id, *attempt, site),
            // It has come about, and the event is still to come: the loop was held up.
            Stage::Connecting(attempt) if self.is_connected() => {
                self.begin_moving(id, *attempt, None, site)
            }
            Stage::Connecting(attempt) => self.connect_failed(id, *attempt, Errno::ETIMEDOUT, site),
            Stage::Moving(duplex) => {
                let pending = duplex.pending();
                self.stage = Stage::Moving(duplex);
                if self.end_of_patience(&site.view.patience) <= site.now {
                    self.give_up(pending);
                    return Step::Over;
                }
                self.keep_alive(site);
                Step::Waiting
            }
        }
    }

    fn is_connected(&self) -> bool {
        let backend = self.backend.as_ref();
        backend.is_some_and(|socket| socket.peer_addr().is_ok())
    }

    /// Who waits for bytes that will not come is to know that they do not.
    fn give_up(&self, pending: bool) {
        if pending {
            self.reset();
        }
    }

    /// Both sides are reset when the session is dropped.
    pub fn reset(&self) {
        reset_on_close(&self.client);
        if let Some(backend) = &self.backend {
            reset_on_close(backend);
        }
    }

    fn keep_alive(&mut self, site: &Site) {
        self.kept_alive = true;
        let Some(time) = site.view.patience.keepalive else {
            return;
        };
        let keepalive = TcpKeepalive::new().with_time(time);
        // What cannot be had is done without. A Unix socket knows no such thing.
        if let Stream::Tcp(client) = self.client.stream() {
            let _ = SockRef::from(client).set_tcp_keepalive(&keepalive);
        }
        if let Some(backend) = &self.backend {
            let _ = backend.set_tcp_keepalive(&keepalive);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_than_a_millisecond_is_one() {
        let times = [500, 1_999, 2_000].map(|us| milliseconds(Duration::from_micros(us)));
        assert_eq!(times, [1, 1, 2]);
        assert_eq!(milliseconds(Duration::MAX), NEVER);
    }
}
