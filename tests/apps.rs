//! Several apps in one primary, from a file, and what reading it again changes (scenarios G16, G18).

mod common;

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use common::*;
use forkfront::status::{SlotState, Status};
use nix::sys::signal::Signal;

/// A configuration file at a site, and the ports of its apps.
struct Apps<'a> {
    site: &'a Site,
    file: PathBuf,
}

impl<'a> Apps<'a> {
    fn at(site: &'a Site) -> Self {
        let file = site.file("forkfront.toml");
        Self { site, file }
    }

    /// Writes the file: these blocks, whole or not at all.
    fn write(&self, blocks: &[String]) {
        let next = self.site.file("next.toml");
        fs::write(&next, blocks.join("\n")).expect("written");
        fs::rename(&next, &self.file).expect("renamed");
    }

    /// A block of `workers` node servers at `port`, with more `lines`.
    fn node(&self, name: &str, port: u16, workers: usize, lines: &str) -> String {
        let (host, http) = (&self.site.host, server("http.js"));
        format!(
            "[[app]]\nname = '{name}'\ncommand = ['node', '{http}']\nlisten = ['{host}:{port}']\nworkers = {workers}\n\
             env = {{ HOST = '{host}', PORT = '{port}', ON_TERM = 'close' }}\n{lines}\n"
        )
    }

    fn start(&self) -> Balancer<'a> {
        Balancer::start(
            self.site,
            &["run", "--config", &self.file.display().to_string()],
        )
    }

    fn to(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.site.to().ip(), port)
    }
}

/// Pids of the workers of `app`, by slot.
fn workers(status: &Status, app: &str) -> Vec<u32> {
    let slots = status.slots.iter().filter(|slot| slot.app == app);
    slots.map(|slot| slot.pid.expect("a worker")).collect()
}

#[test]
fn each_has_its_port_its_slots_and_its_name() {
    let site = Site::new();
    let (apps, ports) = (Apps::at(&site), site.ports(2));
    apps.write(&[
        apps.node("web", ports[0], 2, ""),
        apps.node("api", ports[1], 1, "balance = 'least-connections'"),
    ]);
    let balancer = apps.start();
    let loads = ports
        .iter()
        .map(|&port| Load::mixed(apps.to(port), Mix::CI, 1, DEADLINE));
    let loads: Vec<Load> = loads.collect();
    loads.iter().for_each(|load| load.proceed(100));
    let first = balancer.status();
    let (web, api) = (workers(&first, "web"), workers(&first, "api"));
    assert_eq!((web.len(), api.len()), (2, 1), "{first:#?}");
    let line = format!("[web:1 {}] up {}", web[1], web[1]);
    balancer.says(&line);
    balancer.command(&["restart", "web:1"]).done();
    let status = balancer.status();
    let now = workers(&status, "web");
    assert_eq!((now[0], workers(&status, "api")), (web[0], api.clone()));
    assert_ne!(now[1], web[1]);
    balancer.command(&["scale", "2", "--app", "api"]).done();
    let status = balancer.status();
    assert_eq!(
        (workers(&status, "web"), workers(&status, "api").len()),
        (now, 2)
    );
    balancer.command(&["reload", "--app", "api"]).done();
    let after = balancer.status();
    assert_eq!(workers(&after, "web"), workers(&status, "web"));
    assert_ne!(workers(&after, "api")[0], api[0]);
    // Of which app?
    for words in [
        &["restart", "0"][..],
        &["scale", "3"],
        &["restart", "www:0"],
    ] {
        balancer.command(words).failed(1, &["web", "api"]);
    }
    for (load, app) in loads.into_iter().zip(["web", "api"]) {
        let report = load.stop();
        report.smooth();
        let strangers = workers(&after, if app == "web" { "api" } else { "web" });
        let answered = report.tally.by_pid();
        assert!(
            strangers.iter().all(|pid| !answered.contains_key(pid)),
            "{app}: {answered:?}"
        );
    }
    balancer.finish_as_it_is();
}

