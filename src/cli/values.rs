//! Single values of options that are no text: each a function from the word to the value, or to a sentence.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};

use crate::config::{self, UNIX_PATH_MAX};

/// `--env K=V`.
pub fn environment() -> impl TypedValueParser<Value = (OsString, OsString)> {
    OsStringValueParser::new().try_map(|words| config::assignment(&words))
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
