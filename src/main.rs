//! Parse, dispatch, exit code.

use std::process::ExitCode;

use forkfront::cli::{self, Action};
use forkfront::error::{Error, Result};

fn main() -> ExitCode {
    match cli::parse(std::env::args_os()).and_then(act) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("forkfront: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn act(action: Action) -> Result<()> {
    match action {
        Action::Help(text) => {
            // Whoever closed the pipe has read enough.
            let _ = text.print();
            Ok(())
        }
        _ => Err(Error::failed("this part is being built")),
    }
}
