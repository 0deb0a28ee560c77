//! The threads that write what the [`Sink`]s hold, one each: whatever they wait for, nobody waits for them.
//!
//! What is not a file is written to only when it is writable, and no more than it then takes at once.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{SFlag, fstat};

use super::files::Files;
use super::sink::{Piece, Sink};
use crate::protocol::line::Look;

/// What a pipe that polls writable takes without a wait (pipe(7), `PIPE_BUF`).
const AT_ONCE: usize = 4096;

/// Where a writer writes to.
#[derive(Debug)]
pub enum Output {
    /// What we were given: a terminal, a pipe, a file, the journal's socket.
    Stream {
        /// It is shared with others.
        fd: OwnedFd,
        /// How much may be written at once.
        at_once: usize,
    },
    /// Log files.
    Files(Files),
}

impl Output {
    /// One that we were given.
    pub fn stream(fd: OwnedFd) -> Self {
        let file = fstat(&fd)
            .is_ok_and(|found| found.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFREG.bits());
        let at_once = if file { usize::MAX } else { AT_ONCE };
        Self::Stream { fd, at_once }
    }

    /// Writes a part of the piece; false: it never can be.
    fn write(&mut self, piece: &mut Piece) -> bool {
        let written = match self {
            Self::Stream { fd, at_once } => {
                let rest = &piece.bytes[piece.written..];
                nix::unistd::write(&*fd, &rest[..rest.len().min(*at_once)])
            }
            Self::Files(files) => files.write(piece),
        };
        match written {
            Ok(count) => piece.written += count,
            // The output is shared with others, who may have made it non-blocking.
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            // Nobody reads any more, or the disk is full: the service does not depend on it.
            Err(_) => return false,
        }
        true
    }
}

/// Starts the writer of an output. Without a [`close`](Sink::close) the thread lives as long as the process: it may
/// be blocked.
///
/// # Errors
/// That of starting a thread.
pub fn start(
    name: &str,
    mut output: Output,
    look: Look,
    lost: &Arc<AtomicU64>,
) -> io::Result<Arc<Sink>> {
    spawn(name, look, lost, move |queue| {
        write_all(queue, &mut output);
    })
}

/// The same of log files that `former` writes to its end first: two writers of one file would rotate it twice.
///
/// # Errors
/// That of starting a thread.
pub fn start_after(
    former: Option<Arc<Sink>>,
    mut files: Files,
    look: Look,
    lost: &Arc<AtomicU64>,
) -> io::Result<Arc<Sink>> {
    spawn("forkfront-files", look, lost, move |queue| {
        if let Some(former) = former {
            former.await_end();
            // It may be longer by now, or another one.
            files.reopen();
        }
        write_all(queue, &mut Output::Files(files));
    })
}

/// What is left in the sink is for the thread to write.
fn spawn(
    name: &str,
    look: Look,
    lost: &Arc<AtomicU64>,
    write: impl FnOnce(&Sink) + Send + 'static,
) -> io::Result<Arc<Sink>> {
    let sink = Sink::new(look, lost);
    let queue = Arc::clone(&sink);
    std::thread::Builder::new()
        .name(name.into())
        .spawn(move || write(&queue))?;
    Ok(sink)
}

fn write_all(queue: &Sink, output: &mut Output) {
    while queue.await_work() {
        if let Output::Files(files) = output {
            if queue.is_to_reopen() {
                files.reopen();
            }
        } else {
            wait_until_writable(output);
        }
        if let Some(mut piece) = queue.take() {
            let taken = output.write(&mut piece);
            queue.give_back(piece, !taken);
        }
    }
}

/// Waits for as long as it takes. What cannot be polled is written to anyway.
fn wait_until_writable(output: &Output) {
    let Output::Stream { fd, .. } = output else {
        return;
    };
    let mut writable = [PollFd::new(fd.as_fd(), PollFlags::POLLOUT)];
    while poll(&mut writable, PollTimeout::NONE) == Err(Errno::EINTR) {}
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::primary::logs::sink::Origin;

    fn start(writer: io::PipeWriter) -> Arc<Sink> {
        let output = Output::stream(writer.into());
        super::start("test", output, Look::default(), &Arc::default()).unwrap()
    }

    #[test]
    fn a_writer_whose_output_takes_nothing_is_paused_to_the_byte() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let sink = start(writer);
        let line = |n: u32| format!("line {n:>6}\n").into_bytes();
        let all: Vec<u8> = (0..30_000).flat_map(line).collect();
        (0..30_000).for_each(|n| sink.push(&None, line(n), 1, Origin::Worker));
        assert!(
            !sink.flush(Instant::now() + Duration::from_millis(50)),
            "a pipe holds 64 KiB"
        );
        assert!(sink.pause(Instant::now() + Duration::from_secs(5)));
        let unwritten = sink.unwritten();
        assert_eq!(sink.unwritten(), unwritten);
        let unwritten = unwritten[&None].clone();
        // As after the exec: another writer on the same pipe.
        let (mut again, writer) = std::io::pipe().unwrap();
        let next = start(writer);
        next.take_over(None, unwritten.clone());
        let length = serde_json::to_value(&unwritten).unwrap()["bytes"]
            .as_str()
            .unwrap()
            .len();
        let mut written = vec![0; all.len() - length];
        reader.read_exact(&mut written).unwrap();
        let mut rest = vec![0; length];
        again.read_exact(&mut rest).unwrap();
        written.extend(rest);
        assert!(written == all);
        // The exec has failed: the old one goes on.
        sink.resume();
        let mut byte = [0];
        reader.read_exact(&mut byte).unwrap();
    }
}
