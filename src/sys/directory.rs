//! The working directory by the words that led there, so that a symlink among them (`current` →
//! `releases/42`) can be followed anew later.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// `PWD`, as shells keep it, if it still leads to where we are.
pub fn logical() -> Option<PathBuf> {
    let words = PathBuf::from(env::var_os("PWD")?);
    let identity = |path: &Path| {
        let found = fs::metadata(path).ok()?;
        Some((found.dev(), found.ino()))
    };
    let leads_here = words.is_absolute() && identity(&words)? == identity(Path::new("."))?;
    leads_here.then_some(words)
}

/// `path` from the root on, with its symlinks as they are; `.` is left out, `..` is kept, since behind a
/// symlink it is not the word before it that it takes away.
///
/// # Errors
/// That of getcwd(2): the working directory is gone.
pub fn absolute(path: &Path) -> io::Result<PathBuf> {
    let mut whole = if path.is_absolute() {
        PathBuf::new()
    } else {
        match logical() {
            Some(here) => here,
            None => env::current_dir()?,
        }
    };
    whole.extend(path.components().filter(|part| *part != Component::CurDir));
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_made_absolute_by_words_alone() {
        let same = |path: &str| absolute(Path::new(path)).unwrap();
        assert_eq!(same("/a/./b/../c"), Path::new("/a/b/../c"));
        assert!(same("x").is_absolute());
        assert!(same("./x/y").ends_with("x/y"));
        assert!(same("./x/y").metadata().is_err());
    }

    #[test]
    fn the_logical_directory_leads_here() {
        if let Some(here) = logical() {
            assert_eq!(
                here.canonicalize().unwrap(),
                env::current_dir().unwrap().canonicalize().unwrap()
            );
        }
    }
}
