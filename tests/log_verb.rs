//! `forkfront logs`: the last lines, and those that follow, as they are typed for.

mod common;

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Stdio};
use std::time::Duration;

use common::*;
use serde_json::Value;

/// `forkfront logs WORDS` that goes on.
struct Following {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Following {
    fn start(balancer: &Balancer<'_>, words: &[&str]) -> Self {
        let control = balancer.site.control().display().to_string();
        let words = [&["logs", "--control", &control][..], words].concat();
        let mut child = command_of(balancer.site, &words);
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, lines }
    }

    #[track_caller]
    fn next(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        assert!(!line.is_empty(), "it has ended");
        line
    }

    /// Ends by itself.
    #[track_caller]
    fn ends(mut self) -> Option<i32> {
        within(Duration::from_secs(20), "it ends", || {
            self.child.try_wait().expect("wait")
        })
        .code()
    }
}

fn command_of(site: &Site, words: &[&str]) -> Child {
    let mut command = forkfront(site, words);
    command.stderr(Stdio::null());
    command.spawn().expect("the program starts")
}

/// Waits until the log of the primary has this line.
#[track_caller]
fn kept(balancer: &Balancer<'_>, part: &str) -> String {
    eventually(part, || {
        let shown = balancer.command(&["logs"]).done().stdout;
        shown.contains(part).then_some(shown)
    })
}

#[test]
fn the_last_lines_are_shown() {
    let site = Site::new().env("TZ", "UTC");
    let balancer = Balancer::printing(&site, 2, &[]);
    let pids = balancer.workers();
    for number in 0..150 {
        print(
            &site,
            0,
            Printed::Out,
            format!("zero {number}\n").as_bytes(),
        );
    }
    print(&site, 1, Printed::Err, b"one\n");
    kept(&balancer, "zero 149\n");
    let shown = |words: &[&str]| {
        let words = [&["logs"][..], words].concat();
        balancer.command(&words).done().stdout
    };
    assert_eq!(shown(&[]).lines().count(), 100);
    let zero = shown(&["0", "-n", "3"]);
    let numbers: Vec<&str> = zero
        .lines()
        .filter_map(|line| line.split("zero ").nth(1))
        .collect();
    assert_eq!(numbers, ["147", "148", "149"]);
    assert!(
        zero.contains(&format!("Z [0 {}] zero 149\n", pids[0])),
        "{zero}"
    );
    assert_eq!(shown(&["0", "--since", "1h"]).lines().count(), 150);
    assert_eq!(shown(&["1"]).lines().count(), 1);
    assert!(shown(&["primary"]).contains(" is shared by "));
    assert_eq!(shown(&["-n", "0"]), "");
    let json: Value = serde_json::from_str(&shown(&["1", "--json"])).expect("an object");
    assert_eq!(
        (&json["message"], &json["stream"]),
        (&"one".into(), &"stderr".into())
    );
    assert_eq!(json["pid"], pids[1]);
    balancer
        .command(&["logs", "7"])
        .failed(1, &["there is no slot 7"]);
    balancer
        .command(&["logs", "web"])
        .failed(1, &["there is no app web"]);
    balancer
        .command(&["logs", "--since", "tomorrow"])
        .failed(2, &["a time is written as"]);
    balancer.finish();
}

#[test]
fn what_comes_is_followed_through_restart_upgrade_and_stop() {
    let site = Site::new();
    let balancer = Balancer::printing(&site, 1, &[]);
    let mut all = Following::start(&balancer, &["0", "-f"]);
    print(&site, 0, Printed::Out, b"one\n");
    assert!(all.next().ends_with("] one\n"));
    balancer.command(&["upgrade"]).done();
    print(&site, 0, Printed::Out, b"two\n");
    assert!(all.next().ends_with("] two\n"));
    let shown = balancer.command(&["logs", "0"]).done().stdout;
    assert_eq!(shown.lines().count(), 2, "{shown}");
    let mut json = Following::start(&balancer, &["-f", "--json", "-n", "1", "0"]);
    let line: Value = serde_json::from_str(&json.next()).expect("an object");
    assert_eq!(line["message"], "two");
    balancer.command(&["stop"]).done();
    assert_eq!(all.ends(), Some(0));
    assert_eq!(json.ends(), Some(0));
    let mut balancer = balancer;
    assert_eq!(balancer.wait(), Some(0));
    balancer.nothing_left();
}

#[test]
fn who_does_not_read_holds_up_nobody() {
    let site = Site::new();
    let balancer = Balancer::printing(&site, 1, &[]);
    // As many as there may be, none of which reads, and a worker that prints without end.
    let lazy: Vec<Following> = (0..16)
        .map(|_| Following::start(&balancer, &["-f"]))
        .collect();
    let line = [&[b'w'; 120][..], b"\n"].concat();
    for _ in 0..20 {
        print(&site, 0, Printed::Out, &line.repeat(5_000));
    }
    print(&site, 0, Printed::Out, b"the end\n");
    eventually("all is read", || {
        (balancer.status().lines_printed >= 100_001).then_some(())
    });
    let load = Load::start(site.to(), 4, 1, DEADLINE);
    load.proceed(200);
    load.stop().smooth();
    let refused = balancer.command(&["logs", "0", "-n", "1"]);
    assert!(
        refused.stderr.contains("try again") || refused.stdout.ends_with("] the end\n"),
        "{refused}"
    );
    let rss = rss_kib(balancer.pid());
    assert!(rss < 64 * 1024, "{rss} KiB");
    for mut one in lazy {
        one.child.kill().expect("killed");
        one.child.wait().expect("ended");
    }
    let shown = eventually("there is a place again", || {
        let shown = balancer.command(&["logs", "0", "-n", "1"]);
        (shown.code == Some(0)).then_some(shown.stdout)
    });
    assert!(shown.ends_with("] the end\n"), "{shown}");
    balancer.finish();
}
