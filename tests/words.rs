//! What words on the command line mean: the values they become, before anybody acts on them.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use forkfront::cli::{self, Action};
use forkfront::client::Target;
use forkfront::config::{
    AppConfig, Balance, Health, Limits, Probe, Restart, RestartWhen, Routing, Speed, StickyDown,
};
use forkfront::protocol::{Request, Setting, Size, SlotRef};

fn parsed(words: &str) -> Action {
    let all = format!("forkfront {words}");
    let action = cli::parse(all.split(' ').map(OsString::from));
    action.unwrap_or_else(|error| panic!("{words}: {error}"))
}

/// What the words after `run` mean for its one app.
#[track_caller]
fn app(words: &str) -> AppConfig {
    match parsed(&format!("run {words} -- node server.js")) {
        Action::Run(mut config) => config.apps.remove(0),
        other => panic!("{words}: {other:?}"),
    }
}

#[test]
fn what_is_not_said_is_as_the_file_has_it() {
    let command = vec!["node".into(), "server.js".into()];
    assert_eq!(app("-n 1"), AppConfig::new(command));
}

#[test]
fn every_word_about_the_life_of_workers_is_heeded() {
    let seconds = Duration::from_secs;
    let given = app(
        "--reload-parallel 3 --max-old 4 --restart on-failure --stop-exit-codes 0,78 \
                     --max-restarts 5/2m --drain-timeout 7 --grace 8",
    );
    assert_eq!((given.reload_parallel, given.max_old), (3, 4));
    assert_eq!((given.drain_timeout, given.grace), (seconds(7), seconds(8)));
    let restart = Restart {
        when: RestartWhen::OnFailure,
        stop_exit_codes: [0, 78].into(),
        most: Some((5, seconds(120))),
    };
    assert_eq!(given.restart, restart);
    let given = app("--max-memory 512M --max-age 1h --max-connections 9 --hang-timeout 30s");
    let limits = Limits {
        max_memory: Some(512 << 20),
        max_age: Some(seconds(3600)),
        max_connections: Some(9),
        hang_timeout: Some(seconds(30)),
    };
    assert_eq!(given.limits, limits);
    let health = |words| app(words).health.expect("a health check");
    let usual = Health {
        probe: Probe::Http("/ping".into()),
        interval: seconds(10),
        timeout: seconds(5),
        failures: 3,
    };
    assert_eq!(health("--health http:/ping"), usual);
    let own = Health {
        probe: Probe::Command(vec!["check".into()]),
        interval: seconds(2),
        timeout: seconds(1),
        failures: 1,
    };
    assert_eq!(
        health("--health check --health-interval 2s --health-timeout 1s --health-failures 1"),
        own
    );
}

#[test]
fn every_word_about_where_connections_go_is_heeded() {
    let given = app(
        "--balance idle --sticky header:X-Forwarded-For --sticky-down hold --sticky-bound 1.25 \
         --websocket-sticky --proxy-protocol --trusted-proxies 10.0.0.0/8,::1 --trusted-proxies unix \
         --header-complete --peek-timeout 3s --max-peeked 100 --max-held 5",
    );
    let expected = Routing {
        balance: Balance::Idle,
        sticky: "header:x-forwarded-for".parse().ok(),
        sticky_down: StickyDown::Hold,
        sticky_bound: "1.25".parse().ok(),
        websocket_sticky: true,
        proxy_protocol: true,
        header_complete: true,
        trusted_proxies: "10.0.0.0/8,::1,unix".parse().expect("networks"),
        peek_timeout: Duration::from_secs(3),
        max_peeked: 100,
    };
    assert_eq!((given.routing, given.max_held), (expected, 5));
    // Who is moved loses a session: what is sticky waits longer.
    for (words, millis) in [
        ("--balance idle", 100),
        ("--sticky cookie:a", 500),
        ("--websocket-sticky", 500),
        ("--websocket-sticky --steal-after 200ms", 200),
        ("--header-complete", 100),
    ] {
        assert_eq!(
            app(words).steal_after,
            Duration::from_millis(millis),
            "{words}"
        );
    }
}

