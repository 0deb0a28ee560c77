//! The log in files (`--log-file`), as JSON, in the journal: the real binary with workers that print.

mod common;

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use common::*;
use nix::sys::signal::Signal;
use serde_json::Value;

fn text(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// Waits until the file has this.
#[track_caller]
fn has(path: &Path, part: &str) -> String {
    eventually(&format!("{part:?} in {}", path.display()), || {
        Some(text(path)).filter(|text| text.contains(part))
    })
}

fn path(site: &Site, name: &str) -> String {
    site.file(name).display().to_string()
}

#[test]
fn one_file_takes_all_lines_with_their_time() {
    let site = Site::new().env("TZ", "UTC");
    let file = path(&site, "app.log");
    let balancer = Balancer::printing(&site, 2, &["--log-file", &file]);
    let pids = balancer.workers();
    print(&site, 0, Printed::Out, b"hello\n");
    print(&site, 1, Printed::Err, b"oh\x1b[2J\n");
    let file = site.file("app.log");
    has(&file, &format!(" [0 {}] hello\n", pids[0]));
    let all = has(&file, &format!(" [1 {} err] oh\\x1b[2J\n", pids[1]));
    assert!(all.contains(" is shared by "), "{all}");
    for line in all.lines() {
        let (time, _) = line.split_once(' ').expect("the time");
        let shape: String = time
            .chars()
            .map(|c| if c.is_ascii_digit() { '0' } else { c })
            .collect();
        assert_eq!(shape, "0000-00-00T00:00:00.000Z", "{line}");
    }
    // Our own lines are seen where forkfront was started, the workers' are not.
    balancer.says(" is shared by ");
    let output = balancer.output();
    assert!(!output.contains("hello"), "{output}");
    let made = fs::metadata(&file).expect("the file");
    assert_eq!(made.permissions().mode() & 0o777 & !0o640, 0);
    let status = balancer.status();
    assert_eq!((status.lines_printed, status.lines_dropped), (2, 0));
    assert_eq!(status.log_file, Some(file.display().to_string()));
    balancer.finish();
}

#[test]
fn a_file_for_each_slot_is_opened_anew_on_usr1() {
    let site = Site::new();
    let files = path(&site, "app-%s.log");
    let balancer = Balancer::printing(&site, 2, &["--log-file", &files]);
    for slot in 0..2 {
        print(
            &site,
            slot,
            Printed::Out,
            format!("from {slot}\n").as_bytes(),
        );
        let file = site.file(&format!("app-{slot}.log"));
        assert_eq!(has(&file, "from").lines().count(), 1);
        fs::rename(&file, file.with_extension("old")).expect("moved away");
    }
    has(&site.file("app-primary.log"), " is shared by ");
    balancer.signal(Signal::SIGUSR1);
    for slot in 0..2 {
        let file = site.file(&format!("app-{slot}.log"));
        // The signal may be heard after what is printed now.
        eventually("the file is there again", || file.exists().then_some(()));
        print(
            &site,
            slot,
            Printed::Out,
            format!("again {slot}\n").as_bytes(),
        );
        has(&file, "again");
        assert!(!text(&file.with_extension("old")).contains("again"));
    }
    assert_eq!(balancer.status().lines_dropped, 0);
    // The files of the slots were opened since the start.
    balancer.finish_as_it_is();
}

#[test]
fn a_file_is_rotated_by_size() {
    let site = Site::new();
    let file = path(&site, "app.log");
    let words = [
        "--log-file",
        &file,
        "--log-max-size",
        "1M",
        "--log-keep",
        "2",
    ];
    let balancer = Balancer::printing(&site, 1, &words);
    let line = |number: u32| format!("line {number:>6} {}\n", "x".repeat(87));
    let all: String = (0..40_000).map(line).collect();
    print(&site, 0, Printed::Out, all.as_bytes());
    print(&site, 0, Printed::Out, b"the end\n");
    has(&site.file("app.log"), "the end");
    let names = ["app.log.2", "app.log.1", "app.log"];
    let kept: Vec<String> = names.iter().map(|name| text(&site.file(name))).collect();
    assert!(kept.iter().all(|text| text.len() <= 1 << 20), "too long");
    let numbers = kept.iter().flat_map(|text| text.lines());
    let numbers: Vec<u32> = numbers
        .filter_map(|line| {
            line.split_once("] line ")?
                .1
                .trim_start()
                .split(' ')
                .next()?
                .parse()
                .ok()
        })
        .collect();
    assert!(numbers.len() > 10_000, "{}", numbers.len());
    let first = 40_000 - numbers.len() as u32;
    assert!(
        numbers.iter().copied().eq(first..40_000),
        "lines are missing"
    );
    assert!(!site.file("app.log.3").exists());
    balancer.finish();
}

#[test]
fn every_line_is_an_object_if_that_is_wanted() {
    let site = Site::new();
    let balancer = Balancer::printing(&site, 1, &["--log-format", "json"]);
    let odd = b"say \"hi\" \\ \x00\x1b[2J \xff {\"a\":1}\n";
    print(&site, 0, Printed::Err, odd);
    print(
        &site,
        0,
        Printed::Out,
        &[&[b'y'; 1 << 20][..], b"\nend\n"].concat(),
    );
    balancer.says("\"end\"}");
    let output = balancer.output();
    let lines: Vec<Value> = output
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let of = |stream: &str| -> Vec<&Value> {
        lines
            .iter()
            .filter(|line| line["stream"] == *stream)
            .collect()
    };
    let err = of("stderr");
    assert_eq!(
        err[0]["message"],
        "say \"hi\" \\ \u{0}\u{1b}[2J \\xff {\"a\":1}"
    );
    assert_eq!(
        (&err[0]["slot"], &err[0]["pid"]),
        (&0.into(), &balancer.workers()[0].into())
    );
    // A line of a mebibyte is sixteen, all but the last marked.
    let out = of("stdout");
    let cut = out.iter().filter(|line| line["cut"] == true).count();
    assert_eq!((out.len(), cut), (17, 15));
    let own = of("forkfront");
    assert!(own.iter().any(|line| line["level"] == "info"), "{own:?}");
    balancer.finish();
}

#[test]
fn a_full_disk_costs_lines_and_nothing_else() {
    // J1: a file system of a mebibyte, and a worker that prints four.
    let site = Site::new();
    let disk = site.file("disk");
    fs::create_dir(&disk).expect("a directory");
    let n = [
        "run",
        "-n",
        "2",
        "--log-file",
        &path(&site, "disk/app.log"),
        "--",
    ];
    let mut words: Vec<String> = n.map(str::to_owned).to_vec();
    words.extend(printers(&site, 2));
    let mount = format!(
        "mount -t tmpfs -o size=1m none {} && exec \"$@\"",
        disk.display()
    );
    let mut balancer = Balancer::spawn_changed(&site, &words, |command| {
        let mut behind = Command::new("unshare");
        behind.args(["-m", "sh", "-c", &mount, "sh"]);
        behind.arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => behind.env(key, value),
                None => behind.env_remove(key),
            };
        }
        behind.stdin(std::process::Stdio::null());
        behind
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        *command = behind;
    });
    balancer.all_ready();
    let load = Load::start(site.to(), 8, 1, DEADLINE);
    let line = [&[b'z'; 99][..], b"\n"].concat();
    print(&site, 0, Printed::Out, &line.repeat(40_000));
    let status = balancer.until("lines are dropped", |status| status.lines_dropped > 0);
    assert!(status.lines_dropped > 10_000, "{}", status.lines_dropped);
    balancer.says("No space left on device");
    load.proceed(200);
    load.stop().smooth();
    // Room again: what follows is written, with the count of what was not.
    let inside = format!("/proc/{}/root{}/app.log", balancer.pid(), disk.display());
    File::options()
        .write(true)
        .truncate(true)
        .open(&inside)
        .expect("its file");
    let file = Path::new(&inside);
    eventually("room again", || {
        print(&site, 0, Printed::Out, b"still here\n");
        text(file).contains("still here").then_some(())
    });
    let said = text(file);
    let dropped: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("dropped here"))
        .collect();
    assert!(!dropped.is_empty(), "{said}");
    balancer.finish();
}

