//! A terminal with a program on it: what it shows, what is typed, and how it was left.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use nix::pty::{Winsize, openpty};
use nix::sys::signal::Signal;
use nix::sys::termios::{Termios, tcgetattr};
use nix::unistd::ttyname;

use crate::common::{Site, eventually, forkfront, send};

/// What a terminal shows of the bytes that came.
struct Shown {
    parser: vt100::Parser,
    bytes: Vec<u8>,
}

/// A terminal and the program that has it.
pub struct Screen<'a> {
    site: &'a Site,
    program: Child,
    keyboard: File,
    /// Our own end of what the program has, so that it can be looked at in the end.
    line: OwnedFd,
    before: Termios,
    shown: Arc<Mutex<Shown>>,
}

impl<'a> Screen<'a> {
    /// `forkfront WORDS` with a terminal.
    #[track_caller]
    pub fn of_forkfront(site: &'a Site, words: &[&str], columns: u16, rows: u16) -> Self {
        Self::start(site, &forkfront(site, words), columns, rows)
    }

    /// A command with a terminal, whose session and foreground it gets (setsid(1) of util-linux).
    #[track_caller]
    pub fn start(site: &'a Site, command: &Command, columns: u16, rows: u16) -> Self {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(&size, None).expect("a terminal");
        let before = tcgetattr(&pty.slave).expect("its modes");
        let end = || Stdio::from(pty.slave.try_clone().expect("a descriptor"));
        let mut whole = Command::new("setsid");
        whole
            .arg("--ctty")
            .arg(command.get_program())
            .args(command.get_args());
        whole
            .env_remove("NO_COLOR")
            .env_remove("COLORTERM")
            .env_remove("LC_ALL");
        whole.env("TERM", "xterm-256color").env("LANG", "C.UTF-8");
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => whole.env(key, value),
                None => whole.env_remove(key),
            };
        }
        // The census is of the primary and what it started.
        whole.env_remove(Site::MARK);
        whole.stdin(end()).stdout(end()).stderr(end());
        let program = whole.spawn().expect("setsid");
        let shown = Arc::new(Mutex::new(Shown {
            parser: vt100::Parser::new(some(rows), some(columns), 0),
            bytes: Vec::new(),
        }));
        let output = File::from(pty.master.try_clone().expect("a descriptor"));
        follow(output, shown.clone());
        Self {
            site,
            program,
            keyboard: File::from(pty.master),
            line: pty.slave,
            before,
            shown,
        }
    }

    fn shown<T>(&self, of: impl FnOnce(&mut Shown) -> T) -> T {
        of(&mut self.shown.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is on it now.
    pub fn text(&self) -> String {
        self.shown(|shown| shown.parser.screen().contents())
    }

    /// All that ever came.
    pub fn bytes(&self) -> String {
        self.shown(|shown| String::from_utf8_lossy(&shown.bytes).into_owned())
    }

    /// Waits until all of `parts` are on it, and returns what is.
    #[track_caller]
    pub fn shows(&self, parts: &[&str]) -> String {
        self.until(&format!("{parts:?} are seen"), |text| {
            parts.iter().all(|part| text.contains(part))
        })
    }

    /// Waits until `part` is on it no more.
    #[track_caller]
    pub fn hides(&self, part: &str) -> String {
        self.until(&format!("{part:?} is gone"), |text| !text.contains(part))
    }

    /// Waits until what is on it `holds`.
    #[track_caller]
    pub fn until(&self, what: &str, holds: impl Fn(&str) -> bool) -> String {
        eventually(what, || Some(self.text()).filter(|text| holds(text)))
    }

    /// Types.
    #[track_caller]
    pub fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("typed");
    }

    /// The window gets another size; the kernel tells the program (tty_ioctl(4), TIOCSWINSZ).
    #[track_caller]
    pub fn resize(&self, columns: u16, rows: u16) {
        self.shown(|shown| {
            shown
                .parser
                .screen_mut()
                .set_size(some(rows), some(columns))
        });
        let path = ttyname(&self.line).expect("its name");
        let size = ["rows", &rows.to_string(), "cols", &columns.to_string()].map(str::to_owned);
        let done = Command::new("stty").arg("-F").arg(path).args(size).status();
        assert!(done.expect("stty").success());
    }

    /// The program's pid: setsid(1) becomes it.
    pub fn pid(&self) -> u32 {
        self.program.id()
    }

    /// Sends the program a signal.
    pub fn signal(&self, signal: Signal) {
        send(self.pid(), signal);
    }

    /// Waits for the program's end, which leaves the terminal as it was; returns the exit code.
    #[track_caller]
    pub fn ended(&mut self) -> Option<i32> {
        let exit = eventually("top ends", || self.program.try_wait().expect("wait"));
        self.given_back();
        exit.code()
    }

    /// Waits until the terminal is as it was.
    #[track_caller]
    pub fn given_back(&self) {
        eventually("the screen of before is back, with its cursor", || {
            self.shown(|shown| {
                let screen = shown.parser.screen();
                (!screen.alternate_screen() && !screen.hide_cursor()).then_some(())
            })
        });
        let now = tcgetattr(self.line.as_fd()).expect("its modes");
        assert_eq!(now, self.before, "modes of the terminal");
    }

    /// The program has the whole screen.
    pub fn is_taken(&self) -> bool {
        self.shown(|shown| shown.parser.screen().alternate_screen())
    }
}

impl Drop for Screen<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "--- the screen at {}\n{}\n---",
                self.site.bind(),
                self.text()
            );
        }
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

fn some(length: u16) -> NonZeroU16 {
    NonZeroU16::new(length).expect("a screen has a size")
}

fn follow(mut from: File, shown: Arc<Mutex<Shown>>) {
    std::thread::spawn(move || {
        let mut part = [0; 4096];
        while let Ok(n @ 1..) = from.read(&mut part) {
            let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
            shown.parser.process(&part[..n]);
            shown.bytes.extend_from_slice(&part[..n]);
        }
    });
}
