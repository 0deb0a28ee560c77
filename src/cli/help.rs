//! `forkfront help WORD`: what a command, an option or a topic is. Without a word: all that there is.
//!
//! What is asked for goes to stdout as it is, through no pager, as wide as the terminal.

use clap::builder::StyledStr;

use super::groups;
use super::text::{Block, blocks, laid_out, width};
use super::topics::{self, TOPICS, Topic};
use crate::config::nearest;
use crate::error::{Error, Result};

/// What `help` is.
pub const LONG: &str = "\
Tell about a command, an option or a topic.

Without a word it lists the commands and the topics.";

/// The words after `forkfront help`.
#[derive(Debug, clap::Args)]
pub struct HelpWords {
    /// A command, an option of `run`, or a topic
    #[arg(value_name = "WORD", allow_hyphen_values = true)]
    words: Vec<String>,
}

impl HelpWords {
    /// The text that is asked for.
    pub fn text(&self) -> Result<StyledStr> {
        let mut command = groups::shown();
        command.build();
        // `help exit codes` is `help exit-codes`.
        let word = self.words.join("-");
        let plain = word.trim_start_matches('-');
        let verb = groups::verbs().find(|verb| *verb == plain);
        if word.is_empty() || verb.is_some() {
            let asked = ["forkfront"].into_iter().chain(verb).chain(["--help"]);
            if let Err(help) = command.try_get_matches_from_mut(asked) {
                return Ok(help.render());
            }
        }
        if let Some(topic) = topics::find(plain) {
            return Ok(show(topic).into());
        }
        option(&command, plain).ok_or_else(|| unknown(&command, &word))
    }
}

fn show(topic: &Topic) -> String {
    let about = format!("{}: {}", topic.name, topic.about());
    let mut all = vec![Block::Paragraph(about)];
    all.extend(blocks(&topic.text()));
    laid_out(&all, width())
}

/// What the commands say of their option `name`, each once.
fn option(command: &clap::Command, name: &str) -> Option<StyledStr> {
    let header = *command.get_styles().get_header();
    let mut text = String::new();
    let mut said = Vec::new();
    for verb in groups::verbs() {
        let Some(verb) = command.find_subcommand(verb) else {
            continue;
        };
        let is_meant = |arg: &&clap::Arg| {
            let short = arg.get_short().map(String::from);
            arg.get_long() == Some(name) || short.as_deref() == Some(name)
        };
        let Some(arg) = verb.get_arguments().find(is_meant) else {
            continue;
        };
        let alone = clap::Command::new("alone")
            .max_term_width(100)
            .disable_help_flag(true)
            .help_template("{options}")
            .arg(arg.clone().help_heading(None).required(false));
        let help = alone.clone().render_long_help();
        // Many commands have --name: it is told of once.
        let what = arg.get_help().map(ToString::to_string);
        if !said.contains(&what) {
            said.push(what);
            let name = verb.get_name();
            text.push_str(&format!(
                "{header}forkfront {name}:{header:#}\n{}\n",
                help.ansi()
            ));
        }
    }
    (!text.is_empty()).then(|| text.into())
}

/// The topics as a part of the help, so wide at most.
pub fn topics() -> String {
    let widest = TOPICS
        .iter()
        .map(|topic| topic.name.len())
        .max()
        .unwrap_or(0);
    let line = |topic: &Topic| format!("  {:<widest$}  {}\n", topic.name, topic.about());
    TOPICS.iter().map(line).collect()
}

fn unknown(command: &clap::Command, word: &str) -> Error {
    let names = TOPICS
        .iter()
        .flat_map(|topic| topic.also.iter().chain([&topic.name]));
    let mut known: Vec<&str> = groups::verbs().chain(names.copied()).collect();
    let options = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    known.extend(
        options
            .flat_map(clap::Command::get_arguments)
            .filter_map(clap::Arg::get_long),
    );
    let near = nearest(word.trim_start_matches('-'), &known);
    let near = near
        .map(|near| format!("; did you mean {near}?"))
        .unwrap_or_default();
    Error::usage(format!(
        "there is no command, option or topic '{word}'{near} (see 'forkfront help')"
    ))
}
