//! Where lines end up, and how they look there: the workers' on our stdout and stderr, or in log files; our own on
//! stderr, and in a log file as well if there is one.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use nix::sys::stat::fstat;
use serde::{Deserialize, Serialize};

use super::Place;
use super::files::{self, Files, Rotation};
use super::sink::{Name, Sink, Unwritten};
use super::writer::{self, Output};
use crate::config::{self, LogFile};
use crate::protocol::line::{Look, Stream};

/// What we were given to write to.
#[derive(Debug)]
pub struct Streams {
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
}

/// How the log is to be, with everything opened that can fail.
#[derive(Debug)]
pub struct Prepared {
    wish: config::Logs,
    files: Option<(Files, Rotation)>,
}

/// Where lines end up. Both streams may be one, so that a shared file or terminal keeps the order.
#[derive(Clone, Debug)]
pub struct Outputs {
    wish: config::Logs,
    stdout: Arc<Sink>,
    stderr: Arc<Sink>,
    files: Option<LogFiles>,
    /// Those that lines went to before, until all of that is written.
    former: Vec<LogFiles>,
}

#[derive(Clone, Debug)]
struct LogFiles {
    path: PathBuf,
    sink: Arc<Sink>,
    rotation: Rotation,
    own: Name,
}

/// Lines that were to be written to a file, for the next image.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UnwrittenFile {
    name: String,
    lines: Unwritten,
}

impl Prepared {
    /// Opens what this wish needs.
    ///
    /// # Errors
    /// A sentence: the log file cannot be written.
    pub fn new(wish: &config::Logs) -> Result<Self, String> {
        let files = wish.file.as_ref().map(Files::open).transpose()?;
        Ok(Self {
            wish: wish.clone(),
            files,
        })
    }

    /// The same on stdout and stderr.
    pub fn without_file(wish: &config::Logs) -> Self {
        Self {
            wish: config::Logs {
                file: None,
                ..wish.clone()
            },
            files: None,
        }
    }
}

impl Outputs {
    /// Starts the writers.
    pub fn start(streams: Streams, prepared: Prepared, lost: &Arc<AtomicU64>) -> io::Result<Self> {
        let Streams { stdout, stderr } = streams;
        let one = same_file(&stdout, &stderr);
        let wish = &prepared.wish;
        let start = |name, fd: OwnedFd| {
            let look = look_of(wish, &fd);
            writer::start(name, Output::stream(fd), look, lost)
        };
        let stdout = start("forkfront-stdout", stdout)?;
        let stderr = if one {
            Arc::clone(&stdout)
        } else {
            start("forkfront-stderr", stderr)?
        };
        let mut outputs = Self {
            wish: config::Logs::default(),
            stdout,
            stderr,
            files: None,
            former: Vec::new(),
        };
        outputs.change(prepared, lost)?;
        Ok(outputs)
    }

    /// From now on they are as was prepared. Whoever still leaves lines with the files so far has them written, until
    /// he says that it was the last of them ([`Outputs::close_former`]).
    pub fn change(&mut self, prepared: Prepared, lost: &Arc<AtomicU64>) -> io::Result<()> {
        let Prepared { wish, files } = prepared;
        let look = Look {
            format: wish.format,
            time: wish.time,
            ..Look::default()
        };
        let path = |wish: &config::Logs| wish.file.as_ref().map(|file| file.path.clone());
        let same = path(&wish) == path(&self.wish);
        match (&wish.file, files, &self.files) {
            // Two writers of one file would rotate it twice.
            (Some(file), _, Some(so_far)) if same => {
                files::set_rotation(&so_far.rotation, file);
                so_far.sink.set_look(look);
            }
            (Some(file), Some((files, rotation)), _) => {
                let mut former = self.former.iter().rev();
                let former = former.find(|former| former.path == file.path);
                let former = former.map(|former| Arc::clone(&former.sink));
                let sink = writer::start_after(former, files, look, lost)?;
                let own = Some(file.own_name().into());
                let files = LogFiles {
                    path: file.path.clone(),
                    sink,
                    rotation,
                    own,
                };
                self.set_files(Some(files));
            }
            _ => self.set_files(None),
        }
        for sink in [&self.stdout, &self.stderr] {
            sink.set_look(Look {
                format: wish.format,
                time: wish.time,
                ..sink.look()
            });
        }
        self.wish = wish;
        Ok(())
    }

    fn set_files(&mut self, files: Option<LogFiles>) {
        self.former.retain(|former| !former.sink.is_done());
        self.former
            .extend(std::mem::replace(&mut self.files, files));
    }

