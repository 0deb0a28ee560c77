//! Draws the model into a buffer of any size: as a screen, or as one frame of text.
//!
//! Decides only what there is room for. The slots, and the backends of proxies, get what the rest leaves, and the rest
//! gives way to them.

mod backends;
mod chart;
mod columns;
mod foot;
mod head;
mod listeners;
mod slots;
mod theme;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear, Paragraph, Widget};

use super::model::{Model, Scroll, Selected};
use backends::Backends;
use slots::{BodyLine, Slots};
pub use theme::Theme;
use theme::Tone;

/// Lines of slots, and of backends, that are to be seen at least, before anything else has a place.
const SLOT_LINES: usize = 4;
/// With fewer lines for both, only the one that the selection is among is shown.
const BOTH: usize = 3;
/// Listeners that are shown, where there is room.
const LISTENERS: usize = 4;
/// Changes under way that are shown.
const MESSAGES: usize = 3;

/// What the drawing goes by.
struct Sheet<'a> {
    model: &'a Model,
    theme: Theme,
    width: usize,
}

impl Sheet<'_> {
    fn style(&self, tone: Tone) -> Style {
        self.theme.style(tone)
    }
}

/// Draws one frame; the model learns what of it is in view.
pub fn draw(model: &mut Model, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let sheet = Sheet {
        model,
        theme,
        width: area.width.into(),
    };
    let height = usize::from(area.height);
    let foot = {
        let mut foot = sheet.said(MESSAGES.min(height / 8));
        foot.push(sheet.hints());
        foot
    };
    let (backends, slots) = (Backends::new(&sheet), Slots::new(&sheet));
    let (led, body) = (backends.body(usize::MAX), slots.body());
    let leaving = sheet.leaving(height / 4);
    let below = leaving.len() + foot.len();
    let (above, airy) = head(&sheet, height.saturating_sub(below + 1), &led, &body);
    // The heads of both, and what stands between.
    let heads = if led.is_empty() {
        1
    } else {
        2 + usize::from(airy)
    };
    let room = height.saturating_sub(above.len() + below + heads);
    let (in_led, in_body) = selected(model);
    let (of_led, of_body) = match in_led {
        _ if led.is_empty() || room >= BOTH => shares(room, led.len(), body.len()),
        // The other one has not even its head.
        Some(_) => (room + 1, 0),
        None => (0, room + 1),
    };
    let led = backends.body(of_led);
    let scroll_led = scrolled(model.scroll_backends, &led, in_led, of_led);
    let scroll = scrolled(model.scroll, &body, in_body, of_body);
    let mut page = Page { buffer, area, y: 0 };
    above.iter().for_each(|line| page.line(line));
    if of_led > 0 {
        page.line(&backends.head());
        page.part(&led, scroll_led);
        page.y += u16::from(airy);
    }
    if of_body > 0 {
        page.line(&slots.head());
        page.part(&body, scroll);
    }
    page.y = page.y.max(area.height.saturating_sub(below as u16));
    leaving.iter().for_each(|line| page.line(line));
    foot.iter().for_each(|line| page.line(line));
    if let Some((title, lines)) = sheet.over(area) {
        over(title, lines, area, buffer);
    }
    (model.scroll, model.scroll_backends) = (scroll, scroll_led);
}

/// How many lines the backends have, and the slots: what they need, and if that is too much, the slots a third.
fn shares(room: usize, led: usize, body: usize) -> (usize, usize) {
    let least = match led {
        0 => room,
        _ => body.min((room / 3).max(2)).min(room),
    };
    let led = led.min(room - least);
    (led, room - led)
}

/// Where the selected one is among the backends, or among the slots.
fn selected(model: &Model) -> (Option<usize>, Option<usize>) {
    let place = model.place();
    match model.selected {
        Some(Selected::Backend(_)) => (Some(place), None),
        Some(Selected::Slot(_)) => (None, place.checked_sub(model.backends().len())),
        None => (None, None),
    }
}

