//! What a health check asks, as people write it: `http:PATH`, or a command.

use std::fmt;
use std::str::FromStr;

use super::Probe;

const HTTP: &str = "http:";

/// The longest request path: it goes out in one piece.
const PATH_MAX: usize = 1024;

impl FromStr for Probe {
    type Err = String;

    /// Reads `http:/path`, or the words of a command, quoted as for a shell; no shell runs it.
    ///
    /// # Errors
    /// A sentence.
    fn from_str(words: &str) -> Result<Self, String> {
        if let Some(path) = words.strip_prefix(HTTP) {
            return http(path).map(Self::Http);
        }
        let command = shlex::split(words).ok_or("a quotation mark in it is not closed")?;
        Self::command(command)
    }
}

impl Probe {
    /// A command of these words.
    ///
    /// # Errors
    /// A sentence.
    pub fn command(words: Vec<String>) -> Result<Self, String> {
        if words.first().is_none_or(String::is_empty) {
            return Err("it is written as http:/path, or as a command with its arguments".into());
        }
        if words.iter().any(|word| word.contains('\0')) {
            return Err("a word of a command cannot hold a zero byte".into());
        }
        Ok(Self::Command(words.into_iter().map(Into::into).collect()))
    }
}

fn http(path: &str) -> Result<String, String> {
    if path.starts_with("//") {
        return Err(
            "it asks the worker itself, so no host is named: only the path, as in http:/health"
                .into(),
        );
    }
    if !path.starts_with('/') {
        return Err("the path begins with a slash, as in http:/health".into());
    }
    if path.len() > PATH_MAX {
        return Err(format!("the path has {PATH_MAX} bytes at most"));
    }
    if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(
            "the path has no blanks and only ASCII; others are written as in %20 (RFC 3986)".into(),
        );
    }
    Ok(path.to_owned())
}

impl fmt::Display for Probe {
    /// As it would be written after `--health`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(path) => write!(f, "{HTTP}{path}"),
            Self::Command(words) => {
                for (at, word) in words.iter().enumerate() {
                    let gap = if at == 0 { "" } else { " " };
                    let word = word.to_string_lossy();
                    let quoted = shlex::try_quote(&word);
                    write!(f, "{gap}{}", quoted.as_deref().unwrap_or(&word))?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_written_back() {
        for words in ["http:/", "http:/health?deep=1", "check", "sh -c 'exit 0'"] {
            let probe: Probe = words.parse().unwrap();
            assert_eq!(probe.to_string(), words);
        }
        assert_eq!(
            "nc -z 'a b'".parse(),
            Ok(Probe::Command(vec!["nc".into(), "-z".into(), "a b".into()]))
        );
    }

    #[test]
    fn what_cannot_be_asked_is_refused() {
        let long = format!("http:/{}", "x".repeat(PATH_MAX));
        for (words, part) in [
            ("", "http:/path"),
            ("''", "http:/path"),
            ("  ", "http:/path"),
            ("sh -c 'x", "not closed"),
            ("a\0b", "zero byte"),
            ("http:", "begins with a slash"),
            ("http:health", "begins with a slash"),
            ("http://localhost/x", "no host"),
            ("http:/a b", "%20"),
            ("http:/a\r\nHost: x", "%20"),
            ("http:/\u{e4}", "%20"),
            (&long, "1024 bytes"),
        ] {
            let sentence = words.parse::<Probe>().unwrap_err();
            assert!(sentence.contains(part), "{words:?}: {sentence}");
        }
    }
}
