//! The backends of proxies, a line each: what they get per second, and why some get nothing.
//!
//! Where one has nothing to show but its reason, the reason stands in the place of the figures: so a hundred of them
//! that are down are a hundred lines, and not two hundred.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::chart::chart;
use super::columns::{Column, cut, fitting, row, wrapped};
use super::slots::BodyLine;
use super::theme::Tone;
use super::{Sheet, rate};
use crate::client::table::backends::{notes, readiness, word};
use crate::client::table::text::{bytes_in, count, cut_middle, micros};
use crate::client::top::model::Selected;
use crate::client::top::rates::backend_key;
use crate::client::top::sort::SortBackends;
use crate::status::{BackendState, BackendStatus};

/// How far a reason stands from the left that has lines of its own.
const WHY_INDENT: usize = 5;
/// In how many words reasons are told: the first of these that has room, or the last.
const WORDS: [Words; 3] = [
    Words {
        up: 2,
        others: 2,
        seen: usize::MAX,
    },
    Words {
        up: 1,
        others: 1,
        seen: usize::MAX,
    },
    Words {
        up: 0,
        others: 1,
        seen: 24,
    },
];
/// Looks without a session, after which there are no figures to be shown.
const QUIET: usize = 5;
/// A connect that takes so long is worth a look, µs.
const CONNECT_LONG: u64 = 1_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell {
    Name,
    State,
    Weight,
    Rate,
    Chart,
    Open,
    In,
    Out,
    Failed,
    Connect,
}

/// In how many words reasons are told.
#[derive(Clone, Copy, Debug)]
struct Words {
    /// Lines of their own, of one that is up.
    up: usize,
    /// Of one that is not.
    others: usize,
    /// If so many columns of it can be seen behind the state, it is cut there.
    seen: usize,
}

/// How the backends are shown.
pub struct Backends<'a> {
    sheet: &'a Sheet<'a>,
    all: Vec<&'a BackendStatus>,
    columns: Vec<Column<Cell>>,
    peak: f64,
}

impl<'a> Backends<'a> {
    /// With the columns for which there is room and need.
    pub fn new(sheet: &'a Sheet<'a>) -> Self {
        let all = sheet.model.backends();
        let widest = all.iter().map(|one| whole_name(one).chars().count()).max();
        let widest = widest.unwrap_or(0).clamp(16, 46);
        let mut columns = vec![
            Column::text(Cell::Name, "BACKEND", 16, 0).growing_to(widest),
            Column::text(Cell::State, "STATE", 10, 0),
        ];
        if all.windows(2).any(|two| two[0].weight != two[1].weight) {
            columns.push(Column::numbers(Cell::Weight, "WT", 4, 8));
        }
        columns.extend([
            Column::numbers(Cell::Rate, "SESS/S", 6, 1),
            Column::text(Cell::Chart, "", 6, 9).growing_to(40),
            Column::numbers(Cell::Open, "OPEN", 5, 2),
            Column::numbers(Cell::In, "IN/S", 6, 4),
            Column::numbers(Cell::Out, "OUT/S", 6, 3),
            Column::numbers(Cell::Failed, "FAILED", 6, 5),
            Column::numbers(Cell::Connect, "CONN p99", 8, 6),
        ]);
        let columns = fitting(columns, sheet.width);
        let chart = columns.iter().find(|one| one.what == Cell::Chart);
        let rates = &sheet.model.rates.backends;
        let peak = chart.map_or(0.0, |one| rates.peak(one.width));
        Self {
            sheet,
            all,
            columns,
            peak,
        }
    }

