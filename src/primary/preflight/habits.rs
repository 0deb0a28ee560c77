//! What the words of a command say of habits that do not go with ours: a server that starts itself anew when a file
//! changes, or starts workers of its own. Most of it works all the same, so a sentence each is all that comes of it.
//! Knows the words of common servers and looks at nothing else: what a script or `sh -c` hides is not found.

use std::ffi::OsString;
use std::path::Path;

/// Servers, and launchers that have habits of their own. What stands before them (`python3 -m`, `bundle exec`) is
/// passed over.
const KNOWN: [&str; 15] = [
    "gunicorn",
    "uvicorn",
    "hypercorn",
    "flask",
    "fastapi",
    "manage.py",
    "django-admin",
    "django",
    "puma",
    "rails",
    "php",
    "node",
    "nodemon",
    "pm2",
    "pm2-runtime",
];

/// One sentence for each habit of `command`; `variable` is what the workers will have in their environment.
pub fn habits(command: &[OsString], variable: impl Fn(&str) -> Option<OsString>) -> Vec<String> {
    let words: Vec<&str> = command.iter().filter_map(|word| word.to_str()).collect();
    let name = |word: &str| Path::new(word).file_name()?.to_str().map(str::to_owned);
    let known = words.iter().enumerate().find_map(|(at, word)| {
        let name = name(word).filter(|name| KNOWN.contains(&name.as_str()))?;
        Some((name, &words[at + 1..]))
    });
    let Some((server, words)) = known else {
        return Vec::new();
    };
    let number = |name: &str| variable(name)?.to_str()?.trim().parse().ok();
    let server = Server {
        name: &server,
        words,
    };
    let debug = variable("FLASK_DEBUG").is_some_and(|value| value != "0" && !value.is_empty());
    let restarts = server.restarts_itself(debug).map(|(word, instead)| {
        format!(
            "'{word}' makes the server start anew by itself when a file changes, all workers at once: {instead}, and \
             let 'forkfront reload' do it"
        )
    });
    let workers = server.own_workers(number).map(|(how, many)| {
        format!(
            "{} starts {many} workers of its own ({how}) in each slot, which share the slot's connections as they \
             happen to wake: have it start one, and say by -n how many there are",
            server.name
        )
    });
    let refuses = server.refuses().map(str::to_owned);
    [restarts, workers, refuses].into_iter().flatten().collect()
}

/// A server and the words behind its name.
struct Server<'a> {
    name: &'a str,
    words: &'a [&'a str],
}

impl Server<'_> {
    fn says(&self, word: &str) -> bool {
        self.words.contains(&word)
    }

    /// The word that asks for it, and what to do about it.
    fn restarts_itself(&self, flask_debug: bool) -> Option<(&str, &'static str)> {
        let leave = "leave it out";
        match self.name {
            "gunicorn" | "uvicorn" | "hypercorn" if self.says("--reload") => {
                Some(("--reload", leave))
            }
            "fastapi" if self.says("dev") && !self.says("--no-reload") => {
                Some(("fastapi dev", "use 'fastapi run'"))
            }
            "flask" if self.says("run") && !self.says("--no-reload") => {
                let words = ["--reload", "--debug"];
                let said = words.into_iter().find(|word| self.says(word));
                let word = said.or(flask_debug.then_some("FLASK_DEBUG"))?;
                Some((word, "add --no-reload"))
            }
            "manage.py" | "django-admin" | "django"
                if self.says("runserver") && !self.says("--noreload") =>
            {
                Some(("runserver", "add --noreload, or use gunicorn"))
            }
            "node" => {
                // Behind the program's name the words are the program's own.
                let mut options = self.words.iter().take_while(|word| word.starts_with('-'));
                let word = options.find(|word| word.starts_with("--watch"))?;
                Some((word, leave))
            }
            "nodemon" => Some(("nodemon", "use node")),
            _ => None,
        }
    }

    /// What asks for more than one worker, and how many it asks for.
    fn own_workers(&self, variable: impl Fn(&str) -> Option<u32>) -> Option<(String, u32)> {
        let by_words = || {
            let many = self.value("--workers").or_else(|| self.value("-w"))?;
            Some((format!("--workers {many}"), many))
        };
        let by = |name: &str| Some((name.to_owned(), variable(name)?));
        let (how, many) = match self.name {
            "hypercorn" => by_words(),
            "gunicorn" | "uvicorn" | "puma" => by_words().or_else(|| by("WEB_CONCURRENCY")),
            "fastapi" if self.says("run") => by_words().or_else(|| by("WEB_CONCURRENCY")),
            "php" if self.says("-S") => by("PHP_CLI_SERVER_WORKERS"),
            _ => None,
        }?;
        (many > 1).then_some((how, many))
    }

    /// `--option N`, `--option=N`, `-oN`.
    fn value(&self, option: &str) -> Option<u32> {
        let joined = |word: &str| {
            let rest = word.strip_prefix(option)?;
            rest.strip_prefix('=').unwrap_or(rest).parse().ok()
        };
        let mut words = self.words.iter();
        while let Some(word) = words.next() {
            if *word == option {
                return words.next()?.parse().ok();
            }
            if let Some(value) = joined(word) {
                return Some(value);
            }
        }
        None
    }

    /// Why the second worker, or any, does not come up.
    fn refuses(&self) -> Option<&'static str> {
        let server = self.says("server") || self.says("s");
        let pid = ["-P", "--pid"].into_iter().any(|word| self.says(word));
        match self.name {
            "rails" if server && !pid => Some(
                "'rails server' does not start beside another one of its directory (tmp/pids/server.pid): run 'puma', \
                 which is the same server",
            ),
            "pm2" | "pm2-runtime" => Some(
                "pm2 starts processes and keeps them by itself, as forkfront does: give forkfront the program that \
                 pm2 would run",
            ),
            _ => None,
        }
    }
}
