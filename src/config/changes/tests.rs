//! Every key, changed by itself: what is done for it. Then apps and listeners that come and go.

use super::*;
use crate::config::{
    Balance, Health, Identity, Limits, Orphans, Probe, Restart, RestartWhen, StickyDown,
};

fn app(name: &str, listen: &[&str]) -> AppConfig {
    AppConfig {
        name: name.into(),
        listen: listen.iter().map(|words| words.parse().unwrap()).collect(),
        ..AppConfig::new(vec!["server".into(), name.into()])
    }
}

fn config(apps: Vec<AppConfig>) -> Config {
    Config {
        apps,
        ..Config::new(app("none", &[]))
    }
}

/// What changes in `app` when it becomes `to`.
fn of(from: &AppConfig, to: &AppConfig) -> Result<Option<Change>, Vec<String>> {
    let old = config(vec![from.clone()]);
    let changes = Changes::between(&old, &config(vec![to.clone()]))?;
    assert!(changes.added.is_empty() && changes.removed.is_empty());
    Ok(changes.changed.into_iter().next())
}

fn user(uid: u32) -> Identity {
    Identity {
        uid,
        gid: uid,
        groups: Vec::new(),
        user: None,
        home: None,
    }
}

type Edit = fn(&mut AppConfig);

#[test]
fn what_is_read_when_needed_is_only_put_in_its_place() {
    let edits: [(&str, Edit); 9] = [
        ("name", |app| app.name = "other".into()),
        ("ready-timeout", |app| app.ready_timeout *= 2),
        ("drain-timeout", |app| app.drain_timeout *= 2),
        ("grace", |app| app.grace *= 2),
        ("reload-parallel", |app| app.reload_parallel += 1),
        ("max-old", |app| app.max_old += 1),
        ("restart", |app| {
            app.restart = Restart {
                when: RestartWhen::Never,
                ..Default::default()
            }
        }),
        ("limits", |app| {
            app.limits = Limits {
                max_connections: Some(1),
                ..Default::default()
            }
        }),
        ("health", |app| {
            app.health = Some(Health::new(Probe::Http("/".into())))
        }),
    ];
    for (key, edit) in edits {
        let from = app("web", &["80"]);
        let mut to = from.clone();
        edit(&mut to);
        let change = of(&from, &to).unwrap().unwrap();
        assert_eq!(change.keys, [key]);
        assert_eq!((change.app.as_str(), &change.to), ("web", &to));
        assert!(
            change.live.is_empty() && change.renew.is_empty(),
            "{change:?}"
        );
    }
}

#[test]
fn what_a_process_gets_at_its_start_needs_a_new_one() {
    let edits: [(&str, Edit); 6] = [
        ("command", |app| app.command.push("-v".into())),
        ("env", |app| app.env.push(("A".into(), "b".into()))),
        ("cwd", |app| app.cwd = Some("/srv".into())),
        ("user", |app| app.identity = Some(user(0))),
        ("orphans", |app| app.orphans = Orphans::Kill),
        ("pin", |app| app.speed.pin = true),
    ];
    for (key, edit) in edits {
        let from = app("web", &["80"]);
        let mut to = from.clone();
        edit(&mut to);
        let change = of(&from, &to).unwrap().unwrap();
        assert_eq!(
            (change.keys.as_slice(), change.renew.as_slice()),
            (&[key][..], &[key][..])
        );
        assert!(change.live.is_empty(), "{change:?}");
    }
}

#[test]
fn what_changes_at_once() {
    let sticky = "ip/24".parse().ok();
    let policy = |balance, sticky| Live::Routing {
        from: Routing::default(),
        to: Routing {
            balance,
            sticky,
            ..Routing::default()
        },
    };
    let bounds = |max_held, millis| Live::Bounds {
        max_held,
        steal_after: Duration::from_millis(millis),
    };
    let edits: [(&[&str], Edit, Vec<Live>); 9] = [
        (&["workers"], |app| app.workers = 7, vec![Live::Scale(7)]),
        (
            &["backlog"],
            |app| app.backlog = Some(5),
            vec![Live::Backlog(Some(5))],
        ),
        (
            &["gather-max"],
            |app| app.speed.gather_max = Duration::ZERO,
            vec![Live::Gather(Duration::ZERO)],
        ),
        (
            &["defer-accept"],
            |app| app.speed.defer_accept = Some(Duration::from_secs(3)),
            vec![Live::DeferAccept(Some(Duration::from_secs(3)))],
        ),
        (
            &["balance"],
            |app| app.routing.balance = Balance::Idle,
            vec![policy(Balance::Idle, None)],
        ),
        (
            &["sticky"],
            |app| app.routing.sticky = "ip/24".parse().ok(),
            vec![policy(Balance::RoundRobin, sticky.clone())],
        ),
        (
            &["balance", "sticky"],
            |app| {
                app.routing.balance = Balance::Idle;
                app.routing.sticky = "ip/24".parse().ok();
            },
            vec![policy(Balance::Idle, sticky)],
        ),
        (&["max-held"], |app| app.max_held = 3, vec![bounds(3, 100)]),
        (
            &["max-held", "steal-after"],
            |app| {
                app.max_held = 3;
                app.steal_after = Duration::from_secs(1);
            },
            vec![bounds(3, 1000)],
        ),
    ];
    for (keys, edit, live) in edits {
        let from = app("web", &["80"]);
        let mut to = from.clone();
        edit(&mut to);
        let change = of(&from, &to).unwrap().unwrap();
        assert_eq!((change.keys.as_slice(), &change.live), (keys, &live));
        assert!(change.renew.is_empty(), "{change:?}");
    }
}