    /// The names of the columns; the one that the order goes by stands out.
    pub fn head(&self) -> Line<'static> {
        let by: &[Cell] = match self.sheet.model.sort_backends {
            SortBackends::State => &[Cell::State],
            SortBackends::Rate => &[Cell::Rate],
            SortBackends::Open => &[Cell::Open],
            SortBackends::Bytes => &[Cell::In, Cell::Out],
            SortBackends::Failed => &[Cell::Failed],
            SortBackends::Connect => &[Cell::Connect],
        };
        row(&self.columns, |column| {
            let tone = match by.contains(&column.what) {
                true => Tone::Strong,
                false => Tone::Faint,
            };
            (column.head.to_owned(), self.sheet.style(tone))
        })
    }

    /// Everything below them, in as many words as `room` lines can take; nothing where there is no proxy.
    pub fn body(&self, room: usize) -> Vec<BodyLine> {
        let mut bodies = WORDS.map(|words| self.in_words(words)).into_iter();
        let last = bodies.next_back().unwrap_or_default();
        bodies.find(|body| body.len() <= room).unwrap_or(last)
    }

    fn in_words(&self, words: Words) -> Vec<BodyLine> {
        let mut lines = Vec::new();
        let mut app = None;
        for (place, one) in self.all.iter().enumerate() {
            if self.sheet.model.has_apps() && app != Some(&one.app) {
                let line = self.app_line(&one.app);
                lines.push(BodyLine { place: None, line });
                app = Some(&one.app);
            }
            let place = Some(place);
            // Of one that is drained, its state says it all.
            let why = match one.state {
                BackendState::Drained => String::new(),
                _ => notes(one).join("; "),
            };
            if let Some(line) = self.line_of_reason(one, &why, words.seen) {
                lines.push(BodyLine { place, line });
                continue;
            }
            let line = self.line_of_figures(one);
            lines.push(BodyLine { place, line });
            let room = self.sheet.width.saturating_sub(WHY_INDENT);
            let style = self.sheet.style(tone_of_reason(one.state));
            let most = match one.state {
                BackendState::Up => words.up,
                _ => words.others,
            };
            for words in wrapped(&why, room, most.max(1)).into_iter().take(most) {
                let line = Line::styled(" ".repeat(WHY_INDENT) + &words, style);
                lines.push(BodyLine { place, line });
            }
        }
        lines
    }

    fn app_line(&self, name: &str) -> Line<'static> {
        let own = self.all.iter().copied().filter(|one| one.app == name);
        let facts = format!("  {}", readiness(own));
        let room = self.sheet.width.saturating_sub(name.chars().count());
        Line::from(vec![
            Span::styled(name.to_owned(), self.sheet.style(Tone::Strong)),
            Span::styled(cut(&facts, room), self.sheet.style(Tone::Faint)),
        ])
    }

    /// Name, state and reason in one line, if there is room for it and nothing else to be shown.
    fn line_of_reason(&self, one: &BackendStatus, why: &str, seen: usize) -> Option<Line<'static>> {
        let rates = self.sheet.model.rates.backends.of(one);
        // Not of now alone: it would come and go with every session.
        let busy = rates.is_some_and(|rates| rates.sessions.peak_of(QUIET) > 0.0);
        let shown = &self.columns[..self.columns.len().min(2)];
        let taken: usize = shown.iter().map(|column| column.width + 1).sum();
        let left = self.sheet.width.saturating_sub(taken);
        let fits = why.chars().count().min(seen) <= left;
        if busy || one.open > 0 || why.is_empty() || !fits {
            return None;
        }
        let mut line = row(shown, |column| self.cell_with_style(one, column));
        let tone = tone_of_reason(one.state);
        let words = format!(" {}", cut(why, left));
        line.push_span(Span::styled(words, self.style(one, tone)));
        Some(self.marked(one, line))
    }

    fn line_of_figures(&self, one: &BackendStatus) -> Line<'static> {
        let line = row(&self.columns, |column| self.cell_with_style(one, column));
        self.marked(one, line)
    }

    fn marked(&self, one: &BackendStatus, line: Line<'static>) -> Line<'static> {
        match self.is_selected(one) {
            true => line.style(self.sheet.theme.selected()),
            false => line,
        }
    }

    fn is_selected(&self, one: &BackendStatus) -> bool {
        let key = Selected::Backend(backend_key(one));
        self.sheet.model.is_selected(&key)
    }

    fn style(&self, one: &BackendStatus, tone: Tone) -> Style {
        match self.is_selected(one) {
            true => Style::new(),
            false => self.sheet.style(tone),
        }
    }

    fn cell_with_style(&self, one: &BackendStatus, column: &Column<Cell>) -> (String, Style) {
        let (text, tone) = match column.what {
            Cell::Name => (self.name(one, column.width), Tone::Plain),
            Cell::Chart => (self.chart(one, column.width), Tone::Chart),
            what => self.cell(one, what),
        };
        (text, self.style(one, tone))
    }

    /// With its address if both fit; else what tells it from the others.
    fn name(&self, one: &BackendStatus, width: usize) -> String {
        let whole = whole_name(one);
        if whole.chars().count() <= width {
            return whole;
        }
        let same = |other: &&&BackendStatus| other.app == one.app && other.backend == one.backend;
        let is_only = self.all.iter().filter(same).count() == 1;
        let name = match is_only {
            true => &one.backend,
            false => &one.address,
        };
        cut_middle(name, width)
    }

    fn chart(&self, one: &BackendStatus, width: usize) -> String {
        let rates = self.sheet.model.rates.backends.of(one).into_iter();
        let values: Vec<f64> = rates.flat_map(|one| one.sessions.last(width)).collect();
        chart(&values, self.peak, width, 1, self.sheet.theme.blocks).concat()
    }

    fn cell(&self, one: &BackendStatus, what: Cell) -> (String, Tone) {
        let unknown = || ("-".to_owned(), Tone::Faint);
        let Some(rates) = self.sheet.model.rates.backends.of(one) else {
            return match what {
                Cell::Rate | Cell::In | Cell::Out => unknown(),
                _ => self.counted(one, what),
            };
        };
        match what {
            Cell::Rate => match rates.sessions.latest() {
                Some(now) => (rate(now), Tone::Strong),
                None => unknown(),
            },
            Cell::In => (bytes_in(rates.bytes_in as u64), Tone::Plain),
            Cell::Out => (bytes_in(rates.bytes_out as u64), Tone::Plain),
            Cell::Failed if rates.failures > 0.0 => (count(one.failures), Tone::Bad),
            what => self.counted(one, what),
        }
    }

    fn counted(&self, one: &BackendStatus, what: Cell) -> (String, Tone) {
        match what {
            Cell::State => (word(one.state), tone_of(one.state)),
            Cell::Weight => (one.weight.to_string(), Tone::Plain),
            Cell::Open => {
                let full = one.max.is_some_and(|max| one.open >= u64::from(max));
                let tone = if full { Tone::Busy } else { Tone::Plain };
                (count(one.open), tone)
            }
            Cell::Failed => {
                let some = one.failures > 0;
                let tone = if some { Tone::Busy } else { Tone::Plain };
                (count(one.failures), tone)
            }
            Cell::Connect if one.connects == 0 => ("-".to_owned(), Tone::Faint),
            Cell::Connect => {
                let long = one.connect_us.p99 >= CONNECT_LONG;
                let tone = if long { Tone::Busy } else { Tone::Plain };
                (micros(one.connect_us.p99), tone)
            }
            Cell::Name | Cell::Chart | Cell::Rate | Cell::In | Cell::Out => {
                (String::new(), Tone::Plain)
            }
        }
    }
}

fn whole_name(one: &BackendStatus) -> String {
    match one.address.is_empty() || one.address == one.backend {
        true => one.backend.clone(),
        false => format!("{} {}", one.backend, one.address),
    }
}

fn tone_of(state: BackendState) -> Tone {
    match state {
        BackendState::Up => Tone::Good,
        BackendState::Drained => Tone::Apart,
        BackendState::Draining | BackendState::Leaving => Tone::Busy,
        BackendState::Down | BackendState::Ejected | BackendState::Unresolved => Tone::Bad,
    }
}

/// What is said of one that is up is no alarm.
fn tone_of_reason(state: BackendState) -> Tone {
    match state {
        BackendState::Up => Tone::Faint,
        state => tone_of(state),
    }
}
