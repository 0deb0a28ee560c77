//! Single values of options: each a pure function from the word to the value, or to a sentence.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};

use crate::config::{MAX_WORKERS, UNIX_PATH_MAX};
use crate::protocol;
use crate::sys::limits;

/// Environment that forkfront itself sets for its workers.
const OWN_ENVIRONMENT: &str = "FORKFRONT_";

/// `-n`: a number, or `auto`.
pub fn workers(words: &str) -> Result<usize, String> {
    if words == "auto" {
        return Ok(limits::cpus().min(MAX_WORKERS));
    }
    match words.parse() {
        Ok(n) if (1..=MAX_WORKERS).contains(&n) => Ok(n),
        _ => Err(format!("it takes 1 to {MAX_WORKERS}, or auto")),
    }
}

/// `--name`: what can be a file name and a word on a command line.
pub fn name(words: &str) -> Result<String, String> {
    if protocol::is_valid_name(words) {
        return Ok(words.to_owned());
    }
    Err(
        "a name has 1 to 64 letters, digits, '.', '_' or '-', and begins with none of '.' and '-'"
            .into(),
    )
}

/// `--env K=V`.
pub fn environment() -> impl TypedValueParser<Value = (OsString, OsString)> {
    OsStringValueParser::new().try_map(|words| assignment(&words))
}

fn assignment(words: &OsString) -> Result<(OsString, OsString), String> {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let bytes = words.as_bytes();
    let equals = bytes.iter().position(|&byte| byte == b'=');
    let Some(equals) = equals.filter(|&at| at > 0) else {
        return Err("it is written as NAME=VALUE".into());
    };
    let (name, value) = (&bytes[..equals], &bytes[equals + 1..]);
    if name.starts_with(OWN_ENVIRONMENT.as_bytes()) {
        return Err(format!(
            "names that begin with {OWN_ENVIRONMENT} are set by forkfront itself"
        ));
    }
    let own = |part: &[u8]| OsString::from_vec(part.to_vec());
    Ok((own(name), own(value)))
}

/// `--control PATH`.
pub fn socket_path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().try_map(|words| {
        if words.is_empty() || words.len() > UNIX_PATH_MAX {
            return Err(format!(
                "the path of a socket has 1 to {UNIX_PATH_MAX} bytes"
            ));
        }
        Ok(PathBuf::from(words))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worker_counts() {
        for (words, expected) in [("1", Some(1)), ("1024", Some(1024)), ("007", Some(7))] {
            assert_eq!(workers(words).ok(), expected, "{words}");
        }
        assert!(workers("auto").is_ok_and(|n| n >= 1));
        for words in ["0", "1025", "10000", "-1", "", "two", "1.5", "AUTO"] {
            assert_eq!(workers(words).unwrap_err(), "it takes 1 to 1024, or auto");
        }
    }

    #[test]
    fn names() {
        for words in ["8080", "web-1", "a", "a.b_c", &"x".repeat(64)] {
            assert_eq!(name(words).as_deref(), Ok(words));
        }
        for words in [
            "",
            ".",
            "..",
            ".hidden",
            "-n",
            "a/b",
            "a b",
            "\u{e9}",
            &"x".repeat(65),
        ] {
            assert!(name(words).is_err(), "{words}");
        }
    }

    #[test]
    fn assignments() {
        let read = |words: &str| assignment(&words.into());
        assert_eq!(read("A=b"), Ok(("A".into(), "b".into())));
        assert_eq!(read("A=b=c"), Ok(("A".into(), "b=c".into())));
        assert_eq!(read("A="), Ok(("A".into(), "".into())));
        for words in ["", "A", "=b"] {
            assert!(read(words).unwrap_err().contains("NAME=VALUE"), "{words}");
        }
        assert!(read("FORKFRONT_SLOT=1").unwrap_err().contains("itself"));
    }
}
