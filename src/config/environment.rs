//! Environment variables that are set for the workers.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Environment that forkfront itself sets for its workers.
const OWN: &str = "FORKFRONT_";

/// Reads `NAME=VALUE`.
///
/// # Errors
/// A sentence.
pub fn assignment(words: &OsStr) -> Result<(OsString, OsString), String> {
    let bytes = words.as_bytes();
    let equals = bytes.iter().position(|&byte| byte == b'=');
    let Some(equals) = equals.filter(|&at| at > 0) else {
        return Err("it is written as NAME=VALUE".into());
    };
    let (name, value) = (&bytes[..equals], &bytes[equals + 1..]);
    let own = |part: &[u8]| OsString::from_vec(part.to_vec());
    let name = own(name);
    variable(&name)?;
    Ok((name, own(value)))
}

/// Whether the workers can be given a variable of this name.
///
/// # Errors
/// A sentence.
pub fn variable(name: &OsStr) -> Result<(), String> {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes.contains(&b'=') || bytes.contains(&0) {
        return Err(
            "a variable's name is not empty and has neither '=' nor a zero byte in it".into(),
        );
    }
    if bytes.starts_with(OWN.as_bytes()) {
        return Err(format!(
            "names that begin with {OWN} are set by forkfront itself"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments() {
        let read = |words: &str| assignment(words.as_ref());
        assert_eq!(read("A=b"), Ok(("A".into(), "b".into())));
        assert_eq!(read("A=b=c"), Ok(("A".into(), "b=c".into())));
        assert_eq!(read("A="), Ok(("A".into(), "".into())));
        for words in ["", "A", "=b"] {
            assert!(read(words).unwrap_err().contains("NAME=VALUE"), "{words}");
        }
        assert!(read("FORKFRONT_SLOT=1").unwrap_err().contains("itself"));
    }

    #[test]
    fn names_of_variables() {
        for name in ["A", "node.env", "a b"] {
            assert_eq!(variable(name.as_ref()), Ok(()), "{name}");
        }
        for name in ["", "A=b", "A\0"] {
            assert!(variable(name.as_ref()).is_err(), "{name:?}");
        }
    }
}
