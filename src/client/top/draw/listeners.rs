//! The listeners: where connections come in, and how many wait in the kernel.

use ratatui::text::Line;

use super::columns::{Column, fitting, row};
use super::theme::Tone;
use super::{Sheet, rate};
use crate::client::table::text::count;
use crate::client::top::rates::is_dealt_by_kernel;
use crate::status::ListenerStatus;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell {
    Address,
    Rate,
    Accepted,
    Backlog,
    Overflows,
}

const COLUMNS: [Column<Cell>; 5] = [
    Column::text(Cell::Address, "LISTENER", 18, 0).growing_to(46),
    Column::numbers(Cell::Rate, "CONN/S", 6, 2),
    Column::numbers(Cell::Accepted, "ACCEPTED", 8, 4),
    Column::numbers(Cell::Backlog, "BACKLOG", 13, 1),
    Column::numbers(Cell::Overflows, "OVERFLOWS", 9, 3),
];

impl Sheet<'_> {
    /// The table, with at most `most` listeners.
    pub fn listeners(&self, most: usize) -> Vec<Line<'static>> {
        let only = self.model.only.as_ref();
        let all = self.model.status.listeners.iter();
        let all = all.filter(|one| only.is_none_or(|only| one.app == *only));
        let all: Vec<&ListenerStatus> = all.collect();
        if all.is_empty() {
            let words = "no listener yet: the server has not bound a port";
            return vec![Line::styled(words, self.style(Tone::Faint))];
        }
        let columns = fitting(COLUMNS.to_vec(), self.width);
        let faint = self.style(Tone::Faint);
        let mut lines = vec![row(&columns, |column| (column.head.to_owned(), faint))];
        for listener in all.iter().take(most) {
            lines.push(row(&columns, |column| {
                let (text, tone) = self.of_listener(listener, column.what);
                (text, self.style(tone))
            }));
        }
        if all.len() > most {
            let waiting: u32 = all[most..].iter().map(|one| one.backlog).sum();
            let words = format!("and {} more, backlog {waiting}", all.len() - most);
            lines.push(Line::styled(words, faint));
        }
        lines
    }

    fn of_listener(&self, listener: &ListenerStatus, what: Cell) -> (String, Tone) {
        let by_kernel = is_dealt_by_kernel(&self.model.status, &listener.app);
        let unknown = || ("-".to_owned(), Tone::Faint);
        match what {
            Cell::Address => (self.address(listener), Tone::Plain),
            Cell::Rate | Cell::Accepted if by_kernel => unknown(),
            Cell::Rate => match self.model.rates.listener(listener) {
                Some(value) => (rate(value), Tone::Plain),
                None => unknown(),
            },
            Cell::Accepted => (count(listener.accepted), Tone::Plain),
            Cell::Backlog if listener.backlog_limit == 0 => unknown(),
            Cell::Backlog => {
                let tone = match listener.backlog {
                    0 => Tone::Plain,
                    waiting if waiting >= listener.backlog_limit => Tone::Bad,
                    waiting if waiting >= listener.backlog_limit / 2 => Tone::Busy,
                    _ => Tone::Plain,
                };
                let words = format!("{} of {}", listener.backlog, listener.backlog_limit);
                (words, tone)
            }
            Cell::Overflows => {
                let tone = if listener.overflows > 0 {
                    Tone::Busy
                } else {
                    Tone::Plain
                };
                (count(listener.overflows), tone)
            }
        }
    }

    fn address(&self, listener: &ListenerStatus) -> String {
        let mut apps = self.model.status.apps.iter();
        let is_proxy = apps.any(|app| app.name == listener.app && app.proxy.is_some());
        match listener.app_port {
            // What a proxy asks for is nobody's business.
            Some(port) if !is_proxy && !listener.address.ends_with(&format!(":{port}")) => {
                format!("{} (server: {port})", listener.address)
            }
            _ => listener.address.clone(),
        }
    }
}