#[test]
fn every_part_of_the_routing_changes_at_once() {
    type Edit = fn(&mut Routing);
    let edits: [(&str, Edit); 8] = [
        ("sticky-down", |to| to.sticky_down = StickyDown::Hold),
        ("sticky-bound", |to| to.sticky_bound = "1.5".parse().ok()),
        ("websocket-sticky", |to| to.websocket_sticky = true),
        ("proxy-protocol", |to| to.proxy_protocol = true),
        ("header-complete", |to| to.header_complete = true),
        ("trusted-proxies", |to| {
            to.trusted_proxies = "::1".parse().unwrap()
        }),
        ("peek-timeout", |to| to.peek_timeout *= 2),
        ("max-peeked", |to| to.max_peeked = 1),
    ];
    for (key, edit) in edits {
        let from = app("web", &["80"]);
        let mut to = from.clone();
        edit(&mut to.routing);
        let change = of(&from, &to).unwrap().unwrap();
        assert_eq!(change.keys, [key]);
        let live = Live::Routing {
            from: from.routing.clone(),
            to: to.routing.clone(),
        };
        assert_eq!((change.live, change.renew.len()), (vec![live], 0), "{key}");
        // What was set by hand stays where the file has not changed.
        let by_hand = Routing {
            balance: Balance::Idle,
            sticky: "cookie:a".parse().ok(),
            ..from.routing.clone()
        };
        let mut expected = by_hand.clone();
        edit(&mut expected);
        assert_eq!(by_hand.changed(&from.routing, &to.routing), expected);
    }
    let from = Routing::default();
    let to = Routing {
        balance: Balance::Idle,
        sticky: "sni".parse().ok(),
        ..Routing::default()
    };
    assert_eq!(from.changed(&from, &to), to);
    assert_eq!(to.changed(&to, &from), from);
    // Except where it is against what the file says now.
    let websockets = Routing {
        websocket_sticky: true,
        ..Routing::default()
    };
    assert_eq!(to.changed(&from, &websockets), websockets);
}

#[test]
fn nothing_is_nothing() {
    let from = config(vec![app("web", &["80"]), app("api", &[])]);
    let changes = Changes::between(&from, &from.clone()).unwrap();
    assert!(changes.is_empty() && changes.lines().is_empty());
    let turned = config(vec![app("api", &[]), app("web", &["80"])]);
    assert!(Changes::between(&from, &turned).unwrap().is_empty());
}

#[test]
fn listeners_come_and_go() {
    let at = |words: &str| words.parse::<Listen>().unwrap().at;
    let open = |words: &str| Live::Open(words.parse().unwrap());
    type Row = (
        &'static [&'static str],
        &'static [&'static str],
        Vec<Live>,
        bool,
    );
    let table: [Row; 6] = [
        // Another way to the same port of the server: no worker learns of it.
        (
            &["80=1"],
            &["80=1", "unix:/a=1"],
            vec![open("unix:/a=1")],
            false,
        ),
        (
            &["80=1"],
            &["80=1", "unix:/a"],
            vec![open("unix:/a")],
            false,
        ),
        // Another port of the server: its bind has to be answered.
        (&["80"], &["80", "81"], vec![open("81")], true),
        (&["80", "81"], &["80"], vec![Live::Close(at("81"))], false),
        (
            &["80"],
            &["81"],
            vec![open("81"), Live::Close(at("80"))],
            true,
        ),
        (
            &["80=1"],
            &["81=1"],
            vec![open("81=1"), Live::Close(at("80"))],
            false,
        ),
    ];
    for (from, to, live, renew) in table {
        let change = of(&app("web", from), &app("web", to)).unwrap().unwrap();
        assert_eq!(change.live, live, "{from:?} {to:?}");
        assert_eq!(!change.renew.is_empty(), renew, "{from:?} {to:?}");
    }
    let change = of(&app("web", &["80", "81"]), &app("web", &["81", "80"]));
    assert_eq!(change.unwrap().unwrap().live, []);
}