    /// Nothing more comes for the files of before: their writers end when all is written.
    pub fn close_former(&self) {
        self.former.iter().for_each(|former| former.sink.close());
    }

    /// What the image before could not write any more. Lines for files go where lines for files go now.
    pub fn take_over(
        &self,
        stdout: Unwritten,
        stderr: Option<Unwritten>,
        files: Vec<UnwrittenFile>,
    ) {
        self.stdout.take_over(None, stdout);
        self.stderr.take_over(None, stderr.unwrap_or_default());
        for UnwrittenFile { name, lines } in files {
            match &self.files {
                Some(files) => files.sink.take_over(Some(name.into()), lines),
                None => self.stdout.take_over(None, lines),
            }
        }
    }

    /// What is not written yet: for stdout, for stderr if that is another, for files.
    pub fn unwritten(&self) -> (Unwritten, Option<Unwritten>, Vec<UnwrittenFile>) {
        let of = |sink: &Sink| sink.unwritten().remove(&None).unwrap_or_default();
        let one = Arc::ptr_eq(&self.stdout, &self.stderr);
        // Of one that is done, only the number of lines could be left that it did not take: it is no other file's.
        let former = self.former.iter().filter(|one| !one.sink.is_done());
        let files = former.chain(&self.files).flat_map(|files| {
            let unwritten: BTreeMap<Name, Unwritten> = files.sink.unwritten();
            unwritten.into_iter().filter_map(|(name, lines)| {
                let name = name?.to_string();
                Some(UnwrittenFile { name, lines })
            })
        });
        let stderr = (!one).then(|| of(&self.stderr));
        (of(&self.stdout), stderr, files.collect())
    }

    /// All of them, each once.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Sink>> {
        let former = self.former.iter().map(|former| &former.sink);
        self.present().chain(former)
    }

    /// Those that lines go to now, and no former files.
    pub fn present(&self) -> impl Iterator<Item = &Arc<Sink>> {
        let both = !Arc::ptr_eq(&self.stdout, &self.stderr);
        let streams = std::iter::once(&self.stdout).chain(both.then_some(&self.stderr));
        let files = self.files.iter().map(|files| &files.sink);
        streams.chain(files)
    }

    /// Where a worker's lines go.
    pub fn of(&self, stream: Stream) -> &Sink {
        match (&self.files, stream) {
            (Some(files), _) => &files.sink,
            (None, Stream::Stdout) => &self.stdout,
            (None, Stream::Stderr) => &self.stderr,
        }
    }

    /// Where our own go.
    pub fn own(&self) -> impl Iterator<Item = (&Sink, &Name)> {
        const NO_FILE: &Name = &None;
        let files = self.files.iter().map(|files| (&*files.sink, &files.own));
        std::iter::once((&*self.stderr, NO_FILE)).chain(files)
    }

    /// The name of the file for a slot's lines, if there are files.
    pub fn name_of(&self, place: &Place) -> Name {
        let file: &LogFile = self.wish.file.as_ref()?;
        let Place { app, slot, named } = place;
        Some(file.name_of(app, *slot, *named).into())
    }

    /// What the files are called, if there are any.
    pub fn file(&self) -> Option<&LogFile> {
        self.wish.file.as_ref()
    }

    /// Has files opened anew; false if there is none.
    pub fn reopen(&self) -> bool {
        if let Some(files) = &self.files {
            files.sink.reopen();
        }
        self.files.is_some()
    }

    /// Waits until all is written. False: not before `deadline`.
    pub fn flush(&self, deadline: Instant) -> bool {
        // All of them, even if the first is late: it may be blocked and the others not.
        let mut all = true;
        for sink in self.all() {
            all &= sink.flush(deadline);
        }
        all
    }
}

/// Whether both lead to the same open file, pipe or terminal.
fn same_file(one: &OwnedFd, other: &OwnedFd) -> bool {
    match (fstat(one), fstat(other)) {
        (Ok(one), Ok(other)) => (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino),
        _ => false,
    }
}

/// How lines look on what we were given.
fn look_of(wish: &config::Logs, output: &OwnedFd) -> Look {
    let terminal = output.is_terminal();
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    Look {
        format: wish.format,
        time: wish.time,
        terminal,
        colour: terminal && !dumb && !set("NO_COLOR"),
        journal: is_journal(output),
    }
}

/// Whether systemd has connected it with the journal: systemd.exec(5), `JOURNAL_STREAM`.
fn is_journal(output: &OwnedFd) -> bool {
    let named = std::env::var("JOURNAL_STREAM").ok();
    match (named, fstat(output)) {
        (Some(named), Ok(found)) => named == format!("{}:{}", found.st_dev, found.st_ino),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
