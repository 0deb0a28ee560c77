//! What a file may say, and what is said of one that is wrong. The file as such (devices, sizes, bytes) and the
//! real binary are tests/config.rs.

use std::time::Duration;

use super::*;
use crate::config::{
    self, AppConfig, Balance, LogFile, LogFormat, LogTime, Orphans, Probe, RestartWhen, Routing,
    StickyDown,
};

const FULL: &str = r#"
name = "shop"
control = "shop.sock"
log-level = "debug"
log-format = "json"
log-time = "utc"
log-file = "log/%s.log"
log-max-size = "10M"
log-keep = 7

[[app]]
name = "web"
command = ["node", "server.js", "--port", 3000]
listen = ["80=3000", "unix:./run/web.sock=3000"]
workers = 4
balance = "least-connections"
sticky = "header:X-Forwarded-For"
sticky-down = "hold"
sticky-bound = 1.25
websocket-sticky = true
proxy-protocol = true
trusted-proxies = ["10.0.0.0/8", "::1,unix"]
header-complete = true
peek-timeout = "3s"
max-peeked = 100
steal-after = "250ms"
max-held = 10
backlog = 511
ready-timeout = 20
drain-timeout = 1.5
grace = "2m"
reload-parallel = 2
max-old = 3
restart = "on-failure"
stop-exit-codes = [0, 78]
max-restarts = "10/1h"
max-memory = "512M"
max-age = "24h"
max-connections = 1_000_000
hang-timeout = "30s"
gather-max = "100us"
defer-accept = 3
pin = true
health = "http:/health"
health-interval = "20s"
health-timeout = 1
health-failures = 5
orphans = "kill"
cwd = "./web"
env = { NODE_ENV = "production", THREADS = 0x10, DEBUG = false }

[[app]]
name = "api"
command = ["./api"]
listen = 8080
max-memory = 1_073_741_824
max-restarts = 3
stop-exit-codes = "0,3"
health = ["check", "a b"]

[app.env]
A = "1"
"#;

fn read(text: &str) -> Config {
    let parsed = parse(text, Path::new("/srv/current"));
    parsed.map(|(config, ..)| config).unwrap_or_else(|marks| {
        let said = marks.findings(text);
        panic!("{said:?} in\n{text}")
    })
}

/// `LINE:COLUMN: SENTENCE` of each finding.
fn wrong(text: &str) -> Vec<String> {
    let Err(marks) = parse(text, Path::new("/srv/current")) else {
        panic!("nothing is wrong with\n{text}");
    };
    let said = marks.findings(text).into_iter();
    said.map(|finding| {
        let Place { line, column } = finding.place.unwrap();
        format!("{line}:{column}: {}", finding.sentence)
    })
    .collect()
}

