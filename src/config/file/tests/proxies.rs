//! An app that is a proxy: all its keys, and what is said of those that are wrong or another kind's.

use super::{keys, read, wrong};
use crate::config::proxy::{
    self, Check, CheckWhat, Eject, OnDown, Proxy, ProxyBalance, SendProxy, Splice, Timeouts,
};
use crate::config::{AppConfig, Config, Routing, Speed};
use std::time::Duration;

const FULL: &str = r#"
[[app]]
name = "db"
listen = [5432, "unix:./db.sock"]
to = ["10.0.0.1:5432@3", "DB.example:5432+max=9", "srv:_pg._tcp.example", "unix:./x.sock+backup"]
resolve-every = "5s"
source = ["10.0.0.2", "::1"]
backlog = 100
max-held = 10
workers = 3
orphans = "drain"
balance = "random-two"
sticky = "header:X-Forwarded-For"
max-queue = 7
send-proxy = "v2"
proxy-protocol = true
trusted-proxies = ["10.0.0.0/8", "unix"]
peek-timeout = "3s"
check = "http:/well"
check-interval = "4s"
check-timeout = 1
rise = 4
fall = 5
on-down = "kill"
slow-start = "30s"
eject-after = 6
eject-time = "7s"
eject-max = "8m"
eject-share = 25
retries = 0
connect-timeout = "2s"
queue-timeout = "3s"
idle-timeout = "off"
half-closed-timeout = "9s"
lifetime = "12h"
keepalive = "off"
drain-timeout = "1m"
grace = 4
reload-parallel = 2
max-old = 5
splice = "off"
gather-max = 0
defer-accept = true
pin = true
"#;

fn expected() -> AppConfig {
    let seconds = Duration::from_secs;
    let to = [
        "10.0.0.1:5432@3",
        "db.example:5432+max=9",
        "srv:_pg._tcp.example",
    ];
    let mut to: Vec<_> = to.iter().map(|words| words.parse().unwrap()).collect();
    to.push("unix:/srv/current/x.sock+backup".parse().unwrap());
    let own = ["10.0.0.2", "::1"].map(|own| own.parse().unwrap());
    let proxy = Proxy {
        to,
        source: own.to_vec(),
        balance: ProxyBalance::RandomTwo,
        sticky: Some("header:x-forwarded-for".parse().unwrap()),
        resolve_every: seconds(5),
        check: Some(Check {
            what: CheckWhat::Http("/well".into()),
            interval: seconds(4),
            timeout: seconds(1),
            rise: 4,
            fall: 5,
        }),
        eject: Eject {
            after: 6,
            time: seconds(7),
            longest: seconds(480),
            share: 25,
        },
        slow_start: seconds(30),
        on_down: OnDown::Kill,
        send_proxy: Some(SendProxy::V2),
        timeouts: Timeouts {
            connect: seconds(2),
            queue: seconds(3),
            idle: None,
            half_closed: Some(seconds(9)),
            lifetime: Some(seconds(12 * 3600)),
        },
        retries: 0,
        max_queue: 7,
        keepalive: None,
        splice: Splice::Off,
    };
    let listen = ["5432", "unix:/srv/current/db.sock"];
    AppConfig {
        name: "db".into(),
        backlog: Some(100),
        max_held: 10,
        workers: 3,
        routing: Routing {
            proxy_protocol: true,
            trusted_proxies: "10.0.0.0/8,unix".parse().unwrap(),
            peek_timeout: seconds(3),
            ..Routing::default()
        },
        drain_timeout: seconds(60),
        grace: seconds(4),
        reload_parallel: 2,
        max_old: 5,
        speed: Speed {
            gather_max: Duration::ZERO,
            defer_accept: Some(seconds(1)),
            pin: true,
        },
        ..proxy::app(
            proxy,
            listen.iter().map(|words| words.parse().unwrap()).collect(),
        )
    }
}

#[test]
fn every_key_is_read() {
    assert_eq!(read(FULL).apps, [expected()]);
    let keys = keys();
    for key in keys.proxies {
        let given = matches!(key, "user" | "group") || FULL.contains(&format!("\n{key} = "));
        assert!(given, "{key} is not tested");
    }
}

#[test]
fn what_is_not_said_is_as_the_options_have_it() {
    let least = "[[app]]\nlisten = 1\nto = \"a:1\"\nworkers = 1\n";
    let mut said = read(least).apps.remove(0);
    said.name = "proxy".into();
    let to = Proxy {
        to: vec!["a:1".parse().unwrap()],
        ..Proxy::default()
    };
    assert_eq!(said, proxy::app(to, vec!["1".parse().unwrap()]));
}

