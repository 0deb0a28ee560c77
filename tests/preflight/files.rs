//! Program files of each kind.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use forkfront::primary::preflight::resolve;

use crate::place::{Place, assert_has, look, words};

#[track_caller]
fn suspicion(program: impl AsRef<OsStr>) -> String {
    look(program).unwrap().suspicion.unwrap().to_string()
}

#[track_caller]
fn refusal(program: impl AsRef<OsStr>) -> String {
    look(program).unwrap_err()
}

#[test]
fn ordinary_programs_and_scripts_are_found_free_of_suspicion() {
    let place = Place::new();
    let sh = look("sh").unwrap();
    assert_eq!(sh.path, Path::new("/usr/bin/sh"));
    assert_eq!(sh.suspicion, None);
    let inner = place.file("inner", "#!/bin/sh\n", 0o755);
    for (name, text) in [
        ("plain", "#!/bin/sh\n".to_owned()),
        ("env", "#!/usr/bin/env sh\n".to_owned()),
        ("split", "#!/usr/bin/env -S A=1 sh -e\n".to_owned()),
        ("chain", format!("#! {} -x\n", inner.display())),
        ("shell-text", "echo without a first line\n".to_owned()),
    ] {
        let script = place.file(name, text, 0o755);
        let found = look(&script).unwrap();
        assert_eq!((found.path, found.suspicion), (script, None), "{name}");
    }
    // Interpreters that run themselves end somewhere.
    let circle = place.0.join("circle");
    place.file("circle", format!("#!{}\n", circle.display()), 0o755);
    assert_eq!(look(&circle).unwrap().suspicion, None);
    // To be executed, not to be read; root may read all.
    let secret = place.gcc("secret", &[]);
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o111)).unwrap();
    assert_eq!(look(&secret).unwrap().suspicion, None);
}

#[test]
fn what_cannot_start_is_refused_in_one_sentence() {
    let place = Place::new();
    let script = |name: &str, line: &str| place.file(name, format!("#!{line}\n"), 0o755);
    assert_has(&refusal("no-such-server"), &["'no-such-server'", "PATH"]);
    assert_has(&refusal("node server.js"), &["words of their own"]);
    assert_has(&refusal("/no/such/server"), &["no such file"]);
    assert_has(&refusal(&place.0), &["is a directory"]);
    assert_has(
        &refusal(place.file("data", "", 0o644)),
        &["not executable", "chmod +x"],
    );
    assert_has(
        &refusal(script("lost", "/no/such/ruby -w")),
        &["lost", "interpreter /no/such/ruby,", "does not exist"],
    );
    assert_has(
        &refusal(script("lost-env", "/usr/bin/env no-such-python")),
        &["'no-such-python'", "not in PATH"],
    );
    assert_has(&refusal(script("dos", "/bin/sh\r")), &["carriage return"]);
    let musl = place.gcc("musl", &["-Wl,--dynamic-linker=/no/such/ld-musl.so.1"]);
    assert_has(
        &refusal(musl),
        &["loader /no/such/ld-musl.so.1", "C library"],
    );
    let usage = resolve(&[], None, None, None).unwrap_err();
    assert_eq!(usage.exit_code(), 2);
    assert_eq!(
        resolve(&words(&[OsStr::new("/no")]), None, None, None)
            .unwrap_err()
            .exit_code(),
        1
    );
}

#[test]
fn the_search_starts_in_the_workers_directory() {
    let place = Place::new();
    place.file("serve", "#!/bin/sh\n", 0o755);
    let find = |name: &str, path: &str| {
        resolve(
            &words(&[OsStr::new(name)]),
            Some(&place.0),
            Some(OsStr::new(path)),
            None,
        )
        .map(|found| found.path)
        .map_err(|error| error.to_string())
    };
    assert_eq!(find("./serve", "/bin"), Ok(PathBuf::from("./serve")));
    assert_eq!(find("serve", "/bin:"), Ok(PathBuf::from("./serve")));
    assert_has(
        &find("serve", "/bin").unwrap_err(),
        &["PATH", "working directory is './serve'"],
    );
    assert_has(
        &find("./other", "/bin").unwrap_err(),
        &["no such file in the working directory"],
    );
    let gone = resolve(
        &words(&[OsStr::new("sh")]),
        Some(Path::new("/no/such")),
        None,
        None,
    );
    assert_has(
        &gone.unwrap_err().to_string(),
        &["'/no/such' does not exist"],
    );
}

#[test]
fn programs_that_take_no_library_are_named() {
    let place = Place::new();
    let fixed = place.gcc("fixed", &["-static"]);
    assert_has(
        &suspicion(&fixed),
        &["fixed' is linked statically", "forkfront::worker"],
    );
    assert_has(
        &suspicion(place.gcc("pie", &["-static-pie"])),
        &["statically"],
    );
    let script = format!("#!{}\n", fixed.display());
    assert_has(
        &suspicion(place.file("script", script, 0o755)),
        &["fixed' is linked statically"],
    );
    assert_has(&suspicion(place.go("go", &[])), &["is a Go program"]);
    assert_has(
        &suspicion(place.go("stripped", &["-ldflags=-s -w"])),
        &["is a Go program"],
    );
    let mut foreign = fs::read(&fixed).unwrap();
    foreign[4] = 1;
    foreign[18] = 3;
    assert_has(
        &refusal(place.file("foreign", foreign, 0o755)),
        &["a program for 32-bit x86"],
    );
}

#[test]
fn files_that_give_rights_are_named_unless_they_give_none() {
    let place = Place::new();
    let program = place.gcc("server", &[]);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o6755)).unwrap();
    // Our own user and group: nothing is gained, the loader preloads.
    assert_eq!(look(&program).unwrap().suspicion, None);
    let as_nobody = |program: &Path| {
        let command = words(&[program.as_os_str()]);
        let found = resolve(&command, None, None, Some((65_534, 65_534))).unwrap();
        found.suspicion.map(|found| found.to_string())
    };
    assert_has(&as_nobody(&program).unwrap(), &["set-uid", "LD_PRELOAD"]);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o2755)).unwrap();
    assert_has(&as_nobody(&program).unwrap(), &["set-gid"]);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o2745)).unwrap();
    assert_eq!(as_nobody(&program), None);
    if nix::unistd::geteuid().is_root() {
        chown(&program, Some(65_534), Some(65_534)).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
        assert_has(&suspicion(&program), &["set-uid (it runs as user 65534)"]);
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        give_capabilities(&program);
        let other = resolve(&words(&[program.as_os_str()]), None, None, Some((1, 1)));
        let found = other.unwrap().suspicion.unwrap().to_string();
        assert_has(&found, &["file capabilities"]);
        // Root gains nothing by them.
        assert_eq!(look(&program).unwrap().suspicion, None);
    }
}

/// cap_net_bind_service=ep, as setcap(8) would write it (capabilities(7), VFS_CAP_REVISION_2).
fn give_capabilities(program: &Path) {
    let script = "import os, struct, sys; \
        os.setxattr(sys.argv[1], 'security.capability', struct.pack('<5I', 0x02000001, 1 << 10, 0, 0, 0))";
    let done = Command::new("python3")
        .args(["-c", script])
        .arg(program)
        .status();
    assert!(done.unwrap().success());
}
