//! Connections of the primary's own, by which it finds out whether one given worker answers. They stand in no
//! ledger, and come to that worker or to nobody.

use std::os::fd::{AsFd, OwnedFd};

use socket2::SockRef;

use super::seat::Standing;
use super::state::State;
use crate::policy::ids::{ListenerId, WorkerId};
use crate::primary::messages::Report;
use crate::sys::clock;
use crate::sys::fdpass::Sent;
use crate::wire::{Address, Kind, Record};

/// Set in the number of a probe; connections are counted from 1 and never come so far.
const PROBE: u64 = 1 << 63;

/// Whether a record that was read back is one of a probe.
pub(super) fn is_probe(record: &Record) -> bool {
    record.kind == Kind::Connection && record.connection & PROBE != 0
}

impl State {
    pub(super) fn probe(
        &mut self,
        worker: WorkerId,
        listener: Option<ListenerId>,
        socket: &OwnedFd,
        (peer, local): (Address, Address),
    ) {
        let found = self.seats.iter().find(|(_, seat)| {
            seat.worker() == worker
                && seat.standing == Standing::Admitted
                && listener.is_none_or(|listener| listener == seat.listener())
        });
        let Some((key, seat)) = found else {
            self.reports.send(Report::ProbeReturned(worker));
            return;
        };
        self.last_connection += 1;
        let nonblocking = seat.wants_nonblocking().unwrap_or(false);
        // Fails for no socket.
        let _ = SockRef::from(socket).set_nonblocking(nonblocking);
        let record = Record {
            nonblocking,
            connection: self.last_connection | PROBE,
            accepted_at: clock::now_ns(),
            peer,
            local,
            ..Record::control(Kind::Connection, seat.listener().0)
        };
        self.send_probe(key, &record, socket);
    }

    /// Sends a probe by this seat, or says that it could not be sent.
    pub(super) fn send_probe(&mut self, key: usize, record: &Record, socket: &OwnedFd) {
        let now = clock::now_ns();
        let seat = &mut self.seats[key];
        if seat.queued() == 0 {
            seat.progress.observe(now, seat.taken(), 0);
        }
        let worker = seat.worker();
        let sent = seat.probe(record, socket.as_fd());
        match sent {
            Sent::Done => return self.watch(now),
            Sent::Full | Sent::InFlightLimit => {}
            Sent::Broken(error) => self.is_broken(key, error),
        }
        self.reports.send(Report::ProbeReturned(worker));
    }
}
