//! What `forkfront help TOPIC` and the pages of section 7 teach: one file each below `topics/`, whose first line says
//! what it is about. Plain texts in the form of [`super::text`]; tests/help.rs runs the commands in them.

use crate::config::file;

/// Something to read about.
#[derive(Debug)]
pub struct Topic {
    /// Its name.
    pub name: &'static str,
    /// Other words that it is looked for by.
    pub also: &'static [&'static str],
    /// The file.
    source: &'static str,
}

impl Topic {
    /// What it is about, in one line.
    pub fn about(&self) -> &'static str {
        self.source.lines().next().unwrap_or_default()
    }

    /// All of it, behind the first line.
    pub fn text(&self) -> String {
        let (_, text) = self.source.split_once('\n').unwrap_or_default();
        let indented = |line: &str| match line {
            "" => "\n".to_owned(),
            line => format!("    {line}\n"),
        };
        let example: String = file::EXAMPLE.lines().map(indented).collect();
        text.replace("{example}\n", &example)
    }
}

macro_rules! topic {
    ($name:literal, $also:expr) => {
        Topic {
            name: $name,
            also: &$also,
            source: include_str!(concat!("topics/", $name, ".txt")),
        }
    };
}

/// All of them, in the order in which they are needed.
pub const TOPICS: [Topic; 11] = [
    topic!("balance", ["policy", "policies", "slow"]),
    topic!("sticky", ["sessions", "session", "websockets", "cookies"]),
    topic!("backends", ["proxying", "upstreams", "srv", "dns"]),
    topic!("config", ["configuration", "toml", "file"]),
    topic!("deploying", ["deploy", "deployment", "order", "rolling"]),
    topic!("signals", ["signal", "kill"]),
    topic!("exit-codes", ["exit", "codes", "exit-code", "exit-status"]),
    topic!("environment", ["env", "variables"]),
    topic!("systemd", ["service", "unit", "socket-activation"]),
    topic!(
        "containers",
        ["container", "docker", "podman", "kubernetes", "k8s"]
    ),
    topic!(
        "troubleshooting",
        ["trouble", "problems", "errors", "emfile", "faq"]
    ),
];

/// The topic of this name, or the one that is looked for by it.
pub fn find(name: &str) -> Option<&'static Topic> {
    TOPICS
        .iter()
        .find(|topic| topic.name == name || topic.also.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::groups;

    #[test]
    fn each_has_one_line_about_it_and_then_its_text() {
        for topic in &TOPICS {
            let mut lines = topic.source.lines();
            let about = lines.next().unwrap_or_default();
            assert!(!about.is_empty() && about.len() <= 60, "{about}");
            assert_eq!(lines.next(), Some(""), "{}", topic.name);
            assert!(
                !topic.text().contains('{') || topic.name == "config",
                "{}",
                topic.name
            );
        }
    }

    #[test]
    fn no_word_leads_to_two_places() {
        let names = TOPICS
            .iter()
            .flat_map(|topic| topic.also.iter().chain([&topic.name]));
        let mut words: Vec<&str> = names.copied().chain(groups::verbs()).collect();
        let all = words.len();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), all);
    }
}
