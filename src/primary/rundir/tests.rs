//! Tests of [`super`] on real sockets and directories; nothing else calls them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use super::*;
use crate::error::ErrorKind;

/// A base directory of the test's own; nothing may be left in it, nor may it itself be left.
struct Place(PathBuf);

impl Place {
    fn new(test: &str) -> Self {
        let name = format!("forkfront-run-{test}-{}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn create(&self, wish: &Wish<'_>) -> Result<RunDir> {
        RunDir::create_in(&self.0, wish).map(|made| made.unwrap())
    }

    fn mode(&self, path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let gone = !self.0.exists();
        let _ = fs::remove_dir_all(&self.0);
        assert!(gone || std::thread::panicking(), "something is left behind");
    }
}

const WISH: Wish<'static> = Wish {
    name: None,
    control: None,
    workers_uids: &[],
    image: b"shim",
};

fn named(name: &str) -> Wish<'_> {
    Wish {
        name: Some(name),
        ..WISH
    }
}

#[test]
fn permissions_keep_others_out() {
    let place = Place::new("modes");
    let made = place.create(&named("web")).unwrap();
    let instance = made.rendezvous_path().parent().unwrap().to_owned();
    assert_eq!(place.mode(&place.0), 0o700);
    assert_eq!(place.mode(&instance), 0o700);
    assert_eq!(place.mode(made.rendezvous_path()), 0o600);
    assert_eq!(place.mode(made.control_path()), 0o600);
    assert_eq!(place.mode(made.shim_path()), 0o500);
    assert_eq!(made.control_path(), place.0.join("web.sock"));
    UnixStream::connect(made.control_path()).unwrap();
}

#[test]
fn workers_of_several_users_get_to_the_rendezvous() {
    if !geteuid().is_root() {
        return;
    }
    let place = Place::new("several");
    let wish = Wish {
        workers_uids: &[65534, 0, 33, 33],
        ..named("web")
    };
    let made = place.create(&wish).unwrap();
    assert_eq!(place.mode(&place.0), 0o711);
    assert_eq!(place.mode(made.rendezvous_path()), 0o666);
    assert_eq!(place.mode(made.control_path()), 0o600);
}

#[test]
fn workers_of_another_user_get_to_the_rendezvous_and_no_further() {
    if !geteuid().is_root() {
        return;
    }
    let place = Place::new("other");
    let wish = Wish {
        workers_uids: &[65534],
        ..named("web")
    };
    let made = place.create(&wish).unwrap();
    assert_eq!(place.mode(&place.0), 0o711);
    assert_eq!(place.mode(made.rendezvous_path()), 0o600);
    let join = fs::symlink_metadata(made.rendezvous_path()).unwrap();
    assert_eq!(join.uid(), 65534);
    assert_eq!(place.mode(made.shim_path()), 0o555);
    assert_eq!(place.mode(made.control_path()), 0o600);
    let control = fs::symlink_metadata(made.control_path()).unwrap();
    assert_eq!(control.uid(), 0);
}

#[test]
fn two_primaries_of_one_name_are_one_too_many() {
    let place = Place::new("twice");
    let first = place.create(&named("web")).unwrap();
    let error = place.create(&named("web")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed);
    let sentence = error.to_string();
    let pid = format!("pid {}", std::process::id());
    assert!(
        sentence.contains("named web") && sentence.contains(&pid),
        "{sentence}"
    );
    UnixStream::connect(first.control_path()).unwrap();
    let _other = place.create(&named("api")).unwrap();
    drop(first);
    let _again = place.create(&named("web")).unwrap();
}

#[test]
fn the_name_is_the_port_or_the_port_and_the_pid() {
    let place = Place::new("port");
    let mut first = place.create(&WISH).unwrap();
    assert_eq!(first.name(), None);
    assert!(first.control_path().ends_with(protocol::UNNAMED_SOCKET));
    UnixStream::connect(first.control_path()).unwrap();
    first.claim_name(8080).unwrap();
    first.claim_name(9090).unwrap();
    assert_eq!(first.name(), Some("8080"));
    assert_eq!(first.control_path(), place.0.join("8080.sock"));
    UnixStream::connect(first.control_path()).unwrap();
    let mut second = place.create(&WISH).unwrap();
    second.claim_name(8080).unwrap();
    let name = format!("8080-{}", std::process::id());
    assert_eq!(second.name(), Some(name.as_str()));
    let mut third = place.create(&named("web")).unwrap();
    third.claim_name(8080).unwrap();
    assert_eq!(third.name(), Some("web"));
}

#[test]
fn what_a_killed_primary_left_is_swept() {
    let place = Place::new("sweep");
    let made = place.create(&named("web")).unwrap();
    let instance = made.rendezvous_path().parent().unwrap().to_owned();
    // As after kill -9: all files are there, nobody listens, nobody holds the lock.
    let stale = place.0.join("w.1");
    fs::create_dir(&stale).unwrap();
    fs::write(stale.join("shim-0.so"), "old").unwrap();
    drop(std::os::unix::net::UnixListener::bind(place.0.join("old.sock")).unwrap());
    drop(std::os::unix::net::UnixListener::bind(place.0.join("api.sock")).unwrap());
    let _other = place.create(&named("api")).unwrap();
    assert!(!stale.exists() && !place.0.join("old.sock").exists());
    assert!(instance.exists());
    UnixStream::connect(made.control_path()).unwrap();
}

