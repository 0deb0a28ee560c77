//! The loop of the live picture: takes the news that there are, lets the model make something of them, draws.

use std::io;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ratatui::crossterm::event::{Event, KeyEventKind};

use super::draw::Theme;
use super::messages::Stage;
use super::model::{Deed, Model};
use super::screen::Screen;
use super::sources::{News, Sources, Watched};
use crate::error::{Error, Result};
use crate::status::Status;

/// Without news it is drawn again, so that what is overdue is seen.
const DRAWN_AGAIN: Duration = Duration::from_secs(1);

/// Shows `status` and what follows until the end.
pub fn run(watched: Watched, status: Status, interval: Duration) -> Result<()> {
    let cannot = |error: io::Error| Error::io("cannot use the terminal", &error);
    let (sources, news) = Sources::start(watched.clone(), interval).map_err(cannot)?;
    let theme = Theme::of_environment(|name| std::env::var(name).ok());
    let mut screen = Screen::take(theme).map_err(cannot)?;
    let model = Model::new(status, interval, Instant::now());
    let mut live = Live {
        model,
        watched,
        sources,
    };
    let ended = live.go_on(&mut screen, &news);
    drop(screen);
    ended.map_err(cannot)
}

struct Live {
    model: Model,
    /// Whom changes are asked of.
    watched: Watched,
    sources: Sources,
}

impl Live {
    fn go_on(&mut self, screen: &mut Screen, news: &Receiver<News>) -> io::Result<()> {
        loop {
            self.model.now = Instant::now();
            screen.show(&mut self.model)?;
            let first = match news.recv_timeout(DRAWN_AGAIN) {
                Ok(first) => Some(first),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            self.model.now = Instant::now();
            // All that is there, so that no key is drawn that the next one makes old.
            for news in first.into_iter().chain(news.try_iter()) {
                if self.hear(news, screen)? {
                    return Ok(());
                }
            }
        }
    }

    /// True at the end.
    fn hear(&mut self, news: News, screen: &mut Screen) -> io::Result<bool> {
        match news {
            News::Look(Ok(status)) => {
                self.watched.found(&status);
                self.model.look(*status);
            }
            News::Look(Err(error)) => self.model.miss(error.kind(), error.to_string()),
            News::Terminal(Event::Key(key)) if key.kind != KeyEventKind::Release => {
                if let Some(deed) = self.model.key(key) {
                    return self.act(deed, screen);
                }
            }
            // The next picture has the terminal's size by itself.
            News::Terminal(_) => {}
            News::TerminalLost => return Ok(true),
            News::Change(change, text, stage) => self.model.said(change, text, stage),
            News::Signal(Signal::SIGTSTP) => screen.suspend()?,
            News::Signal(Signal::SIGCONT) => screen.take_again()?,
            News::Signal(_) => return Ok(true),
        }
        Ok(false)
    }

    fn act(&mut self, deed: Deed, screen: &mut Screen) -> io::Result<bool> {
        match deed {
            Deed::Quit => return Ok(true),
            Deed::Redraw => screen.forget()?,
            // To all that were started with us, as the terminal itself does; we hear of it like the others.
            Deed::Suspend => kill(Pid::from_raw(0), Signal::SIGTSTP)?,
            Deed::Change(number, request) => {
                let begun = self
                    .sources
                    .change(number, self.watched.target().clone(), request);
                if let Err(error) = begun {
                    self.model.said(number, error.to_string(), Stage::Failed);
                }
            }
        }
        Ok(false)
    }
}
