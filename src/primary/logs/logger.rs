//! The `log` macros' way to our stderr: env_logger filters and formats, the sink takes the line.

use std::io::{self, Write};
use std::sync::Arc;

use env_logger::{Builder, Target};
use log::{Level, LevelFilter};

use super::sink::{Origin, Sink};
use super::{Look, lines};

/// Says more or less than `-v` and `-q` do, by module: `debug`, `forkfront::primary=trace`.
const ENVIRONMENT: &str = "FORKFRONT_LOG";

/// Makes `sink` the target of the `log` macros. The first call of a process holds.
pub fn install(sink: &Arc<Sink>, level: LevelFilter) {
    let look = sink.look();
    let mut builder = Builder::new();
    match rules() {
        Some(rules) => builder.filter_level(level).parse_filters(&rules),
        // Not filtered here: `set_level` must be able to say more as well as less.
        None => builder.filter_level(LevelFilter::Trace),
    };
    let installed = builder
        .target(Target::Pipe(Box::new(Lines(Arc::clone(sink)))))
        .format(move |out, record| {
            let message = lines::single(&record.args().to_string());
            writeln!(
                out,
                "forkfront: {}{message}",
                level_word(record.level(), look)
            )
        })
        .try_init();
    if installed.is_ok() {
        // With rules from the environment, these hold.
        let _ = set_level(level);
    }
}

/// From now on this much is said.
///
/// # Errors
/// A sentence, if the environment decides.
pub fn set_level(level: LevelFilter) -> Result<(), String> {
    match rules() {
        Some(rules) => Err(format!(
            "{ENVIRONMENT}={rules} in the environment of the primary decides what is said"
        )),
        None => {
            log::set_max_level(level);
            Ok(())
        }
    }
}

fn rules() -> Option<String> {
    std::env::var(ENVIRONMENT)
        .ok()
        .filter(|rules| !rules.is_empty())
}

fn level_word(level: Level, look: Look) -> &'static str {
    match (level, look.colour) {
        (Level::Error, true) => "\x1b[31merror:\x1b[0m ",
        (Level::Error, false) => "error: ",
        (Level::Warn, true) => "\x1b[33mwarning:\x1b[0m ",
        (Level::Warn, false) => "warning: ",
        (Level::Info, _) => "",
        (Level::Debug, _) => "debug: ",
        (Level::Trace, _) => "trace: ",
    }
}

/// env_logger writes each line whole, at once.
struct Lines(Arc<Sink>);

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line.to_vec(), 1, Origin::Own);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
