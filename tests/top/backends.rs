//! A proxy: its backends, one that dies, and keys for them.

use forkfront::status::BackendState;

use super::*;

#[test]
fn backends_are_seen_die_and_are_drained_and_resumed() {
    let site = Site::new();
    let mut upstreams = Upstream::start(&site, 2);
    let list = Upstream::list(&upstreams);
    let to = ["proxy", "-l", &site.bind(), "--to", &list, "-n", "1"].map(str::to_owned);
    let checks = ["--check", "tcp", "--check-interval", "100ms", "--rise", "1"];
    let words = [to.to_vec(), checks.map(str::to_owned).to_vec()].concat();
    let balancer = Balancer::start(&site, &words);
    let names = [upstreams[0].name(), upstreams[1].name()];
    let mut screen = top(&balancer, 80, 24);
    let all_up = "1 of 1 workers ready, 2 of 2 backends up, round-robin";
    screen.shows(&[
        "proxy to 2 backends",
        all_up,
        "SESS/S",
        &names[0],
        &names[1],
    ]);
    for id in 0..20 {
        common::ask(site.to(), id);
    }
    // How long connects took is known of those that got some.
    screen.until("sessions went to both", |text| {
        let has_time = |line: &str| line.ends_with(" us") || line.ends_with(" ms");
        names.iter().all(|name| {
            let mut lines = text.lines();
            lines.any(|line| line.starts_with(name.as_str()) && has_time(line))
        })
    });

    upstreams[0].kill();
    screen.shows(&["1 of 2 backends up", " down ", "its check found that"]);
    upstreams[0].revive();
    screen.shows(&[all_up]);

    // The first is selected; there is another one that is up.
    screen.types("d");
    screen.shows(&[&format!(
        "Drain backend {}? It gets no new sessions.",
        names[0]
    )]);
    screen.types("y");
    screen.shows(&["1 of 2 backends up", "drained ", "backend drain"]);
    balancer.until("it is drained", |status| {
        status.backends[0].state == BackendState::Drained
    });
    screen.types("u");
    screen.shows(&[all_up, "backend resume"]);
    screen.types("\tr");
    screen.shows(&["Restart slot 0?"]);
    screen.types("nq");
    assert_eq!(screen.ended(), Some(0));
    drop(screen);
    let text = balancer
        .command(&["top", "--interval", "100ms", "--once"])
        .done()
        .stdout;
    assert!(text.contains(&format!("\n{} ", names[1])), "{text}");
    balancer.finish();
}