#[test]
fn every_key_is_read() {
    let config = read(FULL);
    assert_eq!(config.name.as_deref(), Some("shop"));
    assert_eq!(
        config.control.as_deref(),
        Some(Path::new("/srv/current/shop.sock"))
    );
    assert_eq!(config.log_level, LevelFilter::Debug);
    let logs = config::Logs {
        format: LogFormat::Json,
        time: LogTime::Utc,
        file: Some(LogFile {
            path: "/srv/current/log/%s.log".into(),
            max_size: Some(10 << 20),
            keep: 7,
        }),
    };
    assert_eq!(config.logs, logs);
    let [web, api] = config.apps.as_slice() else {
        panic!("{config:?}");
    };
    let seconds = Duration::from_secs;
    let expected = AppConfig {
        name: "web".into(),
        listen: vec![
            "80=3000".parse().unwrap(),
            "unix:/srv/current/run/web.sock=3000".parse().unwrap(),
        ],
        workers: 4,
        routing: Routing {
            balance: Balance::LeastConnections,
            sticky: Some("header:x-forwarded-for".parse().unwrap()),
            sticky_down: StickyDown::Hold,
            sticky_bound: Some("1.25".parse().unwrap()),
            websocket_sticky: true,
            proxy_protocol: true,
            header_complete: true,
            trusted_proxies: "10.0.0.0/8,::1,unix".parse().unwrap(),
            peek_timeout: seconds(3),
            max_peeked: 100,
        },
        speed: config::Speed {
            gather_max: Duration::from_micros(100),
            defer_accept: Some(seconds(3)),
            pin: true,
        },
        backlog: Some(511),
        max_held: 10,
        ready_timeout: seconds(20),
        steal_after: Duration::from_millis(250),
        drain_timeout: Duration::from_millis(1500),
        grace: seconds(120),
        reload_parallel: 2,
        max_old: 3,
        restart: config::Restart {
            when: RestartWhen::OnFailure,
            stop_exit_codes: [0, 78].into(),
            most: Some((10, seconds(3600))),
        },
        limits: config::Limits {
            max_memory: Some(512 << 20),
            max_age: Some(seconds(24 * 3600)),
            max_connections: Some(1_000_000),
            hang_timeout: Some(seconds(30)),
        },
        health: Some(config::Health {
            probe: Probe::Http("/health".into()),
            interval: seconds(20),
            timeout: seconds(1),
            failures: 5,
        }),
        orphans: Orphans::Kill,
        env: vec![
            ("DEBUG".into(), "false".into()),
            ("NODE_ENV".into(), "production".into()),
            ("THREADS".into(), "16".into()),
        ],
        cwd: Some("/srv/current/web".into()),
        proxy: None,
        identity: None,
        command: ["node", "server.js", "--port", "3000"]
            .map(Into::into)
            .into(),
    };
    assert_eq!(*web, expected);
    let words = ["check", "a b"].map(Into::into).into();
    let expected = AppConfig {
        name: "api".into(),
        listen: vec!["8080".parse().unwrap()],
        workers: config::workers("auto").unwrap(),
        restart: config::Restart {
            stop_exit_codes: [0, 3].into(),
            most: Some((3, seconds(60))),
            ..Default::default()
        },
        limits: config::Limits {
            max_memory: Some(1 << 30),
            ..Default::default()
        },
        health: Some(config::Health::new(Probe::Command(words))),
        env: vec![("A".into(), "1".into())],
        cwd: Some("/srv/current".into()),
        ..AppConfig::new(vec!["./api".into()])
    };
    assert_eq!(*api, expected);
}

/// The example is a file as it is, and with all that is behind a `#` in it; it has all keys.
#[test]
fn the_example_is_a_file() {
    assert_eq!(read(EXAMPLE).apps[0].workers, 4);
    let key_of = |line: &str| {
        let (key, _) = line.trim_start_matches("# ").split_once(" = ")?;
        let is_key = key.bytes().all(|c| c.is_ascii_lowercase() || c == b'-');
        is_key.then(|| key.to_owned())
    };
    // Only root may say who the workers are.
    let may = |key: &str| nix::unistd::geteuid().is_root() || !matches!(key, "user" | "group");
    let all = EXAMPLE.lines().map(|line| match key_of(line) {
        Some(key) if may(&key) => line.trim_start_matches("# "),
        _ => line,
    });
    let all = all
        .collect::<Vec<_>>()
        .join("\n")
        .replace("www-data", "root");
    assert_eq!(read(&all).apps[0].workers, 4);
    let all = keys();
    for key in all.top.iter().chain(&all.servers).chain(&all.proxies) {
        let has = EXAMPLE.lines().filter_map(key_of).any(|one| one == *key);
        assert!(has, "no {key} in src/config/file/example.toml");
    }
    let narrow = |line: &str| line.chars().count() <= 90;
    assert!(EXAMPLE.lines().all(narrow));
}

mod proxies;

const APP: &str = "[[app]]\ncommand = [\"a\"]\n";