#[test]
fn it_crosses_an_upgrade() {
    let text = serde_json::to_string(&expected()).unwrap();
    assert_eq!(
        serde_json::from_str::<AppConfig>(&text).unwrap(),
        expected()
    );
    let mut config = serde_json::to_value(Config::new(expected())).unwrap();
    // What another version did not know has its usual value.
    let proxy = config["apps"][0]["proxy"].as_object_mut().unwrap();
    proxy.remove("splice").unwrap();
    proxy["timeouts"]
        .as_object_mut()
        .unwrap()
        .remove("queue")
        .unwrap();
    let config: Config = serde_json::from_str(&config.to_string()).unwrap();
    let proxy = config.apps[0].proxy.as_ref().unwrap();
    assert_eq!(
        (proxy.splice, proxy.timeouts.queue),
        (Splice::Auto, Timeouts::default().queue)
    );
}

/// The lines 1 to 3, and then what is wrong, and what is said, in part.
const BEGIN: &str = "[[app]]\nlisten = 5432\nto = [\"a:1\", \"b:1\"]\n";
const WRONG: &[(&str, &str)] = &[
    ("command = [\"a\"]", "4:1: an app has either a 'command'"),
    (
        "env = { A = 1 }",
        "4:1: 'env' has no place here; it goes into an app with a 'command'",
    ),
    ("restart = \"never\"", "4:1: 'restart' has no place here"),
    ("health = \"http:/\"", "4:1: 'health' has no place here"),
    (
        "chekc = \"tcp\"",
        "4:1: there is no key 'chekc'; did you mean 'check'?",
    ),
    (
        "metrics = 1",
        "4:1: 'metrics' has no place here; it goes at the top",
    ),
    (
        "balance = \"idle\"",
        "4:11: 'balance' cannot be \"idle\": it takes round-robin,",
    ),
    (
        "check = \"ftp\"",
        "4:9: 'check' cannot be \"ftp\": it takes tcp",
    ),
    (
        "check = true",
        "4:9: 'check' cannot be true: it takes \"tcp\"",
    ),
    ("rise = 2", "4:8: 'rise' means nothing without 'check'"),
    ("eject-share = 101", "4:15: 'eject-share' cannot be 101"),
    (
        "lifetime = \"never\"",
        "4:12: 'lifetime' cannot be \"never\"",
    ),
    ("keepalive = 0", "4:13: 'keepalive' cannot be 0"),
    (
        "send-proxy = \"v3\"",
        "4:14: 'send-proxy' cannot be \"v3\": it takes v1 or v2",
    ),
    (
        "trusted-proxies = \"10.0.0.0/8\"",
        "4:19: 'trusted-proxies' means nothing here",
    ),
    (
        "proxy-protocol = true",
        "4:18: 'proxy-protocol' needs 'trusted-proxies'",
    ),
    (
        "zzz = 1",
        "4:1: there is no key 'zzz'; the keys are the long options of 'forkfront proxy",
    ),
];

#[test]
fn what_is_wrong_is_said_at_its_place() {
    for (line, part) in WRONG {
        let said = wrong(&format!("{BEGIN}{line}\n"));
        assert!(
            said.len() == 1 && said[0].contains(part),
            "{line}: {said:?}"
        );
    }
    for (app, part) in [
        ("to = []\nlisten = 1", "2:6: 'to' names no backend"),
        (
            "to = 5432\nlisten = 1",
            "2:6: 'to' cannot be 5432: the host is missing",
        ),
        (
            "to = true\nlisten = 1",
            "2:6: 'to' cannot be true: it takes a backend",
        ),
        ("to = \"a:1\"", "2:6: this app has no 'listen'"),
        (
            "to = [\"a:1\", \"b:0\"]\nlisten = 1",
            "2:14: 'to' cannot be \"b:0\": no server has port 0",
        ),
        (
            "to = [\"a:1\", \"A:1@2\"]\nlisten = 1",
            "2:14: the backend a:1 is given twice",
        ),
        (
            "to = \"a:1\"\nlisten = \"80=81\"",
            "3:10: 'listen' cannot be \"80=81\": a proxy has no port",
        ),
        (
            "command = [\"a\"]\ncheck = \"tcp\"",
            "3:1: 'check' has no place here; it goes into an app with 'to'",
        ),
        ("name = \"a\"", "1:1: this app has no 'command'"),
    ] {
        let said = wrong(&format!("[[app]]\n{app}\n"));
        assert!(said.len() == 1 && said[0].contains(part), "{app}: {said:?}");
    }
}
