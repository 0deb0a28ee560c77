//! The commands as people find them: in groups, in the order in which they are needed. The one list of them, for
//! help, for the sentences of [`super::usage`] and for whatever is generated from the definitions.

use clap::CommandFactory;
use clap::builder::StyledStr;

use super::{Words, help, proxy, run, text};

/// The commands in the order in which people need them. Whatever is a command stands in one group.
const GROUPS: [(&str, &[&str]); 4] = [
    ("Start", &["run", "proxy", "demo"]),
    ("Look", &["status", "top", "logs", "metrics", "check"]),
    (
        "Change what runs, and wait until it is done",
        &[
            "reload", "restart", "scale", "drain", "resume", "backend", "set", "upgrade", "stop",
        ],
    ),
    ("Learn", &["help", "completions", "man"]),
];

/// The commands that people are told of.
pub fn verbs() -> impl Iterator<Item = &'static str> {
    GROUPS.iter().flat_map(|(_, verbs)| *verbs).copied()
}

/// Whether a command has this option, written with its dashes.
pub fn has_option(verb: &str, option: &str) -> bool {
    let command = Words::command();
    let mut options = command
        .find_subcommand(verb)
        .into_iter()
        .flat_map(clap::Command::get_arguments);
    options.any(|one| {
        let long = one.get_long().map(|long| format!("--{long}"));
        let short = one.get_short().map(|short| format!("-{short}"));
        [long, short]
            .into_iter()
            .flatten()
            .any(|name| name == option)
    })
}

/// All words there are; the commands in groups, which clap itself has for options only.
pub fn command() -> clap::Command {
    let command = Words::command();
    let header = *command.get_styles().get_header();
    let about = |verb: &str| {
        let verb = command.find_subcommand(verb);
        verb.and_then(clap::Command::get_about)
            .map(ToString::to_string)
            .unwrap_or_default()
    };
    let mut template = String::from("{about-section}\n{usage-heading} {usage}\n");
    let title = |title: &str| format!("\n{header}{title}:{header:#}\n");
    let widest = verbs().map(str::len).max().unwrap_or(0);
    for (group, verbs) in GROUPS {
        template.push_str(&title(group));
        for verb in verbs {
            template.push_str(&format!("  {verb:<widest$}  {}\n", about(verb)));
        }
    }
    template.push_str(&title("Options"));
    template.push_str("{options}{after-help}\n");
    let examples = command.get_after_long_help().map(ToString::to_string);
    let topics = format!(
        "{header}Topics, each by 'forkfront help TOPIC':{header:#}\n{}\n{}",
        help::topics(),
        examples.unwrap_or_default()
    );
    command
        .after_long_help(StyledStr::from(topics))
        .help_template(StyledStr::from(template))
        .mut_subcommand("run", run::exclude_beside_config)
}

/// The commands that a command has of its own, as `backend` does.
pub fn verbs_of(verb: &str) -> Vec<String> {
    let command = command();
    let own = command.find_subcommand(verb).into_iter();
    let own = own.flat_map(clap::Command::get_subcommands);
    own.map(|one| one.get_name().to_owned()).collect()
}

/// The same for people: what is said of each command is laid out as wide as the terminal is.
pub fn shown() -> clap::Command {
    let width = text::width();
    command().mut_subcommands(
        |verb| match verb.get_long_about().map(ToString::to_string) {
            Some(about) => {
                let about = text::laid_out(&text::blocks(&about), width);
                verb.long_about(StyledStr::from(about.trim_end().to_owned()))
            }
            None => verb,
        },
    )
}

/// `run -h` and `proxy -h`: a screenful of what most need, and where the rest is. `None`: the verb has no other help
/// than its whole one.
pub fn brief(verb: &str) -> Option<StyledStr> {
    let (shown, examples, other): (&[(&str, &str)], _, _) = match verb {
        "run" => (&run::BRIEF, run::BRIEF_EXAMPLES, "--max-age"),
        "proxy" => (&proxy::BRIEF, proxy::BRIEF_EXAMPLES, "--slow-start"),
        _ => return None,
    };
    let mut command = command();
    command.build();
    let verb_command = command.find_subcommand(verb)?.clone();
    let brief = |option: &clap::Arg| {
        let id = option.get_id().as_str();
        shown.iter().find(|(brief, _)| *brief == id)
    };
    let options = verb_command
        .get_arguments()
        .filter(|one| !one.is_positional() && !one.is_hide_set());
    let others = options.filter(|option| brief(option).is_none()).count();
    let mut verb_command = verb_command
        .mut_args(|option| match brief(&option) {
            Some((_, takes)) => option.help_heading(None).value_name(*takes),
            None if option.is_positional() || option.get_id() == "help" => option,
            None => option.help_heading(None).hide_short_help(true),
        })
        .after_help(format!(
            "{examples}\n\n{others} more options, in groups: forkfront {verb} --help\n\
                             One of them: forkfront help {other}"
        ));
    Some(verb_command.render_help())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_in_one_group() {
        let command = command();
        command.clone().debug_assert();
        let shown = command.get_subcommands().filter(|one| !one.is_hide_set());
        let mut shown: Vec<&str> = shown.map(clap::Command::get_name).collect();
        let mut grouped: Vec<&str> = verbs().collect();
        shown.sort_unstable();
        grouped.sort_unstable();
        assert_eq!(shown, grouped);
    }
}