#[test]
fn what_cannot_be_written_is_refused_at_the_start_and_by_check() {
    let site = Site::new();
    let missing = path(&site, "missing/app.log");
    let refused = run_to_end(
        &site,
        &[
            "run",
            "--log-file",
            &missing,
            "--",
            "node",
            &server("http.js"),
        ],
    );
    refused.refused(&site, 1, "cannot write the log file");
    let config = site.file("app.toml");
    let text = format!("log-file = '{missing}'\n[[app]]\ncommand = ['node']\n");
    fs::write(&config, text).expect("written");
    let config = config.display().to_string();
    let checked = run_to_end(&site, &["check", &config]);
    checked.failed(1, &["app.toml:1:12: there is no directory"]);
    std::os::unix::fs::symlink("/etc/passwd", site.file("link.log")).expect("a link");
    let link = path(&site, "link.log");
    let refused = run_to_end(
        &site,
        &["run", "--log-file", &link, "--", "node", &server("http.js")],
    );
    refused.refused(&site, 1, "symbolic link");
}

#[test]
fn the_file_says_otherwise_and_it_is_otherwise() {
    let site = Site::new();
    let command = printers(&site, 1);
    let command: Vec<String> = command.iter().map(|word| format!("'{word}'")).collect();
    let config = site.file("site.toml");
    let write = |top: &str| {
        let text = format!(
            "{top}\n[[app]]\nworkers = 1\ncommand = [{}]\n",
            command.join(", ")
        );
        fs::write(&config, text).expect("written");
    };
    write("log-time = 'none'");
    let balancer = Balancer::start(&site, &["run", "--config", &config.display().to_string()]);
    let pid = balancer.workers()[0];
    let says = |line: &str| {
        print(&site, 0, Printed::Out, format!("{line}\n").as_bytes());
    };
    let reload = || {
        balancer.command(&["reload", "--changes-only"]).done();
        // Who reads lines has heard of it when he has shown some.
        balancer.command(&["logs", "--lines", "1"]).done();
    };
    says("one");
    balancer.says(&format!("[0 {pid}] one\n"));
    write("log-time = 'none'\nlog-file = 'app.log'");
    reload();
    assert_eq!(balancer.workers(), [pid], "no worker was renewed for it");
    says("two");
    has(&site.file("app.log"), &format!("[0 {pid}] two\n"));
    write("log-time = 'none'\nlog-file = 'app.log'\nlog-format = 'json'");
    reload();
    says("three");
    has(&site.file("app.log"), "\"message\":\"three\"}\n");
    write("log-file = 'nowhere/app.log'");
    let refused = balancer.command(&["reload", "--changes-only"]);
    refused.failed(1, &["there is no directory"]);
    says("four");
    has(&site.file("app.log"), "\"message\":\"four\"}\n");
    write("log-time = 'none'");
    reload();
    says("five");
    balancer.says(&format!("[0 {pid}] five\n"));
    assert!(!text(&site.file("app.log")).contains("five"));
    balancer.finish_as_it_is();
}

