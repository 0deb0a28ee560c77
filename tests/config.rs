//! The configuration file and the real binary: what `check` says of files good and bad, of things that are no
//! file, and that no flag of `run` has been forgotten.

mod common;

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Duration;

use common::*;
use forkfront::config::file;
use nix::sys::stat::Mode;

fn write(site: &Site, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
    let path = site.file(name);
    fs::write(&path, text).expect("a file");
    path
}

fn check(site: &Site, path: &str) -> Finished {
    run_to_end(site, &["check", path])
}

#[test]
fn a_good_file_is_summed_up_and_nothing_is_opened() {
    let site = Site::new();
    // Somebody listens there: a start would fail, a check does not look.
    let _taken = std::net::TcpListener::bind(site.to()).expect("a listener");
    let text = format!(
        "name = \"shop\"\n[[app]]\nname = \"web\"\ncommand = [\"sh\", \"-c\", \"exit 0\"]\nlisten = [\"{}\", \
         \"unix:web.sock\"]\nworkers = 3\n\n[[app]]\nname = \"api\"\ncommand = [\"sh\"]\nworkers = 1\n",
        site.bind()
    );
    let path = write(&site, "shop.toml", text).display().to_string();
    let done = check(&site, &path).done();
    let directory = site.directory.display();
    let expected = format!(
        "{path}: ok\n  web: 3 workers on {}, unix:{directory}/web.sock: sh -c exit 0\n  api: 1 worker where it binds: \
         sh\n",
        site.bind()
    );
    assert_eq!(done.stdout, expected);
    let json = run_to_end(&site, &["check", &path, "--json"]).done();
    let found: serde_json::Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!(found["ok"], true);
    assert_eq!(found["apps"][0]["name"], "web");
    assert_eq!(found["apps"][1]["command"], serde_json::json!(["sh"]));
    assert_eq!(
        found["apps"][1]["cwd"],
        site.directory.display().to_string()
    );
    done.done().refused(&site, 0, "");
}

#[test]
fn what_is_wrong_is_said_line_by_line() {
    let site = Site::new();
    let text = "[[app]]\nname = \"web\"\ncommand = [\"sh\"]\nwrokers = 3\n\n[[app]]\nname = \"web\"\ncommand = [\"sh\"]\n";
    let path = write(&site, "a.toml", text).display().to_string();
    let said = check(&site, &path).failed(1, &["2 things are wrong"]);
    let lines: Vec<&str> = said.stderr.lines().collect();
    assert_eq!(
        lines[..2],
        [
            format!("{path}:4:1: there is no key 'wrokers'; did you mean 'workers'?"),
            format!("{path}:7:8: two apps are called 'web': give each a name of its own"),
        ]
    );
    let json = run_to_end(&site, &["check", "--json", &path]).failed(1, &[]);
    let found: serde_json::Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!(
        (&found["ok"], &found["apps"]),
        (&false.into(), &serde_json::json!([]))
    );
    assert_eq!(
        (&found["errors"][1]["line"], &found["errors"][1]["column"]),
        (&7.into(), &8.into())
    );
    // A start says the same, and starts nothing.
    let start = run_to_end(&site, &["run", "--config", &path]);
    start.refused(&site, 2, &format!("{path}:4:1: "));
    assert!(
        start.stderr.contains(&format!("\n  {path}:7:8: ")),
        "{start}"
    );
    // A file that cannot be read may be there when it is tried again.
    let start = run_to_end(&site, &["run", "--config", "/nonexistent"]);
    start.refused(&site, 1, "/nonexistent: there is no such file");
}

#[test]
fn a_user_whom_nobody_knows_may_be_known_when_it_is_tried_again() {
    let site = Site::new();
    for (lines, part) in [
        ("user = \"no-such-one\"", "3:8: there is no user"),
        ("group = \"no-such-one\"", "3:9: there is no group"),
        ("user = 3999999999", "3:8: user 3999999999 has no entry"),
        // Also where something else is wrong.
        (
            "user = \"no-such-one\"\nwrokers = 3",
            "4:1: there is no key",
        ),
    ] {
        let text = format!("[[app]]\ncommand = [\"sh\"]\n{lines}\n");
        let path = write(&site, "a.toml", text).display().to_string();
        let start = run_to_end(&site, &["run", "--config", &path]);
        start.refused(&site, 1, &format!("{path}:{part}"));
    }
}