/// One frame as text, as high as all that is to be shown.
pub fn text(model: &mut Model, theme: Theme, width: u16) -> String {
    let sheet = Sheet {
        model,
        theme,
        width: width.into(),
    };
    let (backends, slots) = (Backends::new(&sheet), Slots::new(&sheet));
    let led = backends.body(usize::MAX);
    let mut lines = sheet.title();
    lines.extend(sheet.totals());
    lines.push(Line::default());
    lines.extend(sheet.listeners(usize::MAX));
    lines.push(Line::default());
    if !led.is_empty() {
        lines.push(backends.head());
        lines.extend(led.into_iter().map(|one| one.line));
        lines.push(Line::default());
    }
    lines.push(slots.head());
    lines.extend(slots.body().into_iter().map(|one| one.line));
    let leaving = sheet.leaving(usize::MAX);
    if !leaving.is_empty() {
        lines.push(Line::default());
        lines.extend(leaving);
    }
    let mut text = String::new();
    for line in lines {
        // What a terminal would obey is left out, as a buffer does.
        let line = line.to_string();
        let plain: String = line.chars().filter(|c| !c.is_control()).collect();
        text.push_str(plain.trim_end());
        text.push('\n');
    }
    text
}

/// What stands above the backends and slots, in `room` lines that they need some of; and whether there is room to spare.
fn head(
    sheet: &Sheet,
    room: usize,
    led: &[BodyLine],
    body: &[BodyLine],
) -> (Vec<Line<'static>>, bool) {
    let head_of_led = usize::from(!led.is_empty());
    let wanted = body.len().min(SLOT_LINES) + led.len().min(SLOT_LINES) + head_of_led;
    let mut lines = sheet.title();
    let totals = sheet.totals();
    let listeners = sheet.listeners(LISTENERS);
    let blanks = 2 + head_of_led;
    let all = lines.len() + totals.len() + listeners.len() + blanks;
    // All of it if the slots can be seen whole, or at least mostly.
    let mut left = room.saturating_sub(wanted + lines.len());
    let whole = body.len() + led.len() + head_of_led;
    let airy = room >= all + whole.min(2 * SLOT_LINES);
    if totals.len() <= left {
        left -= totals.len();
        lines.extend(totals);
    }
    if listeners.len() <= left {
        lines.extend(airy.then(Line::default));
        lines.extend(listeners);
    }
    lines.extend(airy.then(Line::default));
    lines.truncate(room.saturating_sub(1));
    (lines, airy)
}

/// So that the selected one is in view, with all its lines, and the view moves no more than it must.
fn scrolled(before: Scroll, body: &[BodyLine], place: Option<usize>, height: usize) -> Scroll {
    let of_selected = |line: &BodyLine| line.place.is_some() && line.place == place;
    let Some(first) = body.iter().position(of_selected) else {
        let above = before.above.min(body.len().saturating_sub(height));
        return Scroll { above, height };
    };
    let last = body.iter().rposition(of_selected).unwrap_or(first);
    // The heading over the first belongs to it.
    let first = if place == Some(0) { 0 } else { first };
    let least = (last + 1).saturating_sub(height).min(first);
    let most = first.min(body.len().saturating_sub(height));
    let above = before.above.clamp(least, most.max(least));
    Scroll { above, height }
}

/// Where the next line goes.
struct Page<'a> {
    buffer: &'a mut Buffer,
    area: Rect,
    y: u16,
}

impl Page<'_> {
    fn line(&mut self, line: &Line) {
        if self.y >= self.area.height {
            return;
        }
        let row = Rect {
            y: self.area.y + self.y,
            height: 1,
            ..self.area
        };
        line.render(row, self.buffer);
        self.y += 1;
    }

    /// Those of the lines that are in view.
    fn part(&mut self, lines: &[BodyLine], scroll: Scroll) {
        let in_view = lines.iter().skip(scroll.above).take(scroll.height);
        in_view.for_each(|one| self.line(&one.line));
    }
}

/// A box in the middle of the picture.
fn over(title: &'static str, lines: Vec<Line<'static>>, area: Rect, buffer: &mut Buffer) {
    let widest = lines.iter().map(Line::width).max().unwrap_or(0) as u16;
    let width = (widest + 4).min(area.width);
    let height = (lines.len() as u16 + 2).min(area.height);
    let place = Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    };
    Clear.render(place, buffer);
    let block = Block::bordered()
        .title(title)
        .padding(ratatui::widgets::Padding::horizontal(1));
    Paragraph::new(lines).block(block).render(place, buffer);
}

/// Something per second, in five characters.
fn rate(value: f64) -> String {
    match value {
        value if value > 0.0 && value < 9.95 => format!("{value:.1}"),
        value => crate::client::table::text::count(value.round() as u64),
    }
}
