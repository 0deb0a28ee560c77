//! The texts that teach, as blocks: read from plain text, laid out for a terminal here and for man(1) in
//! [`super::man`]. It knows nothing of what they say.
//!
//! A text reads as it is. `# Words` is a heading; so is a line that ends in a colon with an indented one below it.
//! Lines that begin at the margin are a paragraph. A line indented by two is a row: a term, two blanks or more, and
//! what is said of it, which goes on in lines that are indented further; `1. words` is one, too. What else is
//! indented, and commands of ours, stay as they are written.

use clap::builder::styling::Styles;

/// The widest line of prose: more is hard to read.
const WIDEST: usize = 100;
/// What is narrower is not laid out for.
const NARROWEST: usize = 40;
/// The widest term that has its words beside it.
const TERM: usize = 26;
/// By what verbatim lines are indented.
const INDENT: &str = "    ";

/// A piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block {
    /// What the next ones are about.
    Heading(String),
    /// Lines that are one.
    Paragraph(String),
    /// Terms, each with what is said of it.
    Rows(Vec<(String, String)>),
    /// Lines as they are, without what all of them are indented by.
    Verbatim(Vec<String>),
}

/// The blocks of `text`.
pub fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    // Blank lines since the last block.
    let mut gap = 0;
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let next_is_indented = lines.peek().is_some_and(|next| next.starts_with("  "));
        let (indent, words) = split(line);
        let row = row(words).filter(|_| indent == 2);
        let last = blocks.last_mut();
        match (last, indent) {
            _ if words.is_empty() => {
                gap += 1;
                continue;
            }
            (Some(Block::Paragraph(so_far)), 0) if gap == 0 => join(so_far, words),
            (_, 0) => blocks.push(at_the_margin(words, next_is_indented)),
            (Some(Block::Rows(rows)), 2) if gap == 0 => {
                rows.push(row.unwrap_or((words, "")).into_strings());
            }
            (Some(Block::Rows(rows)), _) if gap == 0 && indent > 2 => {
                if let Some((_, so_far)) = rows.last_mut() {
                    join(so_far, words);
                }
            }
            (Some(Block::Verbatim(lines)), _) if row.is_none() => {
                lines.extend(std::iter::repeat_n(String::new(), gap));
                lines.push(line.to_owned());
            }
            _ => blocks.push(match row {
                Some(row) => Block::Rows(vec![row.into_strings()]),
                None => Block::Verbatim(vec![line.to_owned()]),
            }),
        }
        gap = 0;
    }
    for block in &mut blocks {
        if let Block::Verbatim(lines) = block {
            unindent(lines);
        }
    }
    blocks
}

/// What a line is indented by, and its words.
fn split(line: &str) -> (usize, &str) {
    let words = line.trim_start();
    (line.len() - words.len(), words.trim_end())
}

/// A term and what is said of it; none in a command of ours, whose words are a comment.
fn row(words: &str) -> Option<(&str, &str)> {
    if words.starts_with("forkfront ") {
        return None;
    }
    let step = || {
        words
            .split_once(". ")
            .filter(|(step, _)| step.parse::<u8>().is_ok())
    };
    let (term, said) = match step() {
        Some((step, said)) => (&words[..step.len() + 1], said),
        None => words.split_once("  ")?,
    };
    Some((term, said.trim_start()))
}

trait IntoStrings {
    fn into_strings(self) -> (String, String);
}

impl IntoStrings for (&str, &str) {
    fn into_strings(self) -> (String, String) {
        (self.0.to_owned(), self.1.to_owned())
    }
}

fn at_the_margin(words: &str, next_is_indented: bool) -> Block {
    let under = words.strip_suffix(':').filter(|_| next_is_indented);
    match words.strip_prefix("# ").or(under) {
        Some(heading) => Block::Heading(heading.to_owned()),
        None => Block::Paragraph(words.to_owned()),
    }
}

fn join(so_far: &mut String, words: &str) {
    if !so_far.is_empty() {
        so_far.push(' ');
    }
    so_far.push_str(words);
}

fn unindent(lines: &mut [String]) {
    let indents = lines.iter().filter(|line| !line.is_empty());
    let least = indents.map(|line| split(line).0).min().unwrap_or(0);
    for line in lines {
        line.drain(..least.min(line.len()));
    }
}

