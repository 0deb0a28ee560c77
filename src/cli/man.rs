//! Man pages, from the same definitions as the help: forkfront(1), one for each command, and the topics in section
//! 7. They are written here and not by clap_mangen, which runs paragraphs, tables and examples together.

use std::fs;
use std::path::{Path, PathBuf};

use clap::builder::StyledStr;
use clap::{Arg, Command};
use roff::{Inline, Roff, bold, italic, roman};

use super::groups;
use super::text::{Block, blocks};
use super::topics::{TOPICS, Topic};
use crate::error::{Error, Result};

/// When the texts last changed much: pages say so at their foot.
const DATE: &str = "2026-11-23";
const MANUAL: &str = "forkfront";

/// What `man` is.
pub const LONG: &str = "\
Write the man pages: forkfront(1), one for each command, and one for each topic in section 7.

They go to man1 and man7 below DIR, which are made if they are not there. Without DIR it is \
/usr/local/share/man for root, else ~/.local/share/man, where man(1) finds them if ~/.local/bin is in PATH.";

/// How it is used.
pub const EXAMPLES: &str = "\
Examples:
  forkfront man                           then: man forkfront, man forkfront-run
  forkfront man ./man                     then: man -M ./man forkfront
  forkfront man $DESTDIR/usr/share/man    for a package";

/// One page.
#[derive(Debug)]
pub struct Page {
    /// Section, then file name: `man1/forkfront.1`.
    pub path: PathBuf,
    /// What is in it.
    pub text: String,
}

/// All pages.
pub fn pages() -> Vec<Page> {
    let mut command = groups::command();
    command.build();
    let verbs = groups::verbs().filter_map(|verb| command.find_subcommand(verb));
    let verbs = verbs.map(|verb| page("1", &display_name(verb), &verb_page(verb)));
    let topics = TOPICS.iter().map(|topic| {
        let name = format!("forkfront-{}", topic.name);
        page("7", &name, &topic_page(&name, topic))
    });
    let whole = page("1", "forkfront", &whole_page(&command));
    std::iter::once(whole).chain(verbs).chain(topics).collect()
}

/// Writes all pages below `directory`, or where this user's go, and says where that is.
///
/// # Errors
/// A directory or file that cannot be written.
pub fn write(directory: Option<&Path>) -> Result<String> {
    let directory = directory.map_or_else(usual_directory, |given| Ok(given.to_owned()))?;
    let pages = pages();
    for page in &pages {
        let path = directory.join(&page.path);
        let below = path.parent().unwrap_or(&directory);
        fs::create_dir_all(below).map_err(|error| {
            Error::io(
                format!("cannot make the directory {}", below.display()),
                &error,
            )
        })?;
        fs::write(&path, &page.text)
            .map_err(|error| Error::io(format!("cannot write {}", path.display()), &error))?;
    }
    let count = pages.len();
    Ok(format!("wrote {count} pages below {}", directory.display()))
}

fn usual_directory() -> Result<PathBuf> {
    if nix::unistd::geteuid().is_root() {
        return Ok("/usr/local/share/man".into());
    }
    let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from);
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/share"));
    data.filter(|data| data.is_absolute())
        .or_else(home)
        .map(|data| data.join("man"))
        .ok_or_else(|| {
            Error::usage(
                "HOME is not set, so say where: forkfront man DIR (see 'forkfront man --help')",
            )
        })
}

fn page(section: &str, name: &str, body: &Roff) -> Page {
    let version = concat!("forkfront ", env!("CARGO_PKG_VERSION"));
    let mut title = Roff::new();
    let words = [&name.to_uppercase(), section, DATE, version, MANUAL];
    title.control("TH", words);
    // Flags and names are not to be taken apart at the end of a line.
    title.control("nh", []).control("ad", ["l"]);
    let title = title.render();
    let body = body.render();
    // Both begin with the same definitions.
    let body = body.strip_prefix(&Roff::new().render()).unwrap_or(&body);
    // groff prints other characters for these two unless they are named.
    let text = format!("{title}{body}")
        .replace('~', r"\(ti")
        .replace('^', r"\(ha");
    Page {
        path: format!("man{section}/{name}.{section}").into(),
        text,
    }
}

fn whole_page(command: &Command) -> Roff {
    let mut roff = headed("forkfront", &about(command));
    roff.text([bold("forkfront"), roman(" COMMAND [OPTIONS]")]);
    roff.control("SH", ["DESCRIPTION"]);
    put(&mut roff, &prose(command.get_long_about()), Place::Top);
    roff.control("SH", ["COMMANDS"]);
    for verb in groups::verbs().filter_map(|verb| command.find_subcommand(verb)) {
        refer(&mut roff, &display_name(verb), "1", &about(verb));
    }
    roff.control("SH", ["TOPICS"]);
    for topic in &TOPICS {
        let name = format!("forkfront-{}", topic.name);
        refer(&mut roff, &name, "7", topic.about());
    }
    put(&mut roff, &blocks(super::EXAMPLES), Place::Top);
    roff
}

fn verb_page(verb: &Command) -> Roff {
    let mut roff = headed(&display_name(verb), &about(verb));
    let usage = verb.clone().render_usage().to_string();
    let words = usage.trim_start_matches("Usage: forkfront");
    roff.text([bold("forkfront"), roman(words)]);
    roff.control("SH", ["DESCRIPTION"]);
    let description = prose(verb.get_long_about().or(verb.get_about()));
    put(&mut roff, &description, Place::Top);
    options(&mut roff, verb);
    let after = verb.get_after_long_help().or(verb.get_after_help());
    put(&mut roff, &prose(after), Place::Top);
    see_also(&mut roff);
    roff
}