#[test]
fn one_that_crashes_does_not_disturb_the_other() {
    let site = Site::new();
    let (apps, ports) = (Apps::at(&site), site.ports(2));
    let mended = site.file("mended");
    let broken = format!(
        "[[app]]\nname = 'api'\nworkers = 2\nlisten = '{}:{}'\nenv = {{ HOST = '{}', PORT = '{}' }}\n\
         command = ['sh', '-c', '[ -e {} ] || exit 3; exec node {}']\n",
        site.host,
        ports[1],
        site.host,
        ports[1],
        mended.display(),
        server("http.js")
    );
    apps.write(&[apps.node("web", ports[0], 2, ""), broken]);
    fs::write(&mended, "").expect("written");
    let balancer = apps.start();
    let web = workers(&balancer.status(), "web");
    let load = Load::mixed(apps.to(ports[0]), Mix::CI, 1, DEADLINE);
    fs::remove_file(&mended).expect("broken");
    send_all(&workers(&balancer.status(), "api"), Signal::SIGKILL);
    let failing = balancer.until("api fails again and again", |status| {
        let api = status.slots.iter().filter(|slot| slot.app == "api");
        api.map(|slot| slot.restarts).sum::<u64>() >= 5
    });
    // Its clients wait.
    let crowd = Crowd::gather(apps.to(ports[1]), 500..520);
    load.proceed(300);
    load.stop().smooth();
    assert_eq!(workers_now(&failing, "web"), web);
    fs::write(&mended, "").expect("mended");
    crowd.answers().all_answered(20);
    balancer.finish();
}

/// As [`workers`], of those that have one.
fn workers_now(status: &Status, app: &str) -> Vec<u32> {
    let slots = status.slots.iter().filter(|slot| slot.app == app);
    slots.filter_map(|slot| slot.pid).collect()
}

#[test]
fn a_file_adds_and_removes_apps_and_answers_everybody_at_a_port_that_goes() {
    // G16.
    let site = Site::new();
    let (apps, ports) = (Apps::at(&site), site.ports(3));
    let web = apps.node("web", ports[0], 2, "");
    let api = apps.node("api", ports[1], 1, "drain-timeout = '60s'");
    let new = apps.node("new", ports[2], 1, "");
    apps.write(&[web.clone(), api.clone()]);
    let balancer = apps.start();
    let load = Load::mixed(apps.to(ports[0]), Mix::CI, 1, DEADLINE);
    for round in 0..3 {
        apps.write(&[web.clone(), new.clone()]);
        // Its one worker stopped: what arrives waits in the queue and in the backlog while the app is removed.
        let stopped = workers(&balancer.status(), "api");
        send_all(&stopped, Signal::SIGSTOP);
        let crowd = Crowd::gather(apps.to(ports[1]), 1000..1300);
        balancer.reload().done();
        send_all(&stopped, Signal::SIGCONT);
        crowd.answers().all_answered(300);
        Crowd::gather(apps.to(ports[2]), 0..20)
            .answers()
            .all_answered(20);
        balancer.gone(&stopped);
        assert_eq!(ask(apps.to(ports[1]), 1), Outcome::Refused, "round {round}");
        apps.write(&[web.clone(), api.clone()]);
        balancer.signal(Signal::SIGHUP);
        balancer.until("the file is applied", |status| {
            let mut names = status.apps.iter().map(|app| app.name.as_str());
            status.operation.is_none() && names.all(|name| name != "new") && status.apps.len() == 2
        });
        Crowd::gather(apps.to(ports[1]), 0..20)
            .answers()
            .all_answered(20);
        load.proceed(50);
    }
    load.stop().smooth();
    balancer.left();
    balancer.finish();
}

