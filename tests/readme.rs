//! The README as a whole: its commands are commands, its links lead somewhere, its contents are what follows.

mod common;

use std::ffi::OsString;
use std::path::Path;

use common::*;

/// What stands in `text` between backquotes, and its indented lines with commands.
fn commands(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    for line in text.lines() {
        if let Some(line) = line.strip_prefix("    ") {
            let line = line.strip_prefix("$ ").unwrap_or(line);
            let line = line.split("   #").next().unwrap_or(line);
            let line = line.split(" > ").next().unwrap_or(line);
            all.extend(line.split(" && ").map(str::to_owned));
        } else {
            all.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    all.retain(|one| one.starts_with("forkfront "));
    all
}

#[test]
fn every_command_of_the_readme_is_one() {
    let commands = commands(&readme_text());
    assert!(commands.len() > 40, "{commands:#?}");
    for command in commands {
        // Words that stand for others, and a file that would be read.
        let not_meant = ["COMMAND", "TOPIC", "--config"];
        if not_meant.iter().any(|word| command.contains(word)) {
            continue;
        }
        let words = command.split_whitespace().map(OsString::from);
        if let Err(error) = forkfront::cli::parse(words) {
            panic!("{command}: {error}");
        }
    }
}

/// The headings outside of indented blocks: how deep, and their words.
fn headings(text: &str) -> Vec<(usize, &str)> {
    let headings = text.lines().filter_map(|line| {
        let words = line.trim_start_matches('#');
        let deep = line.len() - words.len();
        (deep > 0).then(|| (deep, words.trim()))
    });
    headings.collect()
}

/// The name by which a heading is linked to.
fn anchor(heading: &str) -> String {
    let kept = heading
        .chars()
        .filter(|one| one.is_alphanumeric() || " -_".contains(*one));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// Words and target of each link.
fn links(text: &str) -> Vec<(&str, &str)> {
    let links = text.split("](").zip(text.split("](").skip(1));
    let links = links.map(|(before, after)| {
        let words = before.rsplit('[').next().unwrap_or_default();
        (words, after.split(')').next().unwrap_or_default())
    });
    links.collect()
}

#[test]
fn every_link_leads_somewhere() {
    let text = readme_text();
    let anchors: Vec<String> = headings(&text)
        .iter()
        .map(|(_, words)| anchor(words))
        .collect();
    let links = links(&text);
    assert!(links.len() > 5, "{links:#?}");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (words, target) in links {
        let there = match target.strip_prefix('#') {
            Some(name) => anchors.iter().any(|one| one == name),
            None => root.join(target).exists(),
        };
        assert!(there, "[{words}] leads to {target}, which is not there");
    }
}

#[test]
fn the_contents_are_what_follows() {
    let text = readme_text();
    let (_, contents) = text.split_once("\n## Contents\n").expect("the contents");
    let (contents, after) = contents.split_once("\n## ").expect("what follows");
    let after = format!("## {after}");
    let told: Vec<&str> = links(contents).iter().map(|(words, _)| *words).collect();
    let headings = headings(&after);
    let chapters = headings.iter().filter(|(deep, _)| *deep == 2);
    let chapters: Vec<&str> = chapters.map(|(_, words)| *words).collect();
    let told: Vec<&str> = told
        .into_iter()
        .filter(|one| chapters.contains(one))
        .collect();
    assert_eq!(told, chapters);
}
