//! The upper part: which primary, how it stands with it, what is under way, and the figures of all slots together.

use std::collections::BTreeSet;

use ratatui::text::{Line, Span};

use super::chart::chart;
use super::columns::cut;
use super::slots::of_queue;
use super::theme::Tone;
use super::{Sheet, rate};
use crate::client::table::text::{bytes, count, span};
use crate::client::table::{backends, readiness};
use crate::client::top::model::Link;
use crate::client::top::rates::{accepted_by, sum};
use crate::status::{AppStatus, BackendState, BackendStatus, SlotState, SlotStatus};

/// From this width on the chart stands beside the figures.
const CHART_BESIDE: usize = 64;
/// Figures in one row then: three rows of them.
const FIGURES_BESIDE: usize = 3;
/// How wide a figure and its name are.
const FIGURE: usize = 17;

impl Sheet<'_> {
    /// The name and the facts.
    pub fn title(&self) -> Vec<Line<'static>> {
        let status = &self.model.status;
        let what = match (&self.model.only, status.apps.as_slice()) {
            (Some(only), _) => format!("app {only} of {}", status.apps.len()),
            (None, [app]) => backends::command(app, status),
            (None, []) => status.command.join(" "),
            (None, apps) => format!("{} apps", apps.len()),
        };
        let mut right = format!("pid {}  up {}", status.pid, span(status.uptime_s));
        if self.width >= CHART_BESIDE {
            right.push_str(&format!("  {}", status.version));
        }
        let room = self.width.saturating_sub(right.len() + 2);
        let name = cut(&status.name, room);
        let what = cut(&what, room.saturating_sub(name.chars().count() + 2));
        let used = name.chars().count() + what.chars().count() + 2 + right.len();
        let between = " ".repeat(self.width.saturating_sub(used));
        let title = Line::from(vec![
            Span::styled(name, self.style(Tone::Strong)),
            Span::raw("  "),
            Span::raw(what),
            Span::raw(between),
            Span::styled(right, self.style(Tone::Faint)),
        ]);
        vec![title, self.facts(), self.notice()]
    }

    fn facts(&self) -> Line<'static> {
        let status = &self.model.status;
        let only = self.model.only.as_ref();
        let app = match only {
            Some(only) => status.apps.iter().find(|app| app.name == *only),
            None => status.apps.first().filter(|_| !self.model.has_apps()),
        };
        let slots = self.model.slots();
        let facts = match app {
            Some(app) => app_facts(app),
            None if self.model.has_apps() => Vec::new(),
            // A primary of an earlier version.
            None => vec![status.balance.to_string()],
        };
        let ready = slots.iter().all(|slot| slot.state == SlotState::Ready);
        let tone = if ready { Tone::Good } else { Tone::Busy };
        let first = cut(&readiness(&slots), self.width);
        let room = self.width.saturating_sub(first.chars().count());
        let (led, led_tone) = self.led();
        let led = cut(&led, room);
        let room = room.saturating_sub(led.chars().count());
        let others = facts.iter().map(|fact| format!(", {fact}"));
        let others: String = others.collect();
        let others = cut(&others, room);
        let primary = self.primary();
        let between = room.saturating_sub(others.chars().count());
        // Not in parts: it says nothing then.
        let primary = if primary.len() + 2 <= between {
            primary
        } else {
            String::new()
        };
        Line::from(vec![
            Span::styled(first, self.style(tone)),
            Span::styled(led, self.style(led_tone)),
            Span::raw(others),
            Span::styled(format!("{primary:>between$}"), self.style(Tone::Faint)),
        ])
    }

    /// How many backends are up, behind the slots; nothing where there is no proxy.
    fn led(&self) -> (String, Tone) {
        let all = self.model.backends();
        if all.is_empty() {
            return (String::new(), Tone::Plain);
        }
        let is_up = |one: &&BackendStatus| one.state == BackendState::Up;
        let apart = [BackendState::Up, BackendState::Drained];
        let tone = match all.iter().find(|one| is_up(one)) {
            None => Tone::Bad,
            Some(_) if all.iter().all(|one| apart.contains(&one.state)) => Tone::Good,
            Some(_) => Tone::Busy,
        };
        let words = backends::readiness(all.into_iter());
        (format!(", {words}"), tone)
    }

    /// What the primary itself uses.
    fn primary(&self) -> String {
        let Some(percent) = self.model.rates.cpu_of_primary else {
            return String::new();
        };
        let memory = bytes(self.model.status.primary.rss_bytes);
        format!("primary {percent:.0}% {memory}")
    }

    /// What is not as always; an empty line otherwise, so that nothing moves when it comes.
    fn notice(&self) -> Line<'static> {
        let model = self.model;
        let silent = model.silent_for().map(|time| span(time.as_secs_f64()));
        let (tone, words) = match (&model.link, silent) {
            (Link::Gone, _) => {
                let name = &model.status.name;
                let words = format!("GONE: no primary {name} runs; this is how it was");
                (Tone::Bad, words)
            }
            (Link::Silent(why), _) => (Tone::Bad, format!("NO ANSWER: {why}")),
            (Link::There, Some(time)) => (Tone::Bad, format!("NO ANSWER for {time}")),
            (Link::There, None) if model.status.stopping => (Tone::Busy, "STOPPING".into()),
            (Link::There, None) => match &model.status.operation {
                Some(operation) => (Tone::Busy, format!("under way: {operation}")),
                None => match self.turned_away() {
                    Some(words) => (Tone::Bad, words),
                    None => return Line::default(),
                },
            },
        };
        Line::styled(cut(&words, self.width), self.style(tone))
    }

    /// What becomes of sessions that no backend serves, if there were any lately.
    fn turned_away(&self) -> Option<String> {
        let model = self.model;
        let apps = model
            .status
            .apps
            .iter()
            .filter(|app| model.shows(&app.name));
        let mut said = Vec::new();
        for app in apps {
            let of = match model.has_apps() && model.only.is_none() {
                true => format!("{}: ", app.name),
                false => String::new(),
            };
            let Some(proxy) = &app.proxy else { continue };
            if proxy.waiting > 0 {
                said.push(format!("{of}{} wait for room at a backend", proxy.waiting));
            }
            if let Some(now) = model.rates.backends.turned_away(&app.name) {
                let why = backends::turned_away(proxy).unwrap_or_default();
                said.push(format!("{of}clients turned away, {}/s: {why}", rate(now)));
            }
        }
        (!said.is_empty()).then(|| said.join("; "))
    }

    /// The figures of all slots together, and the chart of what they take: beside them, or where that is too
    /// narrow, below.
    pub fn totals(&self) -> Vec<Line<'static>> {
        let figures = self.figures();
        let beside = self.width >= CHART_BESIDE;
        // The space behind the last one is not needed.
        let per_row = match beside {
            true => FIGURES_BESIDE,
            false => ((self.width + 2) / FIGURE).max(1),
        };
        let mut rows: Vec<Vec<Span>> = figures.chunks(per_row).map(<[_]>::concat).collect();
        if beside {
            let drawn = self.chart(self.width - per_row * FIGURE, rows.len());
            rows.iter_mut()
                .zip(drawn)
                .for_each(|(row, drawn)| row.push(drawn));
        } else {
            rows.extend(self.chart(self.width, 1).into_iter().map(|row| vec![row]));
        }
        rows.into_iter().map(Line::from).collect()
    }

    fn chart(&self, width: usize, rows: usize) -> Vec<Span<'static>> {
        let history = self.model.rates.accepted(self.model.only.as_ref());
        let values: Vec<f64> = history.last(width).collect();
        let drawn = chart(
            &values,
            history.peak_of(width),
            width,
            rows,
            self.theme.blocks,
        );
        let style = self.style(Tone::Chart);
        drawn
            .into_iter()
            .map(|row| Span::styled(row, style))
            .collect()
    }

    fn figures(&self) -> Vec<Vec<Span<'static>>> {
        let model = self.model;
        let status = &model.status;
        let slots = model.slots();
        let all = |of: fn(&SlotStatus) -> u64| sum(slots.iter().map(|slot| of(slot)));
        let cpu: f64 = slots.iter().map(|slot| model.rates.cpu(slot)).sum();
        let queued = all(|slot| slot.queued);
        let history = model.rates.accepted(model.only.as_ref());
        let known = |value: Option<f64>| value.map_or_else(|| "-".into(), rate);
        let apps: BTreeSet<&str> = slots.iter().map(|slot| slot.app.as_str()).collect();
        let accepted = sum(apps.into_iter().map(|app| accepted_by(status, app)));
        // It is told for all apps together.
        let held = match model.only {
            Some(_) => "-".to_owned(),
            None => count(status.held),
        };
        let figure = |name: &str, value: String, tone: Tone| {
            let room = FIGURE - 3 - name.len();
            vec![
                Span::styled(format!("{name} "), self.style(Tone::Faint)),
                Span::styled(format!("{value:>room$}  "), self.style(tone)),
            ]
        };
        let held_tone = if status.held > 0 {
            Tone::Busy
        } else {
            Tone::Plain
        };
        vec![
            figure("conn/s", known(history.latest()), Tone::Strong),
            figure("open", count(all(|slot| slot.open)), Tone::Plain),
            figure("CPU", format!("{cpu:.0}%"), Tone::Plain),
            figure("peak", known(history.peak()), Tone::Plain),
            figure("queued", count(queued), of_queue(queued, history.latest())),
            figure("memory", bytes(all(|slot| slot.rss_bytes)), Tone::Plain),
            figure("accepted", count(accepted), Tone::Plain),
            figure("held", held, held_tone),
            figure("restarts", count(all(|slot| slot.restarts)), Tone::Plain),
        ]
    }
}

/// What is said of an app besides its slots.
pub fn app_facts(app: &AppStatus) -> Vec<String> {
    let balance = match &app.proxy {
        Some(proxy) => proxy.balance.to_string(),
        None => app.balance.to_string(),
    };
    let mut facts = vec![balance];
    let proxy = app.proxy.as_ref();
    let key = proxy.and_then(|proxy| proxy.sticky.as_ref());
    facts.extend(key.map(|key| format!("sticky {key}")));
    let what = if app.websocket_sticky {
        "WebSockets "
    } else {
        ""
    };
    facts.extend(app.sticky.as_ref().map(|key| format!("{what}sticky {key}")));
    facts.push(format!("generation {}", app.generation));
    facts
}
