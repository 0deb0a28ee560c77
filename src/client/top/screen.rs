//! The terminal: taken for a picture, and given back as it was, also by a panic.

use std::io::{self, Stdout, stdout};

use nix::sys::signal::{SigSet, Signal, raise};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    DisableLineWrap, EnableLineWrap, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
    enable_raw_mode,
};
use ratatui::layout::Rect;

use super::draw::{Theme, draw};
use super::model::Model;

/// A terminal that is ours. Dropped, it is given back.
pub struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    theme: Theme,
}

impl Screen {
    /// Takes it.
    ///
    /// # Errors
    /// Those of tcsetattr(3) and write(2).
    pub fn take(theme: Theme) -> io::Result<Self> {
        // A release build aborts after a panic, and nothing is dropped.
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            before(panic);
        }));
        enter()?;
        let terminal =
            Terminal::new(CrosstermBackend::new(stdout())).inspect_err(|_| give_back())?;
        Ok(Self { terminal, theme })
    }

    /// Shows the model.
    ///
    /// # Errors
    /// Those of write(2).
    pub fn show(&mut self, model: &mut Model) -> io::Result<()> {
        let theme = self.theme;
        self.terminal.draw(|frame| {
            let area = frame.area();
            draw(model, theme, area, frame.buffer_mut());
        })?;
        Ok(())
    }

    /// Draws everything at the next time, whatever the terminal shows now.
    ///
    /// # Errors
    /// Those of write(2).
    pub fn forget(&mut self) -> io::Result<()> {
        // Not Terminal::clear: it asks the terminal where its cursor is, and the answer would come as keys.
        let size = self.terminal.size()?;
        self.terminal
            .resize(Rect::new(0, 0, size.width, size.height))
    }

    /// Gives the terminal back and stops this process, as Ctrl-Z does to others; then takes it again.
    ///
    /// # Errors
    /// Those of [`Screen::take`].
    pub fn suspend(&mut self) -> io::Result<()> {
        give_back();
        // With its default action, and so without effect where nobody could continue us (setpgid(2), orphans).
        let stop = SigSet::from(Signal::SIGTSTP);
        stop.thread_unblock()?;
        let stopped = raise(Signal::SIGTSTP);
        stop.thread_block()?;
        stopped?;
        self.take_again()
    }

    /// Takes it after somebody else may have had it.
    ///
    /// # Errors
    /// Those of [`Screen::take`].
    pub fn take_again(&mut self) -> io::Result<()> {
        disable_raw_mode()?;
        enter()?;
        self.forget()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn enter() -> io::Result<()> {
    enable_raw_mode()?;
    execute!(stdout(), EnterAlternateScreen, DisableLineWrap, Hide).inspect_err(|_| give_back())
}

/// As much of it as can be done.
fn give_back() {
    let _ = disable_raw_mode();
    let _ = execute!(stdout(), Show, EnableLineWrap, LeaveAlternateScreen);
}
