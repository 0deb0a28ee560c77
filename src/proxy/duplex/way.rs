//! One direction of a session: from its source to its sink.
//!
//! It reads only when nothing is kept and the sink takes bytes, so there is nothing to lose when either side stops.
//! A read that brings less than there was room for has emptied the socket (epoll(7)), so no second read is spent on
//! being told so; if the poll had told the end before, that read was the last, and what it brought and the end go on
//! in one packet. A write that takes less than there was has filled the sink, which is left alone until the poll says
//! that it has room again.
//!
//! With a pipe it is the same: it is filled only when it is empty, so that `EAGAIN` means one thing, and is kept only
//! while something is in it. How much one filling brings says nothing of what is left (each packet takes a page of the
//! pipe, be it ever so small), so the last one brings `EAGAIN`: that is why only streams are spliced.

use std::net::Shutdown;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send};
use socket2::SockRef;

use super::means::Means;
use super::pool::{Chunk, Lent, SCRATCH, Tools};
use super::{Socket, raw};
use crate::config::proxy::Splice;

/// Bytes that one direction moves in one turn, about: enough that the turn itself costs nothing, and short enough
/// that others do not notice it.
const BUDGET: usize = 512 * 1024;
/// What is to be sent first is put in front of what is read first, so that both go in one packet; longer than this it
/// goes alone.
const LONGEST_FRONT: usize = 4096;

/// What came of a turn of one direction.
#[derive(Debug)]
pub(super) enum Flow {
    /// Until the poll says more.
    Waiting,
    /// The budget is used up.
    Again,
    /// Reading failed; all that had been read is delivered.
    SourceFailed(Errno),
    /// Writing failed; what was kept is dropped.
    SinkFailed(Errno),
}

/// How the end is carried on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carry {
    /// It is not, since it is none.
    Never,
    /// By shutdown(2).
    ByShutdown,
    /// By the close(2) of both sockets that follows, since the other direction has ended already.
    ByClose,
}

/// Where the end of the source is.
#[derive(Debug, PartialEq, Eq)]
enum Phase {
    /// It has not come.
    Open,
    /// It has been read; what was read before it is to be delivered first.
    Ending,
    /// It has been carried on.
    Ended,
}

/// What was read and not delivered.
#[derive(Debug)]
enum Held {
    Nothing,
    /// What is to be sent first, together with what is read first.
    Front(Box<[u8]>),
    Chunk(Chunk),
    Pipe(Lent),
}

/// One direction.
#[derive(Debug)]
pub(super) struct Way {
    held: Held,
    phase: Phase,
    splice: Splice,
    means: Means,
    moved: u64,
}

impl Way {
    pub fn new(splice: Splice, first: Box<[u8]>) -> Self {
        let held = match first.len() {
            0 => Held::Nothing,
            1..=LONGEST_FRONT => Held::Front(first),
            _ => Held::Chunk(Chunk::from(first)),
        };
        Self {
            held,
            phase: Phase::Open,
            splice,
            means: Means::at_first(splice),
            moved: 0,
        }
    }

    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    pub fn has_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    pub fn pending(&self) -> bool {
        !matches!(self.held, Held::Nothing)
    }

    pub fn take_moved(&mut self) -> u64 {
        std::mem::take(&mut self.moved)
    }

    /// Moves what can be moved now.
    pub fn flow(
        &mut self,
        mut source: Socket<'_>,
        mut sink: Socket<'_>,
        tools: &mut Tools,
        carry: Carry,
    ) -> Flow {
        let before = self.moved;
        loop {
            if let Err(errno) = self.deliver(&mut sink, tools) {
                return self.sink_failed(errno);
            }
            if matches!(self.held, Held::Chunk(_) | Held::Pipe(_)) {
                return Flow::Waiting;
            }
            match self.phase {
                Phase::Open => {}
                Phase::Ending => return self.carry_end(&sink, carry),
                Phase::Ended => return Flow::Waiting,
            }
            if !sink.ready.writable || !(source.ready.readable || self.pending()) {
                return Flow::Waiting;
            }
            if self.moved - before >= BUDGET as u64 {
                return Flow::Again;
            }
            if source.ready.marked {
                self.copy_from_now_on();
            }
            let moved = match self.pipe(tools) {
                Some(pipe) => self.splice(pipe, &mut source, &mut sink, tools),
                None => self.copy(&mut source, &mut sink, tools, carry),
            };
            if let Err(failed) = moved {
                return failed;
            }
        }
    }

    /// One read and one write.
    fn copy(
        &mut self,
        source: &mut Socket<'_>,
        sink: &mut Socket<'_>,
        tools: &mut Tools,
        carry: Carry,
    ) -> Result<(), Flow> {
        let mut length = 0;
        if let Held::Front(front) = std::mem::replace(&mut self.held, Held::Nothing) {
            tools.scratch[..front.len()].copy_from_slice(&front);
            length = front.len();
        }
        if source.ready.readable {
            let count = self
                .read(source, &mut tools.scratch[length..self.means.room()])
                .map_err(Flow::SourceFailed)?;
            length += count;
        }
        if length == 0 {
            return Ok(());
        }
        // With the end to follow at once, the kernel may wait for it: one packet, and one wake-up of the reader.
        let more = self.phase == Phase::Ending && carry != Carry::Never;
        let taken = write(sink, &tools.scratch[..length], more).map_err(Flow::SinkFailed)?;
        self.moved += taken as u64;
        self.means.copied(length, taken, self.splice);
        if taken < length {
            self.held = Held::Chunk(tools.keep(taken..length));
        }
        Ok(())
    }