/// What is wrong behind [`APP`], whose lines are 1 and 2, and what is said, in part.
const WRONG: &[(&str, &str)] = &[
    (
        "workers = 0",
        "3:11: 'workers' cannot be 0: it takes 1 to 1024, or auto",
    ),
    ("workers = 1025", "3:11: 'workers' cannot be 1025"),
    ("workers = -1", "3:11: 'workers' cannot be -1"),
    ("workers = 1.5", "3:11: 'workers' cannot be 1.5"),
    (
        "workers = true",
        "3:11: 'workers' cannot be true: it takes a number, or \"auto\"",
    ),
    ("workers = [1]", "3:11: 'workers' cannot be an array"),
    (
        "workers = 99999999999999999999999999999999999999999999",
        "3:11: ",
    ),
    (
        "worker = 1",
        "3:1: there is no key 'worker'; did you mean 'workers'?",
    ),
    (
        "max_memory = 1",
        "3:1: there is no key 'max_memory'; did you mean 'max-memory'?",
    ),
    (
        "zzz = 1",
        "3:1: there is no key 'zzz'; the keys are the long options",
    ),
    ("\"a\\nb\" = 1", "3:1: there is no key 'a\\nb'"),
    (
        "control = 1",
        "3:1: 'control' has no place here; it goes at the top",
    ),
    (
        "balance = \"rr\"",
        "3:11: 'balance' cannot be \"rr\": it takes round-robin, least",
    ),
    (
        "gather-max = \"1s\"",
        "3:14: 'gather-max' cannot be \"1s\": it is longer than 50ms",
    ),
    (
        "balance = \"kernel\"\ngather-max = 0",
        "4:14: 'gather-max' means nothing with balance = \"kernel\"",
    ),
    (
        "defer-accept = 0.5",
        "3:16: 'defer-accept' cannot be 0.5: it must be 1s at least",
    ),
    (
        "defer-accept = []",
        "3:16: 'defer-accept' cannot be an array: it takes true, or a time",
    ),
    (
        "listen = \"unix:a\"\ndefer-accept = true",
        "4:16: 'defer-accept' means nothing where all",
    ),
    (
        "pin = 1",
        "3:7: 'pin' cannot be a number: it takes true or false",
    ),
    ("balance = \"round-robbin\"", "did you mean round-robin?"),
    (
        "orphans = \"x\"",
        "3:11: 'orphans' cannot be \"x\": it takes drain or kill",
    ),
    (
        "sticky = \"kuchen:a\"",
        "3:10: 'sticky' cannot be \"kuchen:a\": the key is written",
    ),
    (
        "balance = \"kernel\"\nsticky = \"ip\"",
        "4:10: 'sticky' cannot be kept",
    ),
    (
        "balance = \"kernel\"\nmax-peeked = 1",
        "4:14: 'max-peeked' means nothing with balance = \"kernel\", since there the kernel",
    ),
    (
        "sticky-down = \"hlod\"",
        "3:15: 'sticky-down' cannot be \"hlod\": it takes spill or hold; did you mean hold?",
    ),
    (
        "sticky-down = \"spill\"",
        "3:15: 'sticky-down' means nothing without 'sticky' or 'websocket-sticky'",
    ),
    (
        "sticky-bound = 1",
        "3:16: 'sticky-bound' cannot be 1: '1' is no bound",
    ),
    (
        "sticky = \"route:sid\"\nsticky-bound = \"1.5\"",
        "4:16: 'sticky-bound' cannot be kept with sticky = \"route:sid\"",
    ),
    (
        "websocket-sticky = \"yes\"",
        "3:20: 'websocket-sticky' cannot be a string: it takes true or false",
    ),
    (
        "sticky = \"sni\"\nwebsocket-sticky = true",
        "4:20: 'websocket-sticky' cannot be kept with sticky = \"sni\"",
    ),
    (
        "proxy-protocol = true\ntrusted-proxies = []",
        "3:18: 'proxy-protocol' needs 'trusted-proxies'",
    ),
    (
        "trusted-proxies = \"10.0.0.0/8\"",
        "3:19: 'trusted-proxies' means nothing here: it says from whom 'proxy-protocol', sticky = \"proxy\" and",
    ),
    (
        "trusted-proxies = [\"::1\", \"10.0.0.0/33\"]",
        "3:27: 'trusted-proxies' cannot be \"10.0.0.0/33\": '10.0.0.0/33' is no network",
    ),
    (
        "peek-timeout = 1",
        "3:16: 'peek-timeout' means nothing here, where no connection's first bytes are read",
    ),
    (
        "header-complete = true\nmax-peeked = 0",
        "4:14: 'max-peeked' cannot be 0: it takes a number from 1 to 1000000",
    ),
    (
        "balance = \"kernel\"\nhealth = \"http:/\"",
        "4:10: 'health' cannot be asked",
    ),
    (
        "balance = \"kernel\"\nlisten = [\"80=1\", \"81=1\"]",
        "4:19: with balance = \"kernel\"",
    ),
    (
        "listen = 0",
        "3:10: 'listen' cannot be 0: port 0 cannot be shared",
    ),
    (
        "listen = [\"80\", \"web:80\"]",
        "3:17: 'listen' cannot be \"web:80\": 'web' is no IP",
    ),
    (
        "listen = [80, 80]",
        "3:15: '80' and '80' are the same address",
    ),
    (
        "listen = [80, \"127.0.0.1:80\"]",
        "3:15: '80' and '127.0.0.1:80' are the same",
    ),
    ("listen = {}", "3:10: 'listen' cannot be a table"),
    (
        "listen = \"unix:a\\u0000b\"",
        "3:10: 'listen' cannot be \"unix:a\\0b\": a path",
    ),
    (
        "steal-after = 0",
        "3:15: 'steal-after' cannot be 0: it must be 1ms at least",
    ),
    (
        "grace = \"forever\"",
        "3:9: 'grace' cannot be \"forever\": a length of time",
    ),
    (
        "grace = nan",
        "3:9: 'grace' cannot be nan: a length of time",
    ),
    ("grace = 1979-05-27", "3:9: 'grace' cannot be a date"),
    (
        "max-memory = 512",
        "3:14: 'max-memory' cannot be 512: it must be 1M at least",
    ),
    ("max-restarts = 0", "3:16: 'max-restarts' cannot be 0"),
    (
        "stop-exit-codes = [0, 256]",
        "3:23: 'stop-exit-codes' cannot be 256",
    ),
    ("max-old = 0", "3:11: 'max-old' cannot be 0"),
    (
        "health-interval = 1",
        "3:1: 'health-interval' means nothing without 'health'",
    ),
    (
        "health = \"http:x\"",
        "3:10: 'health' cannot be \"http:x\": the path begins",
    ),
    ("health = []", "3:10: 'health': it is written as"),
    (
        "health = 3.5\nhealth-failures = 0",
        "4:19: 'health-failures' cannot be 0",
    ),
    ("cwd = \"\"", "3:7: 'cwd' cannot be empty"),
    (
        "cwd = \"a\\u0000\"",
        "3:7: 'cwd' cannot be a string with a zero byte",
    ),
    ("cwd = 3", "3:7: 'cwd' cannot be a number: it takes a path"),
    (
        "env = [\"A=1\"]",
        "3:7: 'env' cannot be an array: it takes a table",
    ),
    ("env.A = []", "3:9: 'env.A' cannot be an array"),
    ("env.\"A=B\" = 1", "3:5: a variable's name"),
    (
        "env.FORKFRONT_SLOT = 1",
        "3:5: names that begin with FORKFRONT_",
    ),
    (
        "env.A = \"\\u0000\"",
        "3:9: 'env.A' cannot hold a zero byte",
    ),
    (
        "user = \"no-such-user-x\"",
        "3:8: there is no user 'no-such-user-x'",
    ),
    (
        "group = \"no-such-group-x\"",
        "3:9: there is no group 'no-such-group-x'",
    ),
    ("user = 3999999999", "3:8: user 3999999999 has no entry"),
    (
        "name = \"a b\"",
        "3:8: 'name' cannot be \"a b\": a name has",
    ),
    (
        "[[app]]\ncommand = [\"b\"]\nname = \"b\"",
        "1:1: this app has no 'name'",
    ),
    (
        "name = \"b\"\n[[app]]\ncommand = [\"b\"]\nname = \"b\"",
        "6:8: two apps are called 'b'",
    ),
    (
        "name = \"a\"\nlisten = 80\n[[app]]\ncommand = [\"b\"]\nname = \"b\"\nlisten = [81, \"0.0.0.0:80\"]",
        "8:15: app 'a' listens on 80 already",
    ),
    (
        "name = \"a\"\nworkers = 1000\n[[app]]\ncommand = [\"b\"]\nname = \"b\"\nworkers = 25",
        "8:11: all apps together have 1025 workers",
    ),
    (
        "[[apps]]",
        "3:3: there is no key 'apps'; did you mean 'app'?",
    ),
    ("[app]", "3:2: this is no TOML: duplicate key"),
    ("workers", "3:8: this is no TOML: key with no value"),
    ("workers = 1 workers = 2", "3:11: this is no TOML"),
];

