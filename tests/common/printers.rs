//! Workers that print what a test tells them to: a node server each, with a reader of two named pipes beside it.

use std::fs;
use std::io::Write;

use super::{Balancer, Site, server};

/// What of a worker's two outputs.
#[derive(Clone, Copy, Debug)]
pub enum Printed {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// The command of workers that print what [`print`] says, in these slots.
pub fn printers(site: &Site, slots: u16) -> Vec<String> {
    for slot in 0..slots {
        for what in ["out", "err"] {
            let pipe = site.file(&format!("{what}.{slot}"));
            nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a named pipe");
        }
    }
    let directory = site.directory.display();
    // Opened for writing too, so that its end never comes.
    let line = format!(
        "cat <>{directory}/out.$FORKFRONT_SLOT & cat <>{directory}/err.$FORKFRONT_SLOT >&2 & exec node {} >/dev/null",
        server("http.js")
    );
    ["sh", "-c", &line].map(str::to_owned).to_vec()
}

/// Has a slot's worker print this. Returns when it has been read from the named pipe, or nearly.
#[track_caller]
pub fn print(site: &Site, slot: u16, what: Printed, bytes: &[u8]) {
    let name = match what {
        Printed::Out => "out",
        Printed::Err => "err",
    };
    let pipe = site.file(&format!("{name}.{slot}"));
    let pipe = fs::OpenOptions::new().write(true).open(pipe);
    pipe.and_then(|mut pipe| pipe.write_all(bytes))
        .expect("a worker reads it");
}

impl<'a> Balancer<'a> {
    /// `forkfront run WORDS -- COMMAND` with workers that print what they are told.
    #[track_caller]
    pub fn printing(site: &'a Site, slots: u16, words: &[&str]) -> Self {
        let n = slots.to_string();
        let mut all: Vec<String> = ["run", "-n", &n].map(str::to_owned).to_vec();
        all.extend(words.iter().map(|word| (*word).to_owned()));
        all.push("--".to_owned());
        all.extend(printers(site, slots));
        Self::start(site, &all)
    }
}