    /// Zero when there is nothing now, and at the end.
    fn read(&mut self, source: &mut Socket<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
        loop {
            match recv(raw(source.fd), buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(0) => {
                    source.ready.readable = false;
                    self.phase = Phase::Ending;
                    return Ok(0);
                }
                Ok(count) => {
                    let emptied = count < buffer.len() && !source.ready.marked;
                    source.ready.readable = !emptied;
                    if emptied && source.ready.ending {
                        self.phase = Phase::Ending;
                    }
                    return Ok(count);
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    source.ready.readable = false;
                    return Ok(0);
                }
                Err(errno) => return Err(errno),
            }
        }
    }

    /// A pipe, if what comes is to be spliced and there is one.
    fn pipe(&mut self, tools: &mut Tools) -> Option<Lent> {
        if self.pending() || !matches!(self.means, Means::Splice { .. }) {
            return None;
        }
        let pipe = tools.pipes.take();
        if pipe.is_none() {
            // Whatever still fills the whole buffer asks again.
            self.means = Means::copy(SCRATCH);
        }
        pipe
    }

    /// One filling and one emptying of a pipe.
    fn splice(
        &mut self,
        mut lent: Lent,
        source: &mut Socket<'_>,
        sink: &mut Socket<'_>,
        tools: &mut Tools,
    ) -> Result<(), Flow> {
        match lent.pipe.fill(source.fd) {
            // The end, or urgent data that the end comes after, which splice(2) never gets past: a read tells.
            Ok(0) => self.copy_from_now_on(),
            Ok(count) => {
                self.means.filled(count, self.splice);
                self.empty(&mut lent, sink).map_err(Flow::SinkFailed)?;
            }
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => source.ready.readable = false,
            // A socket that cannot be spliced: a filter is on it, say.
            Err(Errno::EINVAL) => self.copy_from_now_on(),
            Err(errno) => return Err(Flow::SourceFailed(errno)),
        }
        self.keep_or_put_back(lent, tools);
        Ok(())
    }

    /// Empties a pipe, as far as the sink takes it.
    fn empty(&mut self, lent: &mut Lent, sink: &mut Socket<'_>) -> Result<(), Errno> {
        while lent.pipe.inside() > 0 {
            match lent.pipe.empty(sink.fd) {
                Ok(count) => self.moved += count as u64,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    sink.ready.writable = false;
                    break;
                }
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    fn keep_or_put_back(&mut self, lent: Lent, tools: &mut Tools) {
        if lent.pipe.inside() > 0 {
            self.held = Held::Pipe(lent);
        } else {
            tools.pipes.put_back(lent);
        }
    }

    fn copy_from_now_on(&mut self) {
        self.splice = Splice::Off;
        self.means = Means::at_first(Splice::Off);
    }

    /// Writes what is kept, as far as the sink takes it.
    fn deliver(&mut self, sink: &mut Socket<'_>, tools: &mut Tools) -> Result<(), Errno> {
        if !sink.ready.writable {
            return Ok(());
        }
        match std::mem::replace(&mut self.held, Held::Nothing) {
            Held::Chunk(mut chunk) => {
                let taken = write(sink, chunk.rest(), false)?;
                self.moved += taken as u64;
                chunk.advance(taken);
                if chunk.rest().is_empty() {
                    tools.put_back(chunk);
                } else {
                    self.held = Held::Chunk(chunk);
                }
            }
            Held::Pipe(mut lent) => {
                self.empty(&mut lent, sink)?;
                self.keep_or_put_back(lent, tools);
            }
            other => self.held = other,
        }
        Ok(())
    }

    fn carry_end(&mut self, sink: &Socket<'_>, carry: Carry) -> Flow {
        let carried = match carry {
            Carry::Never => return Flow::Waiting,
            Carry::ByShutdown => SockRef::from(&sink.fd).shutdown(Shutdown::Write),
            Carry::ByClose => Ok(()),
        };
        match carried {
            Ok(()) => {
                self.phase = Phase::Ended;
                Flow::Waiting
            }
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(libc::EPIPE);
                self.sink_failed(Errno::from_raw(errno))
            }
        }
    }

    fn sink_failed(&mut self, errno: Errno) -> Flow {
        self.held = Held::Nothing;
        Flow::SinkFailed(errno)
    }
}

/// How many bytes the sink has taken.
fn write(sink: &mut Socket<'_>, bytes: &[u8], more: bool) -> Result<usize, Errno> {
    let mut flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    flags.set(MsgFlags::from_bits_retain(libc::MSG_MORE), more);
    loop {
        match send(raw(sink.fd), bytes, flags) {
            Ok(count) => {
                sink.ready.writable = count == bytes.len();
                return Ok(count);
            }
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                sink.ready.writable = false;
                return Ok(0);
            }
            Err(errno) => return Err(errno),
        }
    }
}