#[test]
fn what_is_wrong_is_said_at_its_place() {
    for (lines, part) in WRONG {
        let said = wrong(&format!("{APP}{lines}"));
        let begins = |said: &String| said.contains(part);
        assert!(
            said.iter().any(begins),
            "{lines}\n  gave {said:#?}\n  not {part}"
        );
        assert!(said.len() <= 2, "{lines}\n  gave {said:#?}");
    }
}

#[test]
fn what_is_wrong_at_the_top() {
    let control = format!("control = \"{}\"\n{APP}", "x".repeat(120));
    let table = [
        ("", "1:1: there is no [[app]]"),
        ("app = 3", "1:1: an app is written under [[app]]"),
        ("app = []", "1:7: an app is written under [[app]]"),
        ("app = [1]", "1:8: an app is written under [[app]]"),
        (
            "[app]\ncommand = [\"a\"]",
            "1:2: an app is written under [[app]]",
        ),
        (
            "[[app]]",
            "1:1: this app has no 'command'; it takes the program",
        ),
        (
            "[[app]]\ncommand = \"a b\"",
            "2:11: 'command' cannot be a string: it takes the program",
        ),
        ("[[app]]\ncommand = []", "2:11: 'command' names no program"),
        (
            "[[app]]\ncommand = [\"\"]",
            "2:11: 'command' names no program",
        ),
        (
            "[[app]]\ncommand = [[]]",
            "2:12: 'command' cannot be an array",
        ),
        (
            "[[app]]\ncommand = [\"a\\u0000\"]",
            "2:12: 'command' cannot be \"a\\0\"",
        ),
        (
            "command = [\"a\"]",
            "1:1: 'command' has no place here; it goes under [[app]]",
        ),
        (
            "nmae = \"a\"\n[[app]]\ncommand = [\"a\"]",
            "1:1: there is no key 'nmae'; did you mean 'name'?",
        ),
        (
            "log-format = \"xml\"\n[[app]]\ncommand = [\"a\"]",
            "1:14: 'log-format' cannot be \"xml\"",
        ),
        (
            "log-file = \"log/%d\"\n[[app]]\ncommand = [\"a\"]",
            "1:12: 'log-file' cannot be \"log/%d\"",
        ),
        (
            "log-max-size = \"10M\"\n[[app]]\ncommand = [\"a\"]",
            "1:1: 'log-max-size' means nothing without 'log-file'",
        ),
        (
            "log-file = \"a\"\nlog-keep = 2\n[[app]]\ncommand = [\"a\"]",
            "2:1: 'log-keep' means nothing without 'log-max-size'",
        ),
        (
            "log-level = \"loud\"\n[[app]]\ncommand = [\"a\"]",
            "1:13: 'log-level' cannot be \"loud\"",
        ),
        (
            "name = 3.5\n[[app]]\ncommand = [1]\nzzzzzz = 1",
            "4:1: there is no key 'zzzzzz'",
        ),
        (&control, "1:11: the path of a socket has 107 bytes at most"),
    ];
    for (text, part) in table {
        let said = wrong(text);
        assert!(
            said.iter().any(|said| said.contains(part)),
            "{text}\n  gave {said:#?}"
        );
    }
}