#[test]
fn what_cannot_change_is_said() {
    let kernel = |listen: &[&str]| AppConfig {
        routing: Routing {
            balance: Balance::Kernel,
            ..Routing::default()
        },
        ..app("web", listen)
    };
    let table = [
        (
            app("web", &["80"]),
            kernel(&["80"]),
            "to or from \"kernel\"",
        ),
        (
            kernel(&["80"]),
            app("web", &["80"]),
            "to or from \"kernel\"",
        ),
        (
            kernel(&["80", "81"]),
            kernel(&["80"]),
            "81 cannot be closed",
        ),
        (app("web", &["80"]), app("web", &[]), "names its listeners"),
        (app("web", &[]), app("web", &["80"]), "names its listeners"),
        (
            app("web", &["80=1"]),
            app("web", &["80=2"]),
            "behind 80 cannot change",
        ),
        (
            app("web", &["80"]),
            app("web", &["127.0.0.1:80"]),
            "while app 'web' has 80",
        ),
    ];
    for (from, to, part) in table {
        let fixed = of(&from, &to).unwrap_err();
        assert!(
            fixed.len() == 1 && fixed[0].contains(part),
            "{part}: {fixed:?}"
        );
    }
    let old = config(vec![app("web", &["80"])]);
    let mut new = old.clone();
    (new.name, new.control) = (Some("a".into()), Some("/a".into()));
    let fixed = Changes::between(&old, &new).unwrap_err();
    assert!(
        fixed[0].contains("'name'") && fixed[1].contains("'control'"),
        "{fixed:?}"
    );
}

#[test]
fn nobody_new_is_let_into_the_run_directory() {
    let as_user = |name: &str, uid: u32| AppConfig {
        identity: Some(user(uid)),
        ..app(name, &[])
    };
    let old = config(vec![as_user("a", 33), app("b", &[])]);
    let known = config(vec![as_user("a", 33), as_user("b", 33), as_user("c", 33)]);
    assert!(Changes::between(&old, &known).is_ok());
    let strange = config(vec![as_user("a", 34), app("b", &[]), as_user("c", 35)]);
    let fixed = Changes::between(&old, &strange).unwrap_err();
    assert_eq!(fixed.len(), 2, "{fixed:?}");
    assert!(fixed[0].contains("app 'a': 'user'"), "{fixed:?}");
}

#[test]
fn apps_come_and_go() {
    let old = config(vec![app("web", &["80"]), app("api", &[])]);
    let mut new = config(vec![app("web", &["80"]), app("job", &["81"])]);
    new.apps[0].workers = 3;
    new.log_level = LevelFilter::Debug;
    let changes = Changes::between(&old, &new).unwrap();
    assert_eq!(changes.added, [app("job", &["81"])]);
    assert_eq!(changes.removed, ["api"]);
    assert_eq!(
        changes.lines(),
        [
            "log-level debug",
            "app 'job' is new",
            "app 'web': workers",
            "app 'api' goes"
        ]
    );
    let new = config(vec![app("web", &["80"]), app("job", &["127.0.0.1:80"])]);
    let fixed = Changes::between(&old, &new).unwrap_err();
    assert!(fixed[0].contains("'job' cannot listen on 127.0.0.1:80 while app 'web' has 80"));
}

#[test]
fn another_name_is_no_other_app() {
    let rename = |from: AppConfig, to: &str| {
        let renamed = AppConfig {
            name: to.into(),
            ..from.clone()
        };
        let old = config(vec![from]);
        let new = config(vec![renamed, app("second", &["90"])]);
        let changes = Changes::between(&old, &new).unwrap();
        assert_eq!(changes.removed, [""; 0]);
        assert_eq!(changes.added, [app("second", &["90"])]);
        assert_eq!(changes.changed[0].keys, ["name"]);
    };
    rename(app("app", &["80"]), "web");
    rename(app("app", &[]), "web");
    // Names that change places are other apps.
    let old = config(vec![app("a", &["80"]), app("b", &["81"])]);
    let new = config(vec![app("a", &["81"]), app("b", &["80"])]);
    assert_eq!(Changes::between(&old, &new).unwrap_err().len(), 2);
}
