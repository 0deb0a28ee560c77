//! What is wrong in a file, and where: gathered while it is read, said together.

use std::fmt;
use std::path::PathBuf;

/// The most findings of one file that are said: a file with more is of another kind altogether.
const MOST: usize = 20;

/// A place in a text, as editors count: from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Its line.
    pub line: usize,
    /// Its column.
    pub column: usize,
}

/// Finds places in one pass over a text, however many: offsets are asked for in their order.
#[derive(Debug)]
struct Places<'t> {
    text: &'t str,
    offset: usize,
    place: Place,
}

impl<'t> Places<'t> {
    fn of(text: &'t str) -> Self {
        Self {
            text,
            offset: 0,
            place: Place { line: 1, column: 1 },
        }
    }

    fn at(&mut self, offset: usize) -> Place {
        let offset = boundary(self.text, offset).max(self.offset);
        for c in self.text[self.offset..offset].chars() {
            match c {
                '\n' => {
                    self.place.line += 1;
                    self.place.column = 1;
                }
                _ => self.place.column += 1,
            }
        }
        self.offset = offset;
        self.place
    }
}

/// The last place at or before `offset` where a character begins, or the end.
pub fn boundary(text: &str, offset: usize) -> usize {
    let fits = |at: &usize| text.is_char_boundary(*at);
    (0..=offset.min(text.len()))
        .rev()
        .find(fits)
        .unwrap_or_default()
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where; `None`: the file as a whole.
    pub place: Option<Place>,
    /// What, and what was expected.
    pub sentence: String,
    /// It is so here and now: the file may be right when it is tried again.
    pub may_pass: bool,
}

/// All that is wrong with one file; never empty where it is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings {
    /// The file, by the words it was asked for with.
    pub file: PathBuf,
    /// In the order of the file.
    pub list: Vec<Finding>,
}

impl Findings {
    /// The file as a whole is wrong.
    pub fn whole(file: impl Into<PathBuf>, sentence: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            list: vec![Finding {
                place: None,
                sentence: sentence.into(),
                may_pass: true,
            }],
        }
    }

    /// Something of it may be otherwise when it is tried again.
    pub fn may_pass(&self) -> bool {
        self.list.iter().any(|finding| finding.may_pass)
    }

    /// One line each: `FILE:LINE:COLUMN: SENTENCE`.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        let file = self.file.display();
        let said = self.list.iter().take(MOST);
        let more = self.list.len().saturating_sub(MOST);
        let more = (more > 0).then(|| format!("{file}: and {more} more"));
        said.map(move |one| match one.place {
            Some(Place { line, column }) => format!("{file}:{line}:{column}: {}", one.sentence),
            None => format!("{file}: {}", one.sentence),
        })
        .chain(more)
    }
}

impl fmt::Display for Findings {
    /// The first finding, and the others indented in lines of their own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, line) in self.lines().enumerate() {
            let gap = if at == 0 { "" } else { "\n  " };
            write!(f, "{gap}{line}")?;
        }
        Ok(())
    }
}

/// Findings of a text that is being read, by their offsets.
#[derive(Debug, Default)]
pub struct Marks {
    marks: Vec<(usize, String, bool)>,
}

impl Marks {
    /// Something is wrong at this byte.
    pub fn add(&mut self, offset: usize, sentence: impl Into<String>) {
        self.marks.push((offset, sentence.into(), false));
    }

    /// Something is wrong at this byte here and now, which may pass.
    pub fn add_for_now(&mut self, offset: usize, sentence: impl Into<String>) {
        self.marks.push((offset, sentence.into(), true));
    }

    /// How many things are wrong so far.
    pub fn count(&self) -> usize {
        self.marks.len()
    }

    /// Whether nothing is wrong so far.
    pub fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// With places instead of offsets, in the order of the text.
    pub fn findings(mut self, text: &str) -> Vec<Finding> {
        self.marks.sort();
        let mut places = Places::of(text);
        let finding = |(offset, sentence, may_pass)| Finding {
            place: Some(places.at(offset)),
            sentence,
            may_pass,
        };
        self.marks.into_iter().map(finding).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_as_editors_do() {
        let text = "a = 1\n\u{e4}\u{f6} = 2\r\nlast";
        let table = [
            (0, (1, 1)),
            (4, (1, 5)),
            (5, (1, 6)),
            (6, (2, 1)),
            (7, (2, 1)),
            (8, (2, 2)),
            (text.len() - 4, (3, 1)),
            (text.len(), (3, 5)),
            (text.len() + 9, (3, 5)),
        ];
        let mut places = Places::of(text);
        for (offset, (line, column)) in table {
            assert_eq!(places.at(offset), Place { line, column }, "{offset}");
        }
        assert_eq!(Places::of("").at(1), Place { line: 1, column: 1 });
    }

    #[test]
    fn many_findings_are_counted_not_listed() {
        let mut marks = Marks::default();
        for offset in (0..30).rev() {
            marks.add(offset, "wrong");
        }
        let findings = Findings {
            file: "a.toml".into(),
            list: marks.findings(&"x".repeat(30)),
        };
        let lines: Vec<String> = findings.lines().collect();
        assert_eq!(lines.len(), MOST + 1);
        assert_eq!(lines[0], "a.toml:1:1: wrong");
        assert_eq!(lines[MOST], "a.toml: and 10 more");
        assert!(
            findings
                .to_string()
                .starts_with("a.toml:1:1: wrong\n  a.toml:1:2: wrong")
        );
    }
}