fn topic_page(name: &str, topic: &Topic) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["NAME"]);
    roff.text([roman(format!("{name} - {}", topic.about()))]);
    let text = blocks(&topic.text());
    if !matches!(text.first(), Some(Block::Heading(_))) {
        roff.control("SH", ["DESCRIPTION"]);
    }
    put(&mut roff, &text, Place::Top);
    see_also(&mut roff);
    roff
}

/// What every page of a command begins with, up to its synopsis.
fn headed(name: &str, about: &str) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["NAME"]);
    roff.text([roman(format!("{name} - {about}"))]);
    roff.control("SH", ["SYNOPSIS"]);
    roff
}

fn refer(roff: &mut Roff, name: &str, section: &str, about: &str) {
    roff.control("TP", []);
    roff.text([bold(name), roman(format!("({section})"))]);
    roff.text([roman(about)]);
}

fn see_also(roff: &mut Roff) {
    roff.control("SH", ["SEE ALSO"]);
    roff.text([
        bold("forkfront"),
        roman("(1), which lists all commands and topics"),
    ]);
}

fn display_name(verb: &Command) -> String {
    format!("forkfront-{}", verb.get_name())
}

fn about(command: &Command) -> String {
    let about = command.get_about();
    about.map(ToString::to_string).unwrap_or_default()
}

fn prose(text: Option<&StyledStr>) -> Vec<Block> {
    blocks(&text.map(ToString::to_string).unwrap_or_default())
}

/// Each heading of the options as a section, in their order.
fn options(roff: &mut Roff, verb: &Command) {
    let shown: Vec<&Arg> = verb
        .get_arguments()
        .filter(|one| !one.is_hide_set())
        .collect();
    let mut headings: Vec<&str> = Vec::new();
    for option in &shown {
        let heading = option.get_help_heading().unwrap_or("Options");
        if !headings.contains(&heading) {
            headings.push(heading);
        }
    }
    for heading in headings {
        roff.control("SH", [heading.to_uppercase().as_str()]);
        let is_here = |one: &&&Arg| one.get_help_heading().unwrap_or("Options") == heading;
        for one in shown.iter().filter(is_here) {
            option(roff, one);
        }
    }
}

fn option(roff: &mut Roff, option: &Arg) {
    roff.control("TP", []);
    roff.text(words_of(option));
    let help = option.get_long_help().or(option.get_help());
    let mut help = help.map(ToString::to_string).unwrap_or_default();
    let defaults = option.get_default_values().iter();
    let defaults: Vec<_> = defaults.map(|value| value.to_string_lossy()).collect();
    if !defaults.is_empty() && option.get_action().takes_values() {
        help.push_str(&format!("\n\n[default: {}]", defaults.join(", ")));
    }
    put(roff, &blocks(&help), Place::Entry);
    if !option.is_hide_possible_values_set() {
        let values = option.get_possible_values();
        let rows = values
            .iter()
            .filter(|value| !value.is_hide_set())
            .map(|value| {
                let said = value.get_help().map(ToString::to_string);
                (value.get_name().to_owned(), said.unwrap_or_default())
            });
        let rows: Vec<_> = rows.collect();
        if !rows.is_empty() && option.get_action().takes_values() {
            put(roff, &[Block::Rows(rows)], Place::Entry);
        }
    }
}

/// How an option is written: `-n, --workers N`.
fn words_of(option: &Arg) -> Vec<Inline> {
    let short = option.get_short().map(|short| format!("-{short}"));
    let long = option.get_long().map(|long| format!("--{long}"));
    let names: Vec<String> = short.into_iter().chain(long).collect();
    let mut words = Vec::new();
    if !names.is_empty() {
        words.push(bold(names.join(", ")));
    }
    if option.get_action().takes_values() {
        if !names.is_empty() {
            words.push(roman(" "));
        }
        let values = option.get_value_names().unwrap_or_default();
        words.push(italic(values.join(" ")));
    }
    words
}

/// Where blocks are put.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In a section of the page.
    Top,
    /// In what is said of an option.
    Entry,
}

fn put(roff: &mut Roff, blocks: &[Block], place: Place) {
    for (index, block) in blocks.iter().enumerate() {
        // A section or an entry begins with a paragraph by itself.
        let first = match index.checked_sub(1) {
            None => true,
            Some(before) => matches!(blocks[before], Block::Heading(_)),
        };
        match block {
            Block::Heading(words) => {
                roff.control("SH", [words.replace('"', "'").to_uppercase().as_str()]);
            }
            Block::Paragraph(words) => {
                if !first {
                    roff.control(if place == Place::Top { "PP" } else { "IP" }, []);
                }
                roff.text(inline(words));
            }
            Block::Rows(rows) => {
                let nested = place == Place::Entry;
                if nested {
                    roff.control("RS", []);
                }
                for (term, words) in rows {
                    roff.control("TP", []);
                    roff.text([bold(term)]);
                    roff.text(inline(words));
                }
                if nested {
                    roff.control("RE", []);
                }
            }
            Block::Verbatim(lines) => verbatim(roff, lines, first),
        }
    }
}

fn verbatim(roff: &mut Roff, lines: &[String], first: bool) {
    if !first {
        roff.control("PP", []);
    }
    roff.control("RS", ["4"]).control("nf", []);
    for line in lines {
        roff.text([roman(line.as_str())]);
    }
    roff.control("fi", []).control("RE", []);
}

/// What stands between backquotes is bold.
fn inline(words: &str) -> Vec<Inline> {
    let parts = words.split('`').enumerate();
    let parts = parts.filter(|(_, part)| !part.is_empty());
    let style = |(index, part)| match index % 2 {
        0 => roman(part),
        _ => bold(part),
    };
    parts.map(style).collect::<Vec<Inline>>()
}
