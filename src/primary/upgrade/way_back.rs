//! The way back: when the new program cannot go on, the former one takes its place again, from the same state.
//!
//! Open until everything is taken over. It leads from the main thread only: an exec by another one would end
//! the main thread, and with that the kernel would send the workers their death signals.

use std::any::Any;
use std::fmt::Display;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::process;
use std::sync::Arc;

use super::{FAILED, RESUME, environment};
use crate::sys::exec::{self, Program};
use crate::sys::handover::Label;

/// The former program and what it needs.
#[derive(Debug)]
pub struct WayBack(Option<Arc<Former>>);

#[derive(Debug)]
struct Former {
    program: OwnedFd,
    state: RawFd,
    /// All that the state names, and itself.
    keep: Vec<RawFd>,
}

impl WayBack {
    /// To `program`, from the state in the memfd of this number. A panic of the main thread takes it too.
    pub fn open(program: OwnedFd, state: RawFd, labels: &[Label]) -> Self {
        let labels = labels.iter().map(|label| label.fd);
        let former = Arc::new(Former {
            program,
            state,
            keep: labels.chain([state]).collect(),
        });
        let on_panic = Arc::clone(&former);
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            usual(panic);
            if exec::is_main_thread() {
                on_panic.take(&words(panic.payload()));
            }
        }));
        Self(Some(former))
    }

    /// There is none.
    pub fn none() -> Self {
        Self(None)
    }

    /// What came of a step without which there is no going on.
    pub fn need<T>(&self, doing: &str, outcome: io::Result<T>) -> T {
        outcome.unwrap_or_else(|error| self.take(&format!("{doing}: {error}")))
    }

    /// Goes back, or ends the process if there is no way.
    fn take(&self, why: &dyn Display) -> ! {
        let why = why.to_string();
        if let Some(former) = &self.0 {
            former.take(&why);
        }
        let _ = writeln!(
            io::stderr(),
            "forkfront: error: the primary cannot go on: {why}"
        );
        process::exit(1)
    }

    /// All is taken over.
    pub fn close(self) {
        if self.0.is_some() {
            // The hook of before is inside of this one.
            drop(std::panic::take_hook());
        }
    }
}

/// What a panic says.
fn words(payload: &(dyn Any + Send)) -> String {
    let fixed = payload
        .downcast_ref::<&str>()
        .map(|words| (*words).to_owned());
    let made = || payload.downcast_ref::<String>().cloned();
    fixed.or_else(made).unwrap_or_else(|| "a panic".to_owned())
}

impl Former {
    /// Returns only if that failed.
    fn take(&self, why: &str) {
        let mut env = environment(RESUME, self.state);
        env.push((FAILED.into(), why.into()));
        let args: Vec<_> = std::env::args_os().collect();
        let Err(error) =
            exec::replace(Program::Open(self.program.as_fd()), &args, &env, &self.keep);
        let _ = writeln!(
            io::stderr(),
            "forkfront: error: there is no way back to the former program: {error}"
        );
    }
}