#[test]
fn a_listener_is_added_and_removed_and_the_other_keeps_its_clients() {
    let site = Site::new();
    let (apps, ports) = (Apps::at(&site), site.ports(2));
    let one = apps.node("web", ports[0], 1, "");
    let first = format!("{}:{}", site.host, ports[0]);
    let second = format!("{}:{}={}", site.host, ports[1], ports[0]);
    let two = one.replace(
        &format!("listen = ['{first}']"),
        &format!("listen = ['{first}', '{second}']"),
    );
    assert_ne!(one, two);
    apps.write(std::slice::from_ref(&one));
    let balancer = apps.start();
    let load = Load::mixed(apps.to(ports[0]), Mix::CI, 1, DEADLINE);
    load.proceed(50);
    apps.write(&[two]);
    balancer.reload().done();
    Crowd::gather(apps.to(ports[1]), 0..20)
        .answers()
        .all_answered(20);
    // G16: whoever got in is answered, and nobody gets in after.
    apps.write(&[one]);
    let burst = Load::start(apps.to(ports[1]), 8, 100_000, DEADLINE);
    burst.proceed(100);
    let crowd = Crowd::gather(apps.to(ports[1]), 1000..1300);
    balancer.reload().done();
    assert_eq!(ask(apps.to(ports[1]), 1), Outcome::Refused);
    crowd.answers().all_answered(300);
    let report = burst.stop();
    let refused = |failure: &Failure| failure.outcome == Outcome::Refused;
    assert!(report.failures.iter().all(refused), "{:#?}", report.tally);
    load.proceed(50);
    load.stop().smooth();
    balancer.left();
    balancer.finish();
}

#[test]
fn an_invalid_file_changes_nothing() {
    // G18.
    let site = Site::new();
    let (apps, ports) = (Apps::at(&site), site.ports(2));
    let web = apps.node("web", ports[0], 2, "");
    apps.write(std::slice::from_ref(&web));
    let balancer = apps.start();
    let before = balancer.status();
    let load = Load::mixed(apps.to(ports[0]), Mix::CI, 1, DEADLINE);
    for (wrong, place) in [
        (web.replace("workers = 2", "workers = 'many'"), ":5:"),
        (web.replace("workers = 2", "wrokers = 2"), ":5:"),
        (web.replace("[[app]]", "[[app]"), ":1:"),
        (
            apps.node("web", ports[0], 2, "") + &apps.node("web", ports[1], 1, ""),
            "web",
        ),
    ] {
        apps.write(&[wrong]);
        balancer.reload().failed(1, &["forkfront.toml", place]);
        balancer.signal(Signal::SIGHUP);
    }
    load.proceed(100);
    let after = balancer.status();
    assert_eq!(after.generation, before.generation);
    assert_eq!(workers(&after, "web"), workers(&before, "web"));
    load.stop().smooth();
    balancer.finish();
}

#[test]
fn what_can_change_live_does_and_only_changed_apps_are_renewed() {
    let site = Site::new();
    let (apps, ports) = (Apps::at(&site), site.ports(2));
    let (web, api) = (ports[0], ports[1]);
    apps.write(&[apps.node("web", web, 2, ""), apps.node("api", api, 1, "")]);
    let balancer = apps.start();
    let load = Load::mixed(apps.to(web), Mix::CI, 1, DEADLINE);
    let before = balancer.status();
    // More workers, another policy: nobody has to go for it.
    apps.write(&[
        apps.node("web", web, 3, "balance = 'least-connections'"),
        apps.node("api", api, 1, ""),
    ]);
    balancer.command(&["reload", "--changes-only"]).done();
    let live = balancer.status();
    assert_eq!(workers(&live, "web")[..2], workers(&before, "web")[..]);
    assert_eq!(
        (live.slots.len(), workers(&live, "api")),
        (4, workers(&before, "api"))
    );
    balancer.until("the new slot is ready", |status| {
        let mut slots = status.slots.iter();
        slots.all(|slot| slot.state == SlotState::Ready)
    });
    let live = balancer.status();
    assert_eq!(
        live.apps[0].balance,
        forkfront::config::Balance::LeastConnections
    );
    // Another environment: new workers, of that app alone.
    let changed = apps
        .node("api", api, 1, "")
        .replace("ON_TERM", "RELEASE = 'two', ON_TERM");
    apps.write(&[
        apps.node("web", web, 3, "balance = 'least-connections'"),
        changed,
    ]);
    balancer.command(&["reload", "--changes-only"]).done();
    let renewed = balancer.status();
    assert_eq!(workers(&renewed, "web"), workers(&live, "web"));
    assert_ne!(workers(&renewed, "api"), workers(&live, "api"));
    let body = Client::asking(apps.to(api), 1, "release")
        .body()
        .expect("answered");
    assert!(body.starts_with("two "), "{body}");
    load.stop().smooth();
    balancer.left();
    balancer.finish_as_it_is();
}