#[test]
fn everything_that_is_wrong_is_said_at_once_and_in_order() {
    let said = wrong(
        "nane = 1\n[[app]]\nworkers = 0\nbalance = 3\n\n[[app]]\ncommand = [\"\"]\nname = \"b\"",
    );
    let places: Vec<&str> = said
        .iter()
        .map(|line| line.split(": ").next().unwrap())
        .collect();
    assert_eq!(
        places,
        ["1:1", "2:1", "2:1", "3:11", "4:11", "7:11"],
        "{said:#?}"
    );
    // What cannot be read is no reason to find fault with what needs it.
    for text in [
        "sticky = \"sno\"\nsticky-down = \"hold\"\nmax-peeked = 1",
        "proxy-protocol = 1\ntrusted-proxies = \"::1\"",
        "proxy-protocol = true\ntrusted-proxies = \"lan\"",
    ] {
        let said = wrong(&format!("[[app]]\ncommand = [\"a\"]\n{text}"));
        assert_eq!(said.len(), 1, "{said:#?}");
    }
    let said = wrong("a = [\nb = 1\n[[app]\nx");
    assert!(said.len() > 1, "{said:#?}");
}

/// Seeded, so that what is found is found again.
struct Random(oorandom::Rand64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0.rand_range(0..n as u64) as usize
    }
}