#[test]
fn every_word_about_speed_is_heeded() {
    let usual = Speed {
        gather_max: Duration::from_micros(600),
        defer_accept: None,
        pin: false,
    };
    assert_eq!(app("-n 1").speed, usual);
    let given = Speed {
        gather_max: Duration::from_millis(1),
        defer_accept: Some(Duration::from_secs(5)),
        pin: true,
    };
    assert_eq!(app("--gather-max 1ms --defer-accept 5s --pin").speed, given);
    let defer = |words| app(words).speed.defer_accept;
    assert_eq!(defer("--defer-accept"), Some(Duration::from_secs(1)));
    assert_eq!(app("--gather-max 0").speed.gather_max, Duration::ZERO);
    // What needs connections to be seen is not given there; the rest is.
    assert!(app("--balance kernel --defer-accept --pin").speed.pin);
}

#[test]
fn a_file_says_it_and_the_words_beside_it_say_it_over() {
    let name = format!("forkfront-words-{}.toml", std::process::id());
    let path = std::env::temp_dir().join(name);
    let text = "name = 'shop'\n[[app]]\ncommand = ['node']\nworkers = 3\n";
    std::fs::write(&path, text).expect("written");
    let read = |more: &str| match parsed(&format!("run --config {}{more}", path.display())) {
        Action::Run(config) => *config,
        other => panic!("{other:?}"),
    };
    let config = read("");
    assert_eq!(config.name.as_deref(), Some("shop"));
    assert_eq!(config.log_level, log::LevelFilter::Info);
    assert_eq!(config.apps[0].workers, 3);
    let config = read(" --name other -q");
    assert_eq!(config.name.as_deref(), Some("other"));
    assert_eq!(config.log_level, log::LevelFilter::Warn);
    let file = config.file.expect("read again by a reload");
    assert_eq!(
        (file.path, file.name.as_deref()),
        (path.clone(), Some("other"))
    );
    std::fs::remove_file(path).expect("removed");
}

fn asked(words: &str) -> (Target, Request) {
    match parsed(words) {
        Action::Change {
            target, request, ..
        } => (target, request),
        other => panic!("{words}: {other:?}"),
    }
}

fn slot(app: Option<&str>, slot: u16) -> SlotRef {
    let app = app.map(str::to_owned);
    SlotRef { app, slot }
}

#[test]
fn every_command_is_one_request() {
    let app = || Some("web".to_owned());
    let table = [
        (
            "reload --app web --changes-only",
            Request::Reload {
                app: app(),
                changes_only: true,
            },
        ),
        (
            "restart web:2",
            Request::Restart {
                slot: slot(Some("web"), 2),
            },
        ),
        (
            "scale +2",
            Request::Scale {
                app: None,
                to: Size::More(2),
            },
        ),
        (
            "scale -1 --app web",
            Request::Scale {
                app: app(),
                to: Size::Fewer(1),
            },
        ),
        (
            "drain 0",
            Request::Drain {
                slot: slot(None, 0),
            },
        ),
        (
            "resume 0",
            Request::Resume {
                slot: slot(None, 0),
            },
        ),
        (
            "set balance idle --app web",
            Request::Set {
                app: app(),
                setting: Setting::Balance(Balance::Idle),
            },
        ),
        (
            "set weight 2=50 --app web",
            Request::Set {
                app: None,
                setting: Setting::Weight {
                    slot: slot(Some("web"), 2),
                    weight: 50,
                },
            },
        ),
        (
            "set sticky off",
            Request::Set {
                app: None,
                setting: Setting::Sticky(None),
            },
        ),
        ("upgrade", Request::Upgrade { binary: None }),
    ];
    for (words, request) in table {
        assert_eq!(asked(words), (Target::Only, request), "{words}");
    }
}

#[test]
fn a_target_is_named_before_or_behind_what_is_asked() {
    let named = Target::Named("web".into());
    assert_eq!(asked("scale --name web -1"), asked("scale -1 --name web"));
    assert_eq!(asked("drain --name web 2").0, named);
    let at = Target::At("/run/x.sock".into());
    assert_eq!(asked("set --control /run/x.sock balance idle").0, at);
}

#[test]
fn a_new_executable_is_named_from_where_the_command_was_given() {
    let here = std::env::current_dir().expect("a directory");
    for (path, expected) in [("./new", here.join("new")), ("/new", PathBuf::from("/new"))] {
        let (_, request) = asked(&format!("upgrade --binary {path}"));
        let binary = Some(expected);
        assert_eq!(request, Request::Upgrade { binary });
    }
}