/// How wide a line may be on the terminal that stdout is, or as `COLUMNS` says.
pub fn width() -> usize {
    let terminal = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    let said = || std::env::var("COLUMNS").ok()?.parse().ok();
    terminal.or_else(said).unwrap_or(WIDEST)
}

/// The text for people: lines of at most `width`, headings and terms in the style of the help. Only what is
/// verbatim may be wider.
pub fn laid_out(blocks: &[Block], width: usize) -> String {
    let width = width.clamp(NARROWEST, WIDEST);
    let styles = Styles::styled();
    let (header, literal) = (styles.get_header(), styles.get_literal());
    let mut out = String::new();
    for (index, block) in blocks.iter().enumerate() {
        let under_heading = index > 0 && matches!(blocks[index - 1], Block::Heading(_));
        if index > 0 && !under_heading {
            out.push('\n');
        }
        match block {
            Block::Heading(words) => {
                for line in textwrap::wrap(words, width) {
                    out.push_str(&format!("{header}{line}{header:#}\n"));
                }
            }
            Block::Paragraph(words) => {
                for line in textwrap::wrap(words, width) {
                    out.push_str(&format!("{line}\n"));
                }
            }
            Block::Verbatim(lines) => {
                for line in lines {
                    out.push_str(format!("{INDENT}{line}").trim_end());
                    out.push('\n');
                }
            }
            Block::Rows(rows) => {
                let fits = rows.iter().map(|(term, _)| term.chars().count());
                let column = 4 + fits.filter(|term| *term <= TERM).max().unwrap_or(4);
                let column = column.min(width / 2);
                for (term, words) in rows {
                    out.push_str(&format!("  {literal}{term}{literal:#}"));
                    beside(&mut out, 2 + term.chars().count(), column, words, width);
                }
            }
        }
    }
    out
}

/// `words` in their column, from the line on that is already written up to `at` if there is room.
fn beside(out: &mut String, at: usize, column: usize, words: &str, width: usize) {
    let mut at = at;
    if words.is_empty() {
        out.push('\n');
        return;
    }
    for line in textwrap::wrap(words, width - column) {
        if at + 2 > column && at > 0 {
            out.push('\n');
            at = 0;
        }
        out.push_str(&format!("{:1$}{line}", "", column - at));
        at = column;
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
Words that
go on.

Examples:
  forkfront status      not a row
  forkfront stop

# Rows
  -a  one
  --longer  two, which
            goes on
  bare

  1. first
  2. second

    kept
      as it is

    here
Behind it.";

    fn rows(rows: &[(&str, &str)]) -> Block {
        Block::Rows(rows.iter().map(|row| row.into_strings()).collect())
    }

    #[test]
    fn a_text_is_read_as_blocks() {
        let verbatim =
            |lines: &[&str]| Block::Verbatim(lines.iter().map(|line| (*line).to_owned()).collect());
        let expected = [
            Block::Paragraph("Words that go on.".into()),
            Block::Heading("Examples".into()),
            verbatim(&["forkfront status      not a row", "forkfront stop"]),
            Block::Heading("Rows".into()),
            rows(&[
                ("-a", "one"),
                ("--longer", "two, which goes on"),
                ("bare", ""),
            ]),
            rows(&[("1.", "first"), ("2.", "second")]),
            verbatim(&["kept", "  as it is", "", "here"]),
            Block::Paragraph("Behind it.".into()),
        ];
        assert_eq!(blocks(TEXT), expected);
    }

    #[test]
    fn lines_are_as_wide_as_the_terminal() {
        let said = rows(&[("--flag VALUE", "one two three four five six"), ("-b", "")]);
        let plain = |width| {
            anstream::adapter::strip_str(&laid_out(std::slice::from_ref(&said), width)).to_string()
        };
        assert_eq!(
            plain(40),
            "  --flag VALUE  one two three four five\n                six\n  -b\n"
        );
        // Nobody reads less than that.
        assert_eq!(plain(1), plain(40));
        let wide = rows(&[(&"x".repeat(30), "words")]);
        let plain = anstream::adapter::strip_str(&laid_out(&[wide], 80)).to_string();
        assert_eq!(plain, format!("  {}\n        words\n", "x".repeat(30)));
        let prose = Block::Paragraph("word ".repeat(200).trim_end().to_owned());
        let laid = laid_out(&[prose], 500);
        assert!(laid.lines().all(|line| line.len() <= WIDEST), "{laid}");
    }
}
