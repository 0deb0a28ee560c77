//! The slots, a line each, with the reason under one that is not ready; and below them the workers that leave.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::chart::chart;
use super::columns::{Column, cut, fitting, row, wrapped};
use super::head::app_facts;
use super::theme::Tone;
use super::{Sheet, rate};
use crate::client::table::text::{bytes, count, micros, span};
use crate::client::table::{LEAVING_HEAD, leaving_row, readiness, word};
use crate::client::top::model::Selected;
use crate::client::top::rates::{is_dealt_by_kernel, slot_key};
use crate::client::top::sort::Sort;
use crate::status::{LeavingStatus, SlotState, SlotStatus};

/// How far a reason stands from the left, and how many lines it may have.
const WHY_INDENT: usize = 5;
const WHY_LINES: usize = 3;
/// A queue wait that is worth a look, and one that is bad, µs.
const WAIT_LONG: u64 = 100_000;
const WAIT_BAD: u64 = 1_000_000;
/// A worker that uses this much of a core can hardly do more, percent.
const CPU_FULL: f64 = 95.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell {
    Slot,
    Pid,
    State,
    Up,
    Generation,
    Rate,
    Chart,
    Open,
    Queued,
    Cpu,
    Memory,
    Weight,
    Restarts,
    Crashes,
    Wait,
}

/// A line of the slots, or of the backends.
pub struct BodyLine {
    /// The place of its slot or backend among those that are shown, if it belongs to one.
    pub place: Option<usize>,
    /// What is on it.
    pub line: Line<'static>,
}

/// How the slots are shown.
pub struct Slots<'a> {
    sheet: &'a Sheet<'a>,
    columns: Vec<Column<Cell>>,
    peak: f64,
}

impl<'a> Slots<'a> {
    /// With the columns for which there is room and need.
    pub fn new(sheet: &'a Sheet<'a>) -> Self {
        let slots = sheet.model.slots();
        let differ =
            |of: fn(&SlotStatus) -> u64| slots.windows(2).any(|two| of(two[0]) != of(two[1]));
        let mut columns = vec![
            Column::numbers(Cell::Slot, "SLOT", 4, 0),
            Column::numbers(Cell::Pid, "PID", 7, 7),
            Column::text(Cell::State, "STATE", 8, 1),
            Column::numbers(Cell::Up, "UP", 6, 8),
        ];
        if differ(|slot| slot.generation.into()) {
            columns.push(Column::numbers(Cell::Generation, "GEN", 4, 9));
        }
        columns.extend([
            Column::numbers(Cell::Rate, "CONN/S", 6, 2),
            Column::text(Cell::Chart, "", 6, 10).growing_to(60),
            Column::numbers(Cell::Open, "OPEN", 5, 3),
            Column::numbers(Cell::Queued, "QUEUE", 5, 4),
            Column::numbers(Cell::Cpu, "CPU", 4, 3),
            Column::numbers(Cell::Memory, "MEMORY", 6, 6),
        ]);
        if differ(|slot| slot.weight.into()) {
            columns.push(Column::numbers(Cell::Weight, "WEIGHT", 6, 11));
        }
        // There is room for the word on a wide screen only.
        let again = if sheet.width >= 100 {
            ("RESTARTS", 8)
        } else {
            ("RST", 4)
        };
        columns.extend([Column::numbers(Cell::Restarts, again.0, again.1, 7)]);
        if slots.iter().any(|slot| slot.crashes > 0) {
            columns.push(Column::numbers(Cell::Crashes, "CRASHES", 7, 11));
        }
        columns.push(Column::numbers(Cell::Wait, "WAIT p99", 8, 5));
        let columns = fitting(columns, sheet.width);
        let chart = columns.iter().find(|one| one.what == Cell::Chart);
        let peak = chart.map_or(0.0, |one| sheet.model.rates.peak_of_slots(one.width));
        Self {
            sheet,
            columns,
            peak,
        }
    }

