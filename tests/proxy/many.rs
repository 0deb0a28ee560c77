//! As many backends as there can be, and an app that gets another name.

use std::fs;

use super::*;
use forkfront::status::BackendState;

/// Places for backends.
const MOST: u32 = 512;

#[test]
fn there_are_as_many_as_there_are_places_and_one_more_is_refused_in_words() {
    let site = Site::new();
    let alive = Backends::tcp(&site, 1);
    let address = |n: u32| format!("{}:9", client(n));
    let others: Vec<String> = (1..MOST - 1).map(address).collect();
    let to = format!("{},{}", alive.to(""), others.join(","));
    let balancer = behind(&site, &to, &["--balance", "first"]);
    let backend = |deed: &str, n: u32| balancer.command(&["backend", deed, &address(n)]);
    backend("add", MOST).done();
    assert_eq!(balancer.status().backends.len(), MOST as usize);
    let full = ["there is no room for backend", "512 addresses is the most"];
    for _ in 0..2 {
        backend("add", MOST + 1).failed(1, &full);
    }
    // One that leaves keeps its place for a while, since sessions may still count on it.
    backend("remove", 1).done();
    backend("add", MOST + 1).failed(1, &["keeps its place for 30 s"]);
    let status = balancer.status();
    assert_eq!(status.backends.len(), MOST as usize - 1);
    assert!(
        status
            .backends
            .iter()
            .all(|one| one.state == BackendState::Up)
    );
    assert_eq!(come(&site, 1).greeted_by(), 0);
    let text = balancer.command(&["status"]).done().stdout;
    assert!(text.contains(": proxy to 511 backends\n"), "{text}");
    balancer.finish();
}

#[test]
fn an_app_that_gets_another_name_keeps_its_backends() {
    let site = Site::new();
    let backends = Backends::tcp(&site, 2);
    let metrics = nowhere(&site);
    let path = site.file("proxy.toml");
    let to: Vec<String> = backends.0.iter().map(|one| format!("\"{one}\"")).collect();
    let write = |name: &str| {
        let text = format!(
            "metrics = \"{metrics}\"\n[[app]]\nname = \"{name}\"\nlisten = \"{}\"\nto = [{}]\nworkers = 2\ncheck = \"tcp\"\n",
            site.bind(),
            to.join(", ")
        );
        fs::write(&path, text).expect("a file");
    };
    write("former");
    let file = path.display().to_string();
    let balancer = Balancer::start(&site, &["run", "--config", &file]);
    let mut stayed = stay(&site, 4);
    let before = balancer.status();
    write("later");
    balancer.reload().done();
    let after = balancer.until("it is called so", |status| status.apps[0].name == "later");
    let known = |status: &forkfront::status::Status| -> Vec<_> {
        let all = status.backends.iter();
        all.map(|one| (one.address.clone(), one.state, one.connects, one.open))
            .collect()
    };
    assert_eq!(known(&after), known(&before));
    assert!(after.backends.iter().all(|one| one.app == "later"));
    let text = balancer.command(&["status"]).done().stdout;
    assert!(text.contains("2 of 2 backends up"), "{text}");
    let (code, ready) = fetch(&format!("http://{metrics}/readyz"));
    assert_eq!(code, 200, "{ready}");
    assert!(ready.contains("2 of 2 backends up"), "{ready}");
    eventually("the metrics have it", || {
        let all = scraped(&fetch(&format!("http://{metrics}/metrics")).1);
        let up = |name: &str| {
            let label = format!("app=\"{name}\"");
            let is = |key: &str| key.starts_with("forkfront_backend_up") && key.contains(&label);
            all.iter()
                .filter(|(key, _)| is(key))
                .map(|(_, up)| *up)
                .sum()
        };
        ((up("later"), up("former")) == (2.0, 0.0)).then_some(())
    });
    for (client, _) in &mut stayed {
        client.send(b"still");
        assert_eq!(client.exactly(5), b"still");
    }
    drop(stayed);
    balancer.finish();
}
