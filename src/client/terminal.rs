//! What our stdout is: whether people read it here and now, whether it has colours, how wide it is.

use std::env::var_os;
use std::io::{self, IsTerminal};

use terminal_size::{Width, terminal_size_of};

/// A terminal on which a line can be rewritten.
pub fn is_one() -> bool {
    io::stdout().is_terminal() && var_os("TERM").is_none_or(|term| term != "dumb")
}

/// One that shows colours, to somebody who has not asked for none (no-color.org).
pub fn has_colours() -> bool {
    is_one() && var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Its columns.
pub fn width() -> usize {
    terminal_size_of(io::stdout()).map_or(80, |(Width(width), _)| usize::from(width))
}
