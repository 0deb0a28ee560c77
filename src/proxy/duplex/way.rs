//! One direction of a session: from its source to its sink.
//!
//! It reads only when nothing is kept and the sink takes bytes, so there is nothing to lose when either side stops.
//! A read that brings less than there was room for has emptied the socket (epoll(7)), so no second read is spent on
//! being told so, unless the poll has told the end: then reads go on until they bring it. A write that takes less
//! than there was has filled the sink, which is left alone until the poll says that it has room again.

use std::net::Shutdown;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send};
use socket2::SockRef;

use super::pool::{Chunk, Tools};
use super::{Socket, raw};
use crate::config::proxy::Splice;

/// Bytes that one direction moves in one turn, about: enough that the turn itself costs nothing, and short enough
/// that others do not notice it.
const BUDGET: usize = 256 * 1024;
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
}

/// One direction.
#[derive(Debug)]
pub(super) struct Way {
    held: Held,
    phase: Phase,
    moved: u64,
}

impl Way {
    pub fn new(_splice: Splice, first: Box<[u8]>) -> Self {
        let held = match first.len() {
            0 => Held::Nothing,
            1..=LONGEST_FRONT => Held::Front(first),
            _ => Held::Chunk(Chunk::from(first)),
        };
        Self {
            held,
            phase: Phase::Open,
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

    /// Moves what can be moved now. An end is carried on only if `carry_end`.
    pub fn flow(
        &mut self,
        mut source: Socket<'_>,
        mut sink: Socket<'_>,
        tools: &mut Tools,
        carry_end: bool,
    ) -> Flow {
        let before = self.moved;
        loop {
            if let Err(errno) = self.deliver(&mut sink, tools) {
                return self.sink_failed(errno);
            }
            if matches!(self.held, Held::Chunk(_)) {
                return Flow::Waiting;
            }
            match self.phase {
                Phase::Open => {}
                Phase::Ending if carry_end && !self.pending() => return self.carry_end(&sink),
                Phase::Ending | Phase::Ended => return Flow::Waiting,
            }
            if !sink.ready.writable || !(source.ready.readable || self.pending()) {
                return Flow::Waiting;
            }
            if self.moved - before >= BUDGET as u64 {
                return Flow::Again;
            }
            match self.copy(&mut source, &mut sink, tools) {
                Ok(()) => {}
                Err(failed) => return failed,
            }
        }
    }

    /// One read and one write.
    fn copy(
        &mut self,
        source: &mut Socket<'_>,
        sink: &mut Socket<'_>,
        tools: &mut Tools,
    ) -> Result<(), Flow> {
        let mut length = 0;
        if let Held::Front(front) = std::mem::replace(&mut self.held, Held::Nothing) {
            tools.scratch[..front.len()].copy_from_slice(&front);
            length = front.len();
        }
        if source.ready.readable {
            length += self
                .read(source, &mut tools.scratch[length..])
                .map_err(Flow::SourceFailed)?;
        }
        if length == 0 {
            return Ok(());
        }
        let taken = write(sink, &tools.scratch[..length]).map_err(Flow::SinkFailed)?;
        self.moved += taken as u64;
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
                    source.ready.readable = count == buffer.len() || source.ready.ending;
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

    /// Writes what is kept, as far as the sink takes it.
    fn deliver(&mut self, sink: &mut Socket<'_>, tools: &mut Tools) -> Result<(), Errno> {
        let Held::Chunk(chunk) = &mut self.held else {
            return Ok(());
        };
        if !sink.ready.writable {
            return Ok(());
        }
        let taken = write(sink, chunk.rest())?;
        self.moved += taken as u64;
        chunk.advance(taken);
        if chunk.rest().is_empty()
            && let Held::Chunk(chunk) = std::mem::replace(&mut self.held, Held::Nothing)
        {
            tools.put_back(chunk);
        }
        Ok(())
    }

    fn carry_end(&mut self, sink: &Socket<'_>) -> Flow {
        match SockRef::from(&sink.fd).shutdown(Shutdown::Write) {
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
fn write(sink: &mut Socket<'_>, bytes: &[u8]) -> Result<usize, Errno> {
    loop {
        match send(
            raw(sink.fd),
            bytes,
            MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT,
        ) {
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
