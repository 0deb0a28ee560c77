//! Files that are written, rotated, opened anew, and the tricks that they are not taken in by.

use std::fs::OpenOptions;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, lchown, symlink};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::*;
use crate::primary::logs::sink::{Origin, Sink};
use crate::primary::logs::writer::{self, Output};
use crate::protocol::line::Look;

/// A directory of its own that goes with the value.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Relaxed);
        let pid = std::process::id();
        let place = std::env::temp_dir().join(format!("forkfront-files-{pid}-{number}"));
        fs::create_dir_all(&place).unwrap();
        Self(place)
    }

    fn wish(&self, name: &str) -> LogFile {
        LogFile {
            path: self.0.join(name),
            max_size: None,
            keep: 5,
        }
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap_or_default()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Written {
    sink: Arc<Sink>,
    lost: Arc<AtomicU64>,
}

fn writer(wish: &LogFile) -> Written {
    let (files, _) = Files::open(wish).unwrap();
    let lost = Arc::default();
    let sink = writer::start("test", Output::Files(files), Look::default(), &lost).unwrap();
    Written { sink, lost }
}

impl Written {
    fn line(&self, name: &str, line: &str) {
        let line = format!("{line}\n").into_bytes();
        self.sink.push(&Some(name.into()), line, 1, Origin::Worker);
    }

    #[track_caller]
    fn flush(&self) {
        assert!(self.sink.flush(Instant::now() + Duration::from_secs(20)));
    }
}

#[test]
fn each_name_is_a_file_that_only_its_group_may_read() {
    let place = Place::new();
    let written = writer(&place.wish("app-%s.log"));
    for round in 0..3 {
        for slot in 0..100 {
            written.line(&format!("app-{slot}.log"), &format!("{slot} {round}"));
        }
    }
    written.flush();
    for slot in 0..100 {
        let expected = format!("{slot} 0\n{slot} 1\n{slot} 2\n");
        assert_eq!(place.read(&format!("app-{slot}.log")), expected);
    }
    let made = fs::metadata(place.0.join("app-primary.log")).unwrap();
    assert_eq!(made.permissions().mode() & 0o777 & !MODE, 0);
    assert_eq!(written.lost.load(Relaxed), 0);
}

#[test]
fn a_file_that_is_full_is_rotated_between_lines() {
    let place = Place::new();
    let wish = LogFile {
        max_size: Some(1000),
        keep: 3,
        ..place.wish("app.log")
    };
    fs::write(place.0.join("app.log.4"), "from when more were kept").unwrap();
    let written = writer(&wish);
    for number in 0..100 {
        written.line("app.log", &format!("line {number:>3} {}", "x".repeat(90)));
        written.flush();
    }
    let names = ["app.log.3", "app.log.2", "app.log.1", "app.log"];
    let all: Vec<String> = names.iter().map(|name| place.read(name)).collect();
    assert!(
        all.iter()
            .all(|text| text.len() <= 1000 && text.ends_with('\n'))
    );
    let numbers: Vec<u32> = all
        .concat()
        .lines()
        .map(|line| line[5..8].trim().parse().unwrap())
        .collect();
    assert!(numbers.len() >= 28 && numbers.iter().copied().eq(100 - numbers.len() as u32..100));
    assert_eq!(fs::read_dir(&place.0).unwrap().count(), 4);
}

#[test]
fn what_was_moved_away_is_opened_anew() {
    let place = Place::new();
    let written = writer(&place.wish("app.log"));
    written.line("app.log", "one");
    written.flush();
    fs::rename(place.0.join("app.log"), place.0.join("old")).unwrap();
    written.line("app.log", "two");
    written.flush();
    assert_eq!(place.read("old"), "one\ntwo\n");
    written.sink.reopen();
    written.line("app.log", "three");
    written.flush();
    assert_eq!(place.read("app.log"), "three\n");
    // The directory has gone: what is open is written on.
    fs::rename(&place.0, place.0.with_extension("away")).unwrap();
    written.sink.reopen();
    written.line("app.log", "four");
    written.flush();
    fs::rename(place.0.with_extension("away"), &place.0).unwrap();
    assert_eq!(place.read("app.log"), "three\nfour\n");
    assert_eq!(written.lost.load(Relaxed), 0);
}

#[test]
fn no_trick_leads_elsewhere() {
    let place = Place::new();
    let target = place.0.join("shadow");
    fs::write(&target, "").unwrap();
    symlink(&target, place.0.join("link.log")).unwrap();
    fs::create_dir(place.0.join("directory.log")).unwrap();
    nix::unistd::mkfifo(&place.0.join("pipe.log"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let _reader = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(place.0.join("pipe.log"));
    let table = [
        ("link.log", "symbolic link"),
        ("directory.log", "directory"),
        ("pipe.log", "plain file"),
        ("missing/app.log", "No such file"),
    ];
    for (name, why) in table {
        let wish = place.wish(name);
        let refused = Files::open(&wish).map(drop).unwrap_err();
        assert!(refused.contains(why), "{refused}");
        assert!(check(&wish).is_err(), "{name}");
    }
    assert_eq!(check(&place.wish("new.log")), Ok(()));
    assert_eq!(check(&place.wish("shadow")), Ok(()));
    if geteuid().is_root() {
        fs::hard_link(&target, place.0.join("twice.log")).unwrap();
        let refused = Files::open(&place.wish("twice.log")).map(drop).unwrap_err();
        assert!(refused.contains("another name"), "{refused}");
    }
    // One that turns into a link while it runs is not followed when it is opened anew.
    let written = writer(&place.wish("app.log"));
    fs::remove_file(place.0.join("app.log")).unwrap();
    symlink(&target, place.0.join("app.log")).unwrap();
    written.sink.reopen();
    written.line("app.log", "into the old one");
    written.flush();
    assert_eq!(place.read("shadow"), "");
}

#[test]
fn a_directory_that_turns_into_a_link_leads_nowhere() {
    let place = Place::new();
    let elsewhere = Place::new();
    let own = place.0.join("own");
    fs::create_dir(&own).unwrap();
    let wish = LogFile {
        max_size: Some(1),
        ..place.wish("own/app.log")
    };
    let written = writer(&wish);
    fs::rename(&own, place.0.join("was")).unwrap();
    symlink(&elsewhere.0, &own).unwrap();
    for line in ["one", "two", "three"] {
        written.line("app.log", line);
        written.flush();
    }
    assert_eq!(place.read("was/app.log.2"), "one\n");
    assert_eq!(place.read("was/app.log"), "three\n");
    assert_eq!(fs::read_dir(&elsewhere.0).unwrap().count(), 0);
    if !geteuid().is_root() {
        return;
    }
    // Nor for one who looks for it anew, or begins there, unless it is root's own.
    lchown(&own, Some(65_534), None).unwrap();
    written.sink.reopen();
    written.line("app.log", "four");
    written.flush();
    assert_eq!(place.read("was/app.log"), "four\n");
    let refused = Files::open(&wish).map(drop).unwrap_err();
    assert!(
        refused.contains("'own' on the way there is a symbolic link of user 65534"),
        "{refused}"
    );
    assert_eq!(check(&wish), Err(refused));
    assert_eq!(fs::read_dir(&elsewhere.0).unwrap().count(), 0);
    lchown(&own, Some(0), None).unwrap();
    written.sink.reopen();
    written.line("app.log", "five");
    written.flush();
    assert_eq!(elsewhere.read("app.log"), "five\n");
}

#[test]
fn a_directory_that_was_removed_and_made_again_is_found() {
    let place = Place::new();
    let own = place.0.join("own");
    fs::create_dir(&own).unwrap();
    let written = writer(&place.wish("own/app.log"));
    written.line("app.log", "one");
    written.flush();
    fs::remove_dir_all(&own).unwrap();
    fs::create_dir(&own).unwrap();
    written.line("other.log", "two");
    written.flush();
    assert_eq!(place.read("own/other.log"), "two\n");
    // The file that was open is written on, removed as it is, until it is opened anew.
    written.line("app.log", "three");
    written.flush();
    assert!(!place.0.join("own/app.log").exists());
    written.sink.reopen();
    written.line("app.log", "four");
    written.flush();
    assert_eq!(place.read("own/app.log"), "four\n");
    assert_eq!(written.lost.load(Relaxed), 0);
}

#[test]
fn what_is_written_on_is_rotated_where_it_is() {
    let place = Place::new();
    let own = place.0.join("own");
    fs::create_dir(&own).unwrap();
    let wish = LogFile {
        max_size: Some(1),
        ..place.wish("own/app.log")
    };
    let written = writer(&wish);
    written.line("app.log", "one");
    written.flush();
    fs::rename(&own, place.0.join("was")).unwrap();
    fs::create_dir_all(own.join("app.log")).unwrap();
    written.sink.reopen();
    for line in ["two", "three"] {
        written.line("app.log", line);
        written.flush();
    }
    let names = ["was/app.log.2", "was/app.log.1", "was/app.log"];
    assert_eq!(
        names.map(|name| place.read(name)),
        ["one\n", "two\n", "three\n"]
    );
    assert!(own.join("app.log").is_dir());
}

#[test]
fn links_on_the_way_are_followed_as_the_kernel_does() {
    let place = Place::new();
    fs::create_dir_all(place.0.join("a/b")).unwrap();
    symlink("a", place.0.join("relative")).unwrap();
    symlink(place.0.join("relative/b"), place.0.join("absolute")).unwrap();
    symlink("loop", place.0.join("loop")).unwrap();
    fs::write(place.0.join("file"), "").unwrap();
    for way in ["a/b", "relative/b", "absolute", "absolute/../b", "a/./b/."] {
        let wish = place.wish(&format!("{way}/app.log"));
        assert_eq!(Files::open(&wish).map(drop), Ok(()), "{way}");
        fs::remove_file(place.0.join("a/b/app.log")).unwrap();
    }
    for way in ["loop", "file", "missing"] {
        let wish = place.wish(&format!("{way}/app.log"));
        assert!(Files::open(&wish).is_err(), "{way}");
        assert!(check(&wish).is_err(), "{way}");
    }
}

#[test]
fn a_line_that_was_torn_is_not_joined_by_the_next() {
    let place = Place::new();
    let directory = Arc::new(Directory::open(&place.0).unwrap());
    let mut opened = open(&directory, "app.log").unwrap();
    opened.append(b"half of a li").unwrap();
    let (mut files, _) = Files::open(&place.wish("app.log")).unwrap();
    files.open.insert("app.log".into(), opened);
    files
        .try_to_write(&"app.log".into(), b"whole\n", true)
        .unwrap();
    assert_eq!(place.read("app.log"), "half of a li\nwhole\n");
}
