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
    let _ = Builder::new()
        .filter_level(level)
        .parse_env(ENVIRONMENT)
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
