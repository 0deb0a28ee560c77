//! Who the workers run as: names or numbers to ids, once, when the command line or the file is read.
//!
//! The user database may ask the network (nsswitch.conf(5)), which is why it is never asked while connections
//! are dealt for.

use std::ffi::CString;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use nix::unistd::{Gid, Group, Uid, User, getgid, getgrouplist, getuid};

use crate::error::{Error, Result};
use crate::sys::handover;

/// Who the workers run as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Real and effective user id.
    pub uid: u32,
    /// Real and effective group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// User name, for `USER` and `LOGNAME`.
    pub user: Option<String>,
    /// Home directory of that user, for `HOME`.
    #[serde(with = "handover::path_if_any", default)]
    pub home: Option<PathBuf>,
}

/// Who the workers are to be; `None`: who we are.
///
/// # Errors
/// Nobody of that name is known, no right to become it, or the user database does not answer: all of it may be otherwise
/// when it is tried again.
pub fn resolve(user: Option<&str>, group: Option<&str>) -> Result<Option<Identity>> {
    if user.is_none() && group.is_none() {
        return Ok(None);
    }
    let group = group.map(group_id).transpose()?;
    let identity = match user {
        Some(user) => with_user(user, group)?,
        None => with_group(group.unwrap_or_else(getgid)),
    };
    if identity.uid == getuid().as_raw() && identity.gid == getgid().as_raw() && !getuid().is_root()
    {
        return Ok(None);
    }
    if !getuid().is_root() {
        let option = if user.is_some() { "user" } else { "group" };
        return Err(Error::failed(format!(
            "{option} needs root: only root may run workers as somebody else; start forkfront as root, or leave {option} out"
        )));
    }
    Ok(Some(identity))
}

/// Whether there is a group of this name, or it is a number.
///
/// # Errors
/// Those of [`resolve`].
pub fn check_group(words: &str) -> Result<()> {
    group_id(words).map(|_| ())
}

fn with_user(words: &str, group: Option<Gid>) -> Result<Identity> {
    let Some(user) = find_user(words)? else {
        return unnamed_user(words, group);
    };
    let gid = group.unwrap_or(user.gid);
    let name = CString::new(user.name.clone())
        .map_err(|_| Error::failed(format!("the name of user '{words}' holds a zero byte")))?;
    let groups = getgrouplist(&name, gid).map_err(|error| {
        Error::io(
            format!("cannot look up the groups of user '{words}'"),
            &error.into(),
        )
    })?;
    Ok(Identity {
        uid: user.uid.as_raw(),
        gid: gid.as_raw(),
        groups: groups.into_iter().map(Gid::as_raw).collect(),
        user: Some(user.name),
        home: Some(user.dir),
    })
}

/// A number without an entry in the user database, as containers use them.
fn unnamed_user(words: &str, group: Option<Gid>) -> Result<Identity> {
    let Ok(uid) = words.parse::<u32>() else {
        return Err(Error::failed(format!("there is no user '{words}'")));
    };
    let Some(gid) = group else {
        return Err(Error::failed(format!(
            "user {uid} has no entry in the user database, so its group is not known: give a group too"
        )));
    };
    Ok(Identity {
        uid,
        ..with_group(gid)
    })
}

fn with_group(gid: Gid) -> Identity {
    Identity {
        uid: getuid().as_raw(),
        gid: gid.as_raw(),
        groups: vec![gid.as_raw()],
        user: None,
        home: None,
    }
}

fn find_user(words: &str) -> Result<Option<User>> {
    let found = match words.parse::<u32>() {
        Ok(uid) => User::from_uid(Uid::from_raw(uid)),
        Err(_) => User::from_name(words),
    };
    found.map_err(|error| Error::io(format!("cannot look up user '{words}'"), &error.into()))
}

fn group_id(words: &str) -> Result<Gid> {
    if let Ok(gid) = words.parse::<u32>() {
        return Ok(Gid::from_raw(gid));
    }
    match Group::from_name(words) {
        Ok(Some(group)) => Ok(group.gid),
        Ok(None) => Err(Error::failed(format!("there is no group '{words}'"))),
        Err(error) => Err(Error::io(
            format!("cannot look up group '{words}'"),
            &error.into(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn who_we_are_needs_no_change() {
        assert_eq!(resolve(None, None).unwrap(), None);
    }

    #[test]
    fn strangers_are_named() {
        let error = resolve(Some("no-such-user-x"), None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Failed);
        assert!(error.to_string().contains("no user 'no-such-user-x'"));
        let error = resolve(None, Some("no-such-group-x")).unwrap_err();
        assert!(error.to_string().contains("no group 'no-such-group-x'"));
        let error = resolve(Some("3999999999"), None).unwrap_err();
        assert!(error.to_string().contains("give a group"), "{error}");
    }

    #[test]
    fn names_and_numbers_mean_the_same() {
        let named = with_user("root", None).unwrap();
        assert_eq!(named, with_user("0", None).unwrap());
        assert_eq!((named.uid, named.gid), (0, 0));
        assert!(named.groups.contains(&0));
        let unnamed = with_user("3999999999", Some(Gid::from_raw(7))).unwrap();
        assert_eq!((unnamed.uid, unnamed.gid), (3_999_999_999, 7));
        assert_eq!((unnamed.groups, unnamed.user), (vec![7], None));
    }
}