    /// The names of the columns; the one that the order goes by stands out.
    pub fn head(&self) -> Line<'static> {
        let by = match self.sheet.model.sort {
            Sort::Slot => Cell::Slot,
            Sort::Rate => Cell::Rate,
            Sort::Open => Cell::Open,
            Sort::Queued => Cell::Queued,
            Sort::Cpu => Cell::Cpu,
            Sort::Memory => Cell::Memory,
            Sort::Restarts => Cell::Restarts,
            Sort::Wait => Cell::Wait,
        };
        row(&self.columns, |column| {
            let tone = if column.what == by {
                Tone::Strong
            } else {
                Tone::Faint
            };
            (column.head.to_owned(), self.sheet.style(tone))
        })
    }

    /// Everything below them.
    pub fn body(&self) -> Vec<BodyLine> {
        let model = self.sheet.model;
        let mut lines = Vec::new();
        let mut app = None;
        for (place, slot) in model.slots().into_iter().enumerate() {
            if model.has_apps() && app != Some(&slot.app) {
                let line = self.app_line(&slot.app);
                lines.push(BodyLine { place: None, line });
                app = Some(&slot.app);
            }
            let place = Some(place);
            let line = self.slot_line(slot);
            lines.push(BodyLine { place, line });
            if let Some(why) = &slot.why {
                let style = self.sheet.style(tone_of(slot.state));
                for words in wrapped(why, self.sheet.width.saturating_sub(WHY_INDENT), WHY_LINES) {
                    let line = Line::styled(" ".repeat(WHY_INDENT) + &words, style);
                    lines.push(BodyLine { place, line });
                }
            }
        }
        lines
    }

    fn app_line(&self, name: &str) -> Line<'static> {
        let model = self.sheet.model;
        let Some(app) = model.status.apps.iter().find(|app| app.name == name) else {
            return Line::default();
        };
        let slots = model.slots();
        let own: Vec<&SlotStatus> = slots.into_iter().filter(|slot| slot.app == name).collect();
        let mut facts = vec![readiness(&own)];
        facts.extend(app_facts(app));
        let facts = format!("  {}", facts.join(", "));
        let room = self.sheet.width.saturating_sub(name.chars().count());
        Line::from(vec![
            Span::styled(name.to_owned(), self.sheet.style(Tone::Strong)),
            Span::styled(cut(&facts, room), self.sheet.style(Tone::Faint)),
        ])
    }

    fn slot_line(&self, slot: &SlotStatus) -> Line<'static> {
        let model = self.sheet.model;
        let selected = model.is_selected(&Selected::Slot(slot_key(slot)));
        let line = row(&self.columns, |column| {
            let (text, tone) = match column.what {
                Cell::Chart => (self.chart(slot, column.width), Tone::Chart),
                what => self.cell(slot, what),
            };
            let style = if selected {
                Style::new()
            } else {
                self.sheet.style(tone)
            };
            (text, style)
        });
        match selected {
            true => line.style(self.sheet.theme.selected()),
            false => line,
        }
    }

    fn chart(&self, slot: &SlotStatus, width: usize) -> String {
        let history = self.sheet.model.rates.slot(slot);
        let values: Vec<f64> = history
            .into_iter()
            .flat_map(|all| all.last(width))
            .collect();
        chart(&values, self.peak, width, 1, self.sheet.theme.blocks).concat()
    }

    fn cell(&self, slot: &SlotStatus, what: Cell) -> (String, Tone) {
        let model = self.sheet.model;
        let runs = slot.pid.is_some();
        let counted = !is_dealt_by_kernel(&model.status, &slot.app);
        let when = |known: bool, text: String, tone: Tone| match known {
            true => (text, tone),
            false => ("-".to_owned(), Tone::Faint),
        };
        match what {
            Cell::Slot => (slot.slot.to_string(), Tone::Plain),
            Cell::Pid => {
                let pid = slot.pid.map(|pid| pid.to_string());
                when(runs, pid.unwrap_or_default(), Tone::Faint)
            }
            Cell::State => (word(&slot.state), tone_of(slot.state)),
            Cell::Up => when(runs, span(slot.uptime_s), Tone::Plain),
            Cell::Generation => (slot.generation.to_string(), Tone::Plain),
            Cell::Rate => {
                let now = model.rates.slot(slot).and_then(|history| history.latest());
                when(now.is_some(), rate(now.unwrap_or(0.0)), Tone::Strong)
            }
            Cell::Chart => (String::new(), Tone::Chart),
            Cell::Open => (count(slot.open), Tone::Plain),
            Cell::Queued => {
                let rate = model.rates.slot(slot).and_then(|history| history.latest());
                when(counted, count(slot.queued), of_queue(slot.queued, rate))
            }
            Cell::Cpu => {
                let percent = model.rates.cpu(slot);
                let full = percent >= CPU_FULL;
                let tone = if full { Tone::Busy } else { Tone::Plain };
                when(runs, format!("{percent:.0}%"), tone)
            }
            Cell::Memory => when(runs, bytes(slot.rss_bytes), Tone::Plain),
            Cell::Weight => (slot.weight.to_string(), Tone::Plain),
            Cell::Restarts => (count(slot.restarts), some_is_busy(slot.crashes)),
            Cell::Crashes => (count(slot.crashes), some_is_busy(slot.crashes)),
            Cell::Wait => {
                let tone = match slot.queue_wait_us.p99 {
                    WAIT_BAD.. => Tone::Bad,
                    WAIT_LONG.. => Tone::Busy,
                    _ => Tone::Plain,
                };
                when(counted && runs, micros(slot.queue_wait_us.p99), tone)
            }
        }
    }
}

