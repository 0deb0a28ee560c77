//! The house rules that a compiler does not keep: the floors of the design (a lower one never imports a higher),
//! where `unsafe` may be, how long files and functions may get, what the pure rules must not touch.

use std::fs;
use std::path::{Path, PathBuf};

/// A file past this is two nouns.
const FILE_LINES: usize = 400;
/// A function past this does two things.
const FUNCTION_LINES: usize = 60;
/// A scenario is a script: it may be a little longer.
const SCENARIO_LINES: usize = 80;

/// One source file.
struct Source {
    /// Relative to the project.
    path: String,
    text: String,
}

impl Source {
    /// Lines of the program, with their numbers: no comments, nothing under `#[cfg(test)]`.
    fn code(&self) -> Vec<(usize, &str)> {
        self.program()
            .into_iter()
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
            .collect()
    }

    fn program(&self) -> Vec<(usize, &str)> {
        let all: Vec<(usize, &str)> = self
            .text
            .lines()
            .enumerate()
            .map(|(at, line)| (at + 1, line))
            .collect();
        if self.path.ends_with("/tests.rs") || self.path.contains("/tests/") {
            return Vec::new();
        }
        let tests = all.windows(2).position(|two| {
            two[0].1.trim() == "#[cfg(test)]" && two[1].1.trim_start().starts_with("mod ")
        });
        all[..tests.unwrap_or(all.len())].to_vec()
    }

    /// In the shim's own crate, which the library never sees.
    fn is_shim(&self) -> bool {
        self.path.starts_with("src/shim/")
    }
}

fn sources(directory: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    walk(&root.join(directory), &mut files);
    files.sort();
    files
        .into_iter()
        .map(|file| Source {
            path: file
                .strip_prefix(root)
                .expect("inside")
                .display()
                .to_string(),
            text: fs::read_to_string(&file).expect("text"),
        })
        .collect()
}

fn walk(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Fails with every broken place, not only the first.
#[track_caller]
fn none(rule: &str, broken: Vec<String>) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

/// `Some` for a module of the library, by its name.
fn floor(module: &str) -> Option<u8> {
    match module {
        "wire" | "scoreboard" | "backend_board" | "error" | "sys" | "random" => Some(0),
        "policy" | "config" | "status" | "protocol" => Some(1),
        "primary" | "proxy" | "worker" | "client" | "shim_image" => Some(2),
        "cli" | "main" => Some(3),
        _ => None,
    }
}

/// Modules of ours that a line names by their path from the root.
fn imports(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for start in ["crate::", "forkfront::"] {
        for (at, _) in line.match_indices(start) {
            let rest = &line[at + start.len()..];
            let list = rest
                .strip_prefix('{')
                .and_then(|list| list.split('}').next());
            for item in list.unwrap_or(rest).split(',') {
                let name: String = item
                    .trim()
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect();
                found.push(name);
                if list.is_none() {
                    break;
                }
            }
        }
    }
    found
}

#[test]
fn a_lower_floor_never_imports_a_higher() {
    let mut broken = Vec::new();
    for source in sources("src")
        .iter()
        .filter(|source| !source.is_shim() && source.path != "src/lib.rs")
    {
        let module = source.path["src/".len()..]
            .split(['/', '.'])
            .next()
            .unwrap_or_default();
        let Some(own) = floor(module) else {
            broken.push(format!(
                "{}: on no floor; name it in tests/floors.rs",
                source.path
            ));
            continue;
        };
        for (number, line) in source.code() {
            for name in imports(line) {
                if floor(&name).is_some_and(|other| other > own) {
                    broken.push(format!(
                        "{}:{number} (floor {own}) imports {name}",
                        source.path
                    ));
                }
            }
        }
    }
    none("imports from a higher floor", broken);
}

#[test]
fn the_rules_are_pure() {
    let touched = [
        "Instant::now",
        "SystemTime",
        "std::fs",
        "std::os",
        "std::process",
        "std::thread",
        "log::",
        "libc",
        "nix::",
        "mio::",
        "socket2::",
        "println!",
        "TcpListener",
        "TcpStream",
    ];
    let mut broken = Vec::new();
    for source in sources("src/policy") {
        for (number, line) in source.code() {
            for what in touched.iter().filter(|what| line.contains(**what)) {
                broken.push(format!("{}:{number} touches {what}", source.path));
            }
        }
    }
    none("policy has no descriptor, no clock, no log", broken);
}

#[test]
fn unsafe_is_in_sys_and_the_shim_only() {
    let mut broken = Vec::new();
    for source in sources("src").iter().chain(&sources("tests")) {
        let allowed = source.path.starts_with("src/sys/")
            || source.is_shim()
            || source.path == "tests/floors.rs";
        for (number, line) in source.code() {
            let uses = [
                "unsafe {",
                "unsafe fn",
                "unsafe impl",
                "unsafe extern",
                "unsafe(",
                "unsafe trait",
            ];
            let used = uses.iter().any(|one| line.contains(one));
            if used && !allowed {
                broken.push(format!("{}:{number}", source.path));
            }
        }
    }
    none("unsafe", broken);
}

#[test]
fn each_unsafe_block_of_the_shim_says_why_it_is_sound() {
    // Clippy does not see the shim, which the build script compiles.
    let mut broken = Vec::new();
    for source in sources("src/shim").iter().chain(&sources("src/sys")) {
        let lines: Vec<&str> = source.text.lines().collect();
        for (number, line) in source.code() {
            if line.contains("unsafe {") {
                let before = &lines[number.saturating_sub(7)..number];
                if !before.iter().any(|line| line.contains("SAFETY")) {
                    broken.push(format!("{}:{number}", source.path));
                }
            }
        }
    }
    none("an unsafe block without SAFETY", broken);
}

#[test]
fn files_and_functions_stay_short() {
    let mut broken = Vec::new();
    for source in sources("src").iter().chain(&sources("tests")) {
        let program = source.program();
        if program.len() > FILE_LINES {
            broken.push(format!("{}: {} lines", source.path, program.len()));
        }
        for (at, (number, line)) in program.iter().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let words = line.trim_start();
            let function =
                words.starts_with("fn ") || words.contains(" fn ") && !words.starts_with("//");
            if !function || words.ends_with(';') {
                continue;
            }
            let end = format!("{}}}", " ".repeat(indent));
            let length = program[at..]
                .iter()
                .position(|(_, line)| *line == end)
                .unwrap_or(0);
            let most = if source.path.starts_with("tests/") {
                SCENARIO_LINES
            } else {
                FUNCTION_LINES
            };
            if length > most {
                broken.push(format!(
                    "{}:{number}: a function of {length} lines",
                    source.path
                ));
            }
        }
    }
    none("too long", broken);
}

#[test]
fn every_file_says_what_it_is() {
    let silent = sources("src").into_iter().chain(sources("tests"));
    let silent = silent
        .filter(|source| !source.text.starts_with("//!"))
        .map(|source| source.path);
    none("no //! at the top", silent.collect());
}

#[test]
fn nothing_is_left_undone_or_unwrapped() {
    let refused = [
        ".unwrap()",
        "todo!",
        "unimplemented!",
        "TODO",
        "FIXME",
        "dbg!(",
    ];
    let mut broken = Vec::new();
    for source in sources("src") {
        for (number, line) in source.program() {
            let comment = line.trim_start().starts_with("//");
            for what in refused.iter().filter(|what| line.contains(**what)) {
                if !(comment && *what == ".unwrap()") {
                    broken.push(format!("{}:{number}: {what}", source.path));
                }
            }
        }
    }
    none("refused words", broken);
}
