//! Which columns of a table there is room for, and a table's rows out of cells.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

/// One column.
#[derive(Clone, Copy, Debug)]
pub struct Column<C> {
    /// What is in it.
    pub what: C,
    /// Over it.
    pub head: &'static str,
    /// Characters.
    pub width: usize,
    /// The largest number goes first when there is no room.
    pub rank: u8,
    /// Text stands at the left, numbers at the right.
    pub left: bool,
    /// Takes what is left, up to this width.
    pub grows_to: usize,
}

impl<C: Copy> Column<C> {
    /// Numbers.
    pub const fn numbers(what: C, head: &'static str, width: usize, rank: u8) -> Self {
        Self {
            what,
            head,
            width,
            rank,
            left: false,
            grows_to: 0,
        }
    }

    /// Text.
    pub const fn text(what: C, head: &'static str, width: usize, rank: u8) -> Self {
        let numbers = Self::numbers(what, head, width, rank);
        Self {
            left: true,
            ..numbers
        }
    }

    /// With whatever room is left, up to a width.
    pub const fn growing_to(self, grows_to: usize) -> Self {
        Self { grows_to, ..self }
    }
}

/// Those that fit into `width`, with one space between two.
pub fn fitting<C>(mut columns: Vec<Column<C>>, width: usize) -> Vec<Column<C>> {
    let taken = |columns: &[Column<C>]| columns.iter().map(|one| one.width + 1).sum::<usize>();
    while taken(&columns) > width + 1 && columns.len() > 1 {
        let ranks = columns.iter().enumerate();
        let last = ranks.max_by_key(|(_, column)| column.rank);
        let Some((last, _)) = last else { break };
        columns.remove(last);
    }
    let mut left = (width + 1).saturating_sub(taken(&columns));
    for column in columns.iter_mut().filter(|one| one.grows_to > 0) {
        let more = left.min(column.grows_to.saturating_sub(column.width));
        column.width += more;
        left -= more;
    }
    columns
}

/// One row; `cell` gives each column's text and style.
pub fn row<C>(
    columns: &[Column<C>],
    cell: impl Fn(&Column<C>) -> (String, Style),
) -> Line<'static> {
    let mut spans = Vec::with_capacity(columns.len() * 2);
    for (number, column) in columns.iter().enumerate() {
        if number > 0 {
            spans.push(Span::raw(" "));
        }
        let (text, style) = cell(column);
        let text = cut(&text, column.width);
        let room = " ".repeat(column.width.saturating_sub(text.chars().count()));
        let padded = if column.left {
            text + &room
        } else {
            room + &text
        };
        spans.push(Span::styled(padded, style));
    }
    Line::from(spans)
}

/// At most so many characters, with a sign that there were more.
pub fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept = text.chars().take(width.saturating_sub(1));
    kept.chain((width > 0).then_some('~')).collect()
}

/// Words over at most `most` lines of so many characters; what does not fit is cut off the last one.
pub fn wrapped(text: &str, width: usize, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let full = lines.len() == most;
        match lines.last_mut() {
            Some(line) if full || line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.iter().map(|line| cut(line, width)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_least_goes_first() {
        let columns = || {
            vec![
                Column::numbers('a', "A", 4, 0),
                Column::text('b', "B", 6, 9).growing_to(20),
                Column::numbers('c', "C", 5, 3),
            ]
        };
        let shown = |width| {
            let fitting = fitting(columns(), width);
            fitting
                .iter()
                .map(|one| (one.what, one.width))
                .collect::<Vec<_>>()
        };
        assert_eq!(shown(80), [('a', 4), ('b', 20), ('c', 5)]);
        assert_eq!(shown(19), [('a', 4), ('b', 8), ('c', 5)]);
        assert_eq!(shown(17), [('a', 4), ('b', 6), ('c', 5)]);
        assert_eq!(shown(16), [('a', 4), ('c', 5)]);
        assert_eq!(shown(9), [('a', 4)]);
        assert_eq!(shown(0), [('a', 4)]);
    }

    #[test]
    fn words_are_wrapped_and_what_is_too_much_is_cut() {
        assert_eq!(wrapped("", 5, 3), [""; 0]);
        assert_eq!(wrapped("aa bb cc dd", 5, 3), ["aa bb", "cc dd"]);
        assert_eq!(wrapped("aa bb cc dd ee ff gg", 5, 2), ["aa bb", "cc d~"]);
        assert_eq!(wrapped("abcdefgh", 5, 2), ["abcd~"]);
    }

    #[test]
    fn cells_stand_where_they_should() {
        let columns = [
            Column::numbers('a', "A", 4, 0),
            Column::text('b', "B", 4, 0),
        ];
        let line = row(&columns, |one| (one.head.repeat(2), Style::new()));
        assert_eq!(line.to_string(), "  AA BB  ");
        let line = row(&columns, |_| ("123456".into(), Style::new()));
        assert_eq!(line.to_string(), "123~ 123~");
    }
}