impl Sheet<'_> {
    /// The workers that serve no slot any more, at most `most` lines with the heading; nothing if there are none.
    pub fn leaving(&self, most: usize) -> Vec<Line<'static>> {
        let only = self.model.only.as_ref();
        let all = self.model.status.leaving.iter();
        let all = all.filter(|one| only.is_none_or(|only| one.app == *only));
        let all: Vec<&LeavingStatus> = all.collect();
        if all.is_empty() || most < 2 {
            return Vec::new();
        }
        let faint = self.style(Tone::Faint);
        let mut lines = vec![Line::styled(cut(LEAVING_HEAD, self.width), faint)];
        let fit = if all.len() < most {
            all.len()
        } else {
            most - 2
        };
        for one in &all[..fit] {
            lines.push(Line::styled(
                cut(&leaving_row(one), self.width),
                self.style(tone_of(one.state)),
            ));
        }
        if fit < all.len() {
            let open: u64 = all[fit..].iter().map(|one| one.open).sum();
            let words = format!("     and {} more with {open} open", all.len() - fit);
            lines.push(Line::styled(words, faint));
        }
        lines
    }
}

/// How it stands with a queue that is emptied at a rate.
pub fn of_queue(queued: u64, rate: Option<f64>) -> Tone {
    let Some(rate) = rate.filter(|_| queued > 0) else {
        return Tone::Plain;
    };
    match queued as f64 / rate.max(0.01) * 1e6 {
        wait if wait >= WAIT_BAD as f64 => Tone::Bad,
        wait if wait >= WAIT_LONG as f64 => Tone::Busy,
        _ => Tone::Plain,
    }
}

fn some_is_busy(number: u64) -> Tone {
    if number > 0 { Tone::Busy } else { Tone::Plain }
}

fn tone_of(state: SlotState) -> Tone {
    match state {
        SlotState::Ready => Tone::Good,
        SlotState::Drained => Tone::Apart,
        SlotState::Starting
        | SlotState::Paused
        | SlotState::Draining
        | SlotState::Leaving
        | SlotState::Waiting => Tone::Busy,
        SlotState::Killing | SlotState::Failed => Tone::Bad,
        SlotState::Stopped => Tone::Faint,
    }
}
