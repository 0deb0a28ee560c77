//! Tests of [`super`] on real socket files; nothing else calls them.

use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};

use super::*;

fn temporary(name: &str) -> PathBuf {
    let file = format!("forkfront-socket-{name}-{}", std::process::id());
    std::env::temp_dir().join(file)
}

const STREAM: Shape = Shape {
    kind: SockType::Stream,
    mode: 0o600,
    backlog: None,
};

#[test]
fn permissions_are_exact_whatever_the_umask() {
    for mode in [0o600, 0o666, 0o660] {
        let path = temporary("mode");
        let (_socket, _file) = listen_at(&path, Shape { mode, ..STREAM }).unwrap();
        let found = fs::symlink_metadata(&path).unwrap();
        assert_eq!(found.mode() & 0o7777, mode);
    }
}

#[test]
fn the_name_goes_with_its_owner_but_no_other_does() {
    let path = temporary("owner");
    let (socket, file) = listen_at(&path, STREAM).unwrap();
    drop(file);
    assert!(!path.exists());
    drop(socket);
    let (_socket, mut file) = listen_at(&path, STREAM).unwrap();
    let renamed = temporary("renamed");
    file.rename(&renamed).unwrap();
    assert!(!path.exists());
    UnixStream::connect(&renamed).unwrap();
    // Somebody has put another in its place.
    fs::remove_file(&renamed).unwrap();
    let _theirs = UnixListener::bind(&renamed).unwrap();
    drop(file);
    assert!(renamed.exists());
    fs::remove_file(&renamed).unwrap();
}

#[test]
fn occupants_are_told_apart() {
    let path = temporary("occupant");
    let look = || occupant(&path, SockType::Stream).unwrap();
    assert_eq!(look(), Occupant::Nobody);
    let listener = UnixListener::bind(&path).unwrap();
    assert_eq!(look(), Occupant::Alive(Some(std::process::id())));
    let sequenced = occupant(&path, SockType::SeqPacket).unwrap();
    assert_eq!(sequenced, Occupant::Alive(None));
    drop(listener);
    assert_eq!(look(), Occupant::Dead);
    fs::remove_file(&path).unwrap();
    fs::write(&path, "file").unwrap();
    assert!(matches!(look(), Occupant::Stranger(what) if what.contains("not a socket")));
    fs::remove_file(&path).unwrap();
    symlink("/nowhere", &path).unwrap();
    assert!(matches!(look(), Occupant::Stranger(what) if what.contains("symbolic link")));
    fs::remove_file(&path).unwrap();
}

#[test]
fn a_full_backlog_is_somebody() {
    let path = temporary("full");
    let shape = Shape {
        backlog: Some(0),
        ..STREAM
    };
    let (_socket, _file) = listen_at(&path, shape).unwrap();
    let _first = UnixStream::connect(&path).unwrap();
    assert_eq!(
        occupant(&path, SockType::Stream).unwrap(),
        Occupant::Alive(None)
    );
}

#[test]
fn a_directory_is_locked_once() {
    let path = temporary("lock");
    fs::create_dir(&path).unwrap();
    let lock = lock_directory(&path, Duration::ZERO).unwrap();
    assert!(lock.is_on(&path) && !lock.is_on(Path::new("/")));
    let error = lock_directory(&path, Duration::from_millis(20)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    drop(lock);
    let again = lock_directory(&path, Duration::ZERO).unwrap();
    fs::remove_dir(&path).unwrap();
    assert!(!again.is_on(&path));
}

#[test]
fn a_long_path_is_one_sentence() {
    let path = PathBuf::from(format!("/{}", "x".repeat(LONGEST_PATH)));
    let error = check_length(&path, "make it shorter").unwrap_err();
    assert!(error.to_string().contains("108 bytes"), "{error}");
    assert!(check_length(Path::new("/short"), "").is_ok());
}