#[test]
fn several_apps_are_named_in_lines_and_files() {
    let site = Site::new();
    let ports = site.ports(2);
    let app = |name: &str, port: u16| {
        let line = format!(
            "echo I am {name}; PORT={port} exec node {} >/dev/null",
            server("http.js")
        );
        format!("[[app]]\nname = '{name}'\nworkers = 1\ncommand = ['sh', '-c', '{line}']\n")
    };
    let config = site.file("site.toml");
    let apps = [app("web", ports[0]), app("api", ports[1])].concat();
    fs::write(&config, format!("log-file = '%s.log'\n{apps}")).expect("written");
    let config = config.display().to_string();
    let balancer = Balancer::start(&site, &["run", "--config", &config]);
    for name in ["web", "api"] {
        let said = has(&site.file(&format!("{name}-0.log")), "I am");
        assert!(said.contains(&format!(" [{name}:0 ")), "{said}");
        let shown = balancer.command(&["logs", name]).done().stdout;
        assert_eq!(shown.lines().count(), 1, "{shown}");
        assert!(shown.ends_with(&format!("] I am {name}\n")), "{shown}");
        let slot = format!("{name}:0");
        assert_eq!(balancer.command(&["logs", &slot]).done().stdout, shown);
    }
    balancer
        .command(&["logs", "0"])
        .failed(1, &["several apps run"]);
    balancer.finish();
}

#[test]
fn the_journal_has_the_time_already() {
    let site = Site::new();
    let journal = site.file("journal");
    let file = File::create(&journal).expect("a file in place of its socket");
    let found = file.metadata().expect("it is there");
    let site = site.env("JOURNAL_STREAM", format!("{}:{}", found.dev(), found.ino()));
    let mut words: Vec<String> = ["run", "-n", "1", "--"].map(str::to_owned).to_vec();
    words.extend(printers(&site, 1));
    let mut balancer = Balancer::spawn_changed(&site, &words, |command| {
        let again = file.try_clone().expect("a descriptor");
        command
            .stdout(OwnedFd::from(file))
            .stderr(OwnedFd::from(again));
    });
    balancer.all_ready();
    let pid = balancer.workers()[0];
    print(&site, 0, Printed::Out, b"hello\n<3>it burns\n");
    let said = has(&journal, "it burns");
    assert!(
        said.contains(&format!("\n[0 {pid}] hello\n<3>[0 {pid}] it burns\n")),
        "{said}"
    );
    assert!(said.contains("<6>forkfront: "), "{said}");
    balancer.finish();
}