#[test]
fn a_base_in_which_nothing_can_be_made_is_passed_over() {
    let place = Place::new("full");
    fs::create_dir(&place.0).unwrap();
    fs::set_permissions(&place.0, fs::Permissions::from_mode(0o700)).unwrap();
    let stem = format!("{INSTANCE_PREFIX}{}", std::process::id());
    fs::write(place.0.join(&stem), "").unwrap();
    for number in 1..64 {
        fs::write(place.0.join(format!("{stem}-{number}")), "").unwrap();
    }
    assert!(RunDir::create_in(&place.0, &WISH).unwrap().is_err());
    fs::remove_dir_all(&place.0).unwrap();
}

#[test]
fn an_unsafe_base_is_refused() {
    let place = Place::new("unsafe");
    let refused = |expected: &str| {
        let error = place.create(&WISH).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    };
    fs::create_dir(&place.0).unwrap();
    fs::set_permissions(&place.0, fs::Permissions::from_mode(0o755)).unwrap();
    refused("mode 0755");
    fs::set_permissions(&place.0, fs::Permissions::from_mode(0o700)).unwrap();
    if geteuid().is_root() {
        std::os::unix::fs::chown(&place.0, Some(65534), None).unwrap();
        refused("belongs to user 65534");
    }
    fs::remove_dir(&place.0).unwrap();
    symlink("/tmp", &place.0).unwrap();
    refused("link");
    fs::remove_file(&place.0).unwrap();
    fs::write(&place.0, "").unwrap();
    refused("file");
    fs::remove_file(&place.0).unwrap();
}

#[test]
fn a_given_path_is_used_and_a_stranger_there_is_left_alone() {
    let place = Place::new("control");
    let path = Place::new("control-path");
    let wish = Wish {
        control: Some(&path.0),
        ..WISH
    };
    let mut made = place.create(&wish).unwrap();
    assert_eq!(made.control_path(), path.0);
    made.claim_name(8080).unwrap();
    assert_eq!(made.control_path(), path.0);
    assert_eq!(made.name(), Some("8080"));
    let error = place.create(&wish).unwrap_err();
    assert!(error.to_string().contains("already"), "{error}");
    drop(made);
    assert!(!path.0.exists());
    fs::write(&path.0, "precious").unwrap();
    let error = place.create(&wish).unwrap_err();
    assert!(error.to_string().contains("left alone"), "{error}");
    assert_eq!(fs::read(&path.0).unwrap(), b"precious");
    fs::remove_file(&path.0).unwrap();
    symlink("/nowhere", &path.0).unwrap();
    assert!(place.create(&wish).is_err());
    assert!(path.0.is_symlink());
    fs::remove_file(&path.0).unwrap();
    // In the run directory itself, which is locked already.
    let inside = place.0.join("mine.sock");
    let wish = Wish {
        control: Some(&inside),
        ..WISH
    };
    assert_eq!(place.create(&wish).unwrap().control_path(), inside);
}

#[test]
fn names_and_paths_that_cannot_be_are_one_sentence() {
    let place = Place::new("names");
    let error = place.create(&named("a/b")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    let long = PathBuf::from(format!("/tmp/{}", "x".repeat(110)));
    let wish = Wish {
        control: Some(&long),
        ..WISH
    };
    let error = place.create(&wish).unwrap_err();
    assert!(error.to_string().contains("115 bytes"), "{error}");
    let error = RunDir::create_in(&long, &WISH).unwrap_err();
    assert!(error.to_string().contains("XDG_RUNTIME_DIR"), "{error}");
    assert!(
        RunDir::create_in(Path::new("/proc/forkfront"), &WISH)
            .unwrap()
            .is_err()
    );
}

#[test]
fn many_come_and_go_at_once() {
    let place = Place::new("many");
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let place = &place;
            scope.spawn(move || {
                for round in 0..25 {
                    let name = format!("n{worker}-{round}");
                    let made = place.create(&named(&name)).unwrap();
                    UnixStream::connect(made.control_path()).unwrap();
                    assert!(made.shim_path().exists());
                }
            });
        }
    });
}

#[test]
fn all_of_it_crosses_an_upgrade_and_the_lock_is_never_free() {
    let place = Place::new("upgrade");
    let made = place.create(&named("web")).unwrap();
    let former = made.shim_path().to_owned();
    let mut luggage = Luggage::default();
    let frozen = serde_json::to_string(&made.freeze(&mut luggage)).unwrap();
    let mut luggage = crate::sys::handover::crossed(&luggage);
    let frozen = serde_json::from_str(&frozen).unwrap();
    let mut next = RunDir::thaw(frozen, &mut luggage).unwrap();
    // As the exec does: without its end.
    std::mem::forget(made);
    drop(luggage);
    base::Base::open(&place.0, false).unwrap().unwrap().sweep();
    next.renew_shim(b"shim").unwrap();
    assert_eq!(next.shim_path(), former);
    next.renew_shim(b"another shim").unwrap();
    assert_eq!(fs::read(next.shim_path()).unwrap(), b"another shim");
    assert_eq!(
        fs::read(&former).unwrap(),
        b"shim",
        "workers may still load it"
    );
    assert_eq!(place.mode(next.shim_path()), 0o500);
    assert_eq!(next.name(), Some("web"));
    UnixStream::connect(next.control_path()).unwrap();
    let error = place.create(&named("web")).unwrap_err();
    assert!(error.to_string().contains("runs already"), "{error}");
}