#[test]
fn no_change_of_a_good_file_breaks_the_reader() {
    const PIECES: &[&str] = &[
        "[",
        "]",
        "[[",
        "{",
        "}",
        "\"",
        "'",
        "\"\"\"",
        "=",
        ".",
        ",",
        "#",
        "\n",
        "\r",
        "\0",
        "\\",
        "\u{feff}",
        "\u{e4}",
        "-",
        "_",
        "0x",
        "1e9",
        "inf",
        "true",
        "app",
        "[[app]]",
        "env",
        "1979-05-27",
        " ",
        "\t",
        "9999999999999999999999",
    ];
    let mut random = Random(oorandom::Rand64::new(1));
    let (mut good, mut bad) = (0, 0);
    for _ in 0..4000 {
        let mut text: Vec<char> = FULL.chars().collect();
        for _ in 0..=random.below(3) {
            let at = random.below(text.len());
            match random.below(4) {
                0 => drop(text.drain(at..(at + 1 + random.below(20)).min(text.len()))),
                1 => text.truncate(at.max(1)),
                2 => {
                    let piece = PIECES[random.below(PIECES.len())];
                    text.splice(at..at, piece.chars());
                }
                _ => {
                    let (from, to) = (random.below(at + 1), random.below(text.len()));
                    let copied: Vec<char> = text[from..at].iter().copied().take(60).collect();
                    text.splice(to..to, copied);
                }
            }
        }
        let text: String = text.into_iter().collect();
        match parse(&text, Path::new("/srv")) {
            Ok((config, places, _)) => {
                assert_eq!(config.apps.len(), places.len());
                good += 1;
            }
            Err(marks) => {
                let said = marks.findings(&text);
                assert!(!said.is_empty(), "{text}");
                assert!(
                    said.iter()
                        .all(|one| one.place.is_some() && !one.sentence.contains('\n')),
                    "{said:?}"
                );
                bad += 1;
            }
        }
    }
    assert!(good > 100 && bad > 1000, "{good} good, {bad} bad");
}

#[test]
fn depth_and_width_are_no_danger() {
    let many = 100_000;
    for text in [
        "a = ".to_owned() + &"[".repeat(many),
        "a = ".to_owned() + &"{a=".repeat(many),
        "a.".repeat(many) + "a = 1",
        "[".to_owned() + &"a.".repeat(many) + "a]",
        "a = ".to_owned() + &("{".to_owned() + &"a.".repeat(7) + "a = ").repeat(80),
        "a = ".to_owned() + &("{".to_owned() + &"a.".repeat(70) + "a = ").repeat(80),
        "[".repeat(many),
        "[[app]]\n".repeat(many / 10),
        "a = \"".to_owned() + &"\\".repeat(many),
        "#".repeat(many),
        "x".repeat(many) + " = 1",
    ] {
        assert!(!wrong(&text).is_empty());
    }
}
