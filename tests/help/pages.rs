//! What help writes that others read: the example of a configuration file, and the man pages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::{options_of, said, source, topics, verbs};

/// A directory of this test's own, removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new(test: &str) -> Self {
        let name = format!("forkfront-help-{test}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_example_of_a_file_is_shown_and_accepted() {
    let example = source("src/config/file/example.toml");
    let shown = said(&["help", "config"]);
    for line in example.lines() {
        assert!(shown.contains(line), "{line}");
    }
    let directory = Directory::new("example");
    let file = directory.0.join("shop.toml");
    fs::write(&file, &example).expect("written");
    let checked = said(&["check", file.to_str().expect("text")]);
    assert!(checked.contains("web: 4 workers"), "{checked}");
}

/// Runs a formatter of man pages over `page`; what it prints.
#[track_caller]
fn formatted(program: &str, words: &[&str], page: &Path) -> Output {
    Command::new(program)
        .args(words)
        .arg(page)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program}, which scripts/test installs: {error}"))
}

#[test]
fn man_pages_tell_what_the_help_tells_and_format_without_a_warning() {
    let directory = Directory::new("man");
    let there = directory.0.to_str().expect("text");
    let wrote = said(&["man", there]);
    assert!(wrote.contains(there), "{wrote}");
    let page =
        |section: &str, name: &str| directory.0.join(format!("man{section}/{name}.{section}"));
    let mut pages = vec![page("1", "forkfront")];
    for verb in verbs() {
        let page = page("1", &format!("forkfront-{verb}"));
        let text = fs::read_to_string(&page).expect("a page");
        for option in options_of(&verb) {
            let written = format!("\\-\\-{}", option.replace('-', "\\-"));
            assert!(text.contains(&written), "{verb}: no --{option}");
        }
        pages.push(page);
    }
    pages.extend(
        topics()
            .iter()
            .map(|topic| page("7", &format!("forkfront-{topic}"))),
    );
    for page in &pages {
        let done = formatted("groff", &["-man", "-ww", "-Tutf8"], page);
        let complaints = String::from_utf8_lossy(&done.stderr);
        assert!(
            done.status.success() && complaints.is_empty(),
            "{}: {complaints}",
            page.display()
        );
        let done = formatted("mandoc", &["-T", "lint", "-W", "warning"], page);
        let complaints = String::from_utf8_lossy(&done.stdout);
        assert!(
            done.status.success() && complaints.is_empty(),
            "{complaints}"
        );
    }
    let whole = fs::read_to_string(&pages[0]).expect("a page");
    for name in verbs().iter().chain(&topics()) {
        let name = format!("forkfront\\-{}", name.replace('-', "\\-"));
        assert!(whole.contains(&name), "{name}");
    }
    let count: usize = ["man1", "man7"]
        .map(|section| {
            fs::read_dir(directory.0.join(section))
                .expect("pages")
                .count()
        })
        .iter()
        .sum();
    assert_eq!(count, pages.len());
}