#[test]
fn what_the_file_names_is_looked_for() {
    let site = Site::new();
    let table = [
        (
            "command = [\"no-such-program-x\"]",
            "2:11: cannot start 'no-such-program-x'",
        ),
        (
            "command = [\"./server\"]",
            "2:11: cannot start './server': there is no such file",
        ),
        (
            "command = [\"sh\"]\ncwd = \"gone\"",
            "3:7: there is no directory",
        ),
        (
            "command = [\"sh\"]\nuser = \"no-such-user-x\"",
            "3:8: there is no user",
        ),
    ];
    for (lines, part) in table {
        let path = write(&site, "a.toml", format!("[[app]]\n{lines}\n"));
        check(&site, &path.display().to_string()).failed(1, &[part]);
    }
    // A program of the directory that the app is started in.
    fs::create_dir(site.file("web")).expect("a directory");
    fs::copy("/bin/sh", site.file("web/server")).expect("a program");
    let path = write(
        &site,
        "a.toml",
        "[[app]]\ncommand = [\"./server\"]\ncwd = \"web\"\n",
    );
    check(&site, &path.display().to_string()).done();
}

#[test]
fn what_is_no_file_of_ours_is_refused_at_once() {
    let site = Site::new();
    let fifo = site.file("fifo");
    nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).expect("a fifo");
    let socket = site.file("socket");
    let _listener = UnixListener::bind(&socket).expect("a socket");
    let large = write(&site, "large", vec![b'#'; 10 << 20]);
    let latin = write(&site, "latin", b"# caf\xe9\n[[app]]\n");
    let zeros = write(&site, "zeros", vec![0; 4096]);
    let looped = site.file("loop");
    std::os::unix::fs::symlink(&looped, &looped).expect("a link");
    let deep = write(&site, "deep", "a = ".to_owned() + &"[".repeat(500_000));
    let dotted = write(&site, "dotted", "a.".repeat(500_000) + "a = 1");
    let table = [
        (site.directory.clone(), "is a directory"),
        (site.file("none"), "no such file"),
        (fifo, "is a named pipe"),
        (socket, "cannot be read"),
        ("/dev/zero".into(), "is a device"),
        (large, "larger than 1 MiB"),
        (latin, ":1:6: the byte 0xe9"),
        (zeros, ":1:1: this is no TOML"),
        (looped, "cannot be read"),
        (deep, ":1:"),
        (dotted, ":1:18: no key goes so deep"),
        ("/proc/self/mem".into(), "cannot be read"),
    ];
    for (path, part) in table {
        let said = check(&site, &path.display().to_string()).failed(1, &[part]);
        assert!(said.took < Duration::from_secs(10), "{said}");
        assert!(said.stderr.lines().count() <= 22, "{said}");
    }
}

#[test]
fn who_may_not_read_it_is_told() {
    use std::os::unix::fs::PermissionsExt;
    let program = env!("CARGO_BIN_EXE_forkfront");
    if !nobody_can_use(program, "/dev/null") {
        return;
    }
    let site = Site::new();
    let path = write(&site, "secret.toml", "[[app]]\ncommand = [\"sh\"]\n");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("mode");
    let path = path.display().to_string();
    let done = as_nobody(&[program, "check", &path]).output();
    let done = done.expect("the program starts");
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert!(said.contains("may not read it"), "{said}");
}

#[test]
fn every_option_of_run_is_a_key_and_every_key_an_option() {
    let all = file::keys();
    are_the_options("run", &all.top, &all.servers);
}

#[test]
fn every_option_of_proxy_is_a_key_and_every_key_an_option() {
    let all = file::keys();
    are_the_options("proxy", &all.top, &all.proxies);
}

/// The long options of this command, and nothing else, are the keys of the primary and of an app.
#[track_caller]
fn are_the_options(verb: &str, top: &[&str], app: &[&str]) {
    let site = Site::new();
    let help = run_to_end(&site, &[verb, "--help"]).done().stdout;
    let options = help.lines().filter_map(|line| {
        let words = line.trim_start();
        // Further in it is said of another one.
        if line.len() - words.len() > 6 {
            return None;
        }
        let long = match words.strip_prefix("--") {
            Some(long) => long,
            None if words.starts_with('-') => words.split_once(", --")?.1,
            None => return None,
        };
        Some(long.split([' ', '.', '=']).next()?.to_owned())
    });
    // How much is said has one key, not two; the file itself and help are of the command line only.
    let not_keys = ["config", "verbose", "quiet", "help", "version"];
    let mut options: Vec<String> = options
        .filter(|option| !not_keys.contains(&option.as_str()))
        .collect();
    options.sort();
    let of_file_only = ["command", "log-level"];
    let mut keys: Vec<String> = top
        .iter()
        .chain(app)
        .filter(|key| !of_file_only.contains(key))
        .map(|key| (*key).to_owned())
        .collect();
    keys.sort();
    keys.dedup();
    assert_eq!(options, keys);
}
