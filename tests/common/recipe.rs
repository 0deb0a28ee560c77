//! The recipes of the README, played as they stand there: their files are written, their commands run, and what the
//! README says a command prints is what it prints. Only addresses are others: each test has one of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Balancer, Site, node_modules, python, readme_text};

/// One section's files, and one of its blocks of commands.
#[derive(Debug)]
pub struct Recipe {
    files: Vec<(String, String)>,
    steps: Vec<Step>,
}

/// A command behind `$ `, and the lines below it.
#[derive(Clone, Debug)]
struct Step {
    command: String,
    prints: String,
}

impl Recipe {
    /// The block of commands that begins with `$ FIRST`, with all files of its section.
    #[track_caller]
    pub fn beginning(first: &str) -> Self {
        let text = readme_text();
        let mark = format!("$ {first}");
        let sections = sections(&text);
        let mut sections = sections.iter().map(|section| blocks(section));
        let blocks = sections.find(|blocks| blocks.iter().any(|block| block[0] == mark));
        let blocks =
            blocks.unwrap_or_else(|| panic!("the README has no commands from {mark:?} on"));
        let files = blocks.iter().filter_map(|block| {
            let name = name_of(&block[0])?;
            Some((name, block.join("\n") + "\n"))
        });
        let files: Vec<_> = files.collect();
        let commands = blocks.iter().find(|block| block[0] == mark);
        let steps = steps(commands.expect("just seen"));
        Self { files, steps }
    }

    /// A place with the section's files, and with the programs that its commands name.
    pub fn site(&self) -> Site {
        let site = kitchen();
        for (name, text) in &self.files {
            let file = site.file(name);
            let directory = file.parent().expect("a directory");
            std::fs::create_dir_all(directory).expect("made");
            std::fs::write(&file, text).expect("written");
        }
        site
    }

    /// All commands, the first of which is `forkfront run`; the others ask it.
    #[track_caller]
    pub fn play(&self) {
        let site = self.site();
        self.play_at(&site).finish();
    }

    /// As [`Recipe::play`], and what runs is left to the caller.
    #[track_caller]
    pub fn play_at<'a>(&self, site: &'a Site) -> Balancer<'a> {
        let [first, rest @ ..] = &self.steps[..] else {
            panic!("no commands: {self:?}");
        };
        assert_eq!(first.prints, "", "what {} prints", first.command);
        let port = rest.iter().find_map(|step| step.port()).expect("a port");
        let balancer = serve(site, &first.command, &port);
        for step in rest {
            assert_eq!(
                step.run(site),
                step.prints,
                "what {:?} prints",
                step.command
            );
        }
        balancer
    }
}

/// A place with the programs that recipes name, and without what the caller's environment tells them.
pub fn kitchen() -> Site {
    let python = PathBuf::from(python());
    let mut path = std::env::var("PATH").unwrap_or_default();
    if let Some(directory) = python.parent().filter(|directory| directory.is_absolute()) {
        path = format!("{}:{path}", directory.display());
    }
    Site::new()
        .env("PATH", path)
        .env("NODE_PATH", node_modules())
        .env("PYTHONDONTWRITEBYTECODE", 1)
}

/// Runs a `forkfront run` of the README in the directory of `site`, whose address it listens at instead of the
/// server's `port`, until every slot is ready.
#[track_caller]
pub fn serve<'a>(site: &'a Site, command: &str, port: &str) -> Balancer<'a> {
    serve_in(site, &site.directory, command, port)
}

/// As [`serve`], in another directory, by the words that lead there.
#[track_caller]
pub fn serve_in<'a>(site: &'a Site, at: &Path, command: &str, port: &str) -> Balancer<'a> {
    let words: Vec<&str> = command.split_whitespace().collect();
    let ["forkfront", "run", words @ ..] = &words[..] else {
        panic!("not a start: {command}");
    };
    let listen = format!("{}={port}", site.bind());
    // A worker that is slow on a busy machine keeps its turn.
    let ours = ["run", "-l", &listen, "--steal-after", "20s"];
    Balancer::start_changed(site, &[&ours[..], words].concat(), |start| {
        start.current_dir(at).env("PWD", at);
        for name in ["HOST", "PORT", "WEB_CONCURRENCY"] {
            start.env_remove(name);
        }
    })
}

impl Step {
    /// What `localhost:` is followed by.
    fn port(&self) -> Option<String> {
        let (_, rest) = self.command.split_once("localhost:")?;
        let port = rest.split(|one: char| !one.is_ascii_digit()).next();
        port.map(str::to_owned)
    }

    /// Runs it in the directory of `site`, with the site's addresses: all that it has printed.
    #[track_caller]
    fn run(&self, site: &Site) -> String {
        let mut command = self.command.clone();
        if let Some(port) = self.port() {
            command = command.replace(&format!("localhost:{port}"), &site.to().to_string());
        }
        shell(site, &site.directory, &command)
    }
}

/// Runs a line in `directory`, in a shell in which `forkfront` commands go to this site's primary: all that it has
/// printed.
#[track_caller]
pub fn shell(site: &Site, directory: &Path, line: &str) -> String {
    let ours = format!(
        "forkfront() {{ verb=$1; shift; {} \"$verb\" --control {} \"$@\"; }}\n",
        env!("CARGO_BIN_EXE_forkfront"),
        site.control().display()
    );
    let line = line.replace("curl ", "curl -sS --max-time 20 ");
    let output = Command::new("sh")
        .args(["-c", &(ours + &line)])
        .current_dir(directory)
        .envs(site.environment())
        .stdin(Stdio::null())
        .output()
        .expect("a shell");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {text}{said}");
    text
}

/// The README between its headings.
fn sections(text: &str) -> Vec<Vec<&str>> {
    let mut sections = vec![Vec::new()];
    for line in text.lines() {
        if line.starts_with('#') {
            sections.push(Vec::new());
        }
        sections.last_mut().expect("never empty").push(line);
    }
    sections
}

/// The indented blocks of a section, without the indent and the empty lines around.
fn blocks(section: &[&str]) -> Vec<Vec<String>> {
    let mut blocks: Vec<Vec<String>> = vec![Vec::new()];
    for line in section {
        match line.strip_prefix("    ") {
            Some(line) => blocks.last_mut().expect("never empty").push(line.into()),
            None if line.is_empty() => blocks.last_mut().expect("never empty").push(String::new()),
            None => blocks.push(Vec::new()),
        }
    }
    for block in &mut blocks {
        let first = block.iter().position(|line| !line.is_empty());
        block.drain(..first.unwrap_or(block.len()));
        while block.last().is_some_and(String::is_empty) {
            block.pop();
        }
    }
    blocks.retain(|block| !block.is_empty());
    blocks
}

/// The file that a block is, told by its first line: a comment with nothing but a name.
fn name_of(first: &str) -> Option<String> {
    let first = first.strip_prefix("<?php ").unwrap_or(first);
    let name = ["// ", "# "]
        .iter()
        .find_map(|mark| first.strip_prefix(mark))?;
    let is_name = name.contains('.') && !name.contains(' ');
    is_name.then(|| name.to_owned())
}

fn steps(block: &[String]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in block {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(command), _) => steps.push(Step {
                command: command.to_owned(),
                prints: String::new(),
            }),
            (None, Some(step)) => step.prints += &format!("{line}\n"),
            (None, None) => panic!("no command before {line:?}"),
        }
    }
    steps
}
