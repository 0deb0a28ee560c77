//! What keys do to a running primary.

use forkfront::status::SlotState;

use super::*;

#[test]
fn slots_are_seen_restarted_scaled_and_drained_and_the_terminal_is_given_back() {
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 2, &[]);
    let before = balancer.workers();
    let mut screen = top(&balancer, 80, 24);
    let pids = [before[0].to_string(), before[1].to_string()];
    screen.shows(&[
        "2 of 2 workers ready",
        "LISTENER",
        &pids[0],
        &pids[1],
        "q quit",
    ]);
    assert!(screen.is_taken());
    ask(&site, 20);
    screen.shows(&["accepted     20"]);

    screen.types("jr");
    screen.shows(&["Restart slot 1?"]);
    screen.types("y");
    screen.shows(&["restart 1 done"]);
    let after = balancer.left();
    assert_eq!(after.slots[0].pid, Some(before[0]));
    let pid = after.slots[1].pid.filter(|&pid| pid != before[1]);
    screen.shows(&[&pid.expect("another worker").to_string()]);

    screen.types("+");
    screen.shows(&["scale +1 done", "3 of 3 workers ready"]);
    screen.types("dy");
    screen.shows(&["drain 1 done", "drained"]);
    balancer.until("it is drained", |status| {
        status.slots[1].state == SlotState::Drained
    });
    screen.types("u");
    screen.shows(&["resume 1 done", "3 of 3 workers ready"]);
    screen.types("-n");
    screen.hides("One worker less?");
    screen.types("-y");
    screen.shows(&["scale -1 done", "2 of 2 workers ready"]);
    screen.types("Ry");
    screen.shows(&["reload done", "generation 2"]);
    screen.types("m");
    screen.shows(&["Messages", "restart 1 done", "drain 1 done", "reload done"]);
    // The first closes what is open.
    screen.types("qq");
    assert_eq!(screen.ended(), Some(0));
    drop(screen);
    balancer.left();
    balancer.finish_as_it_is();
}

#[test]
fn a_change_that_fails_is_told_and_the_view_goes_on() {
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 1, &[]);
    let mut screen = top(&balancer, 80, 24);
    screen.shows(&["1 of 1 workers ready"]);
    screen.types("-y");
    screen.shows(&["scale -1 FAILED", "1 of 1 workers ready"]);
    screen.types("\x1b");
    screen.hides("FAILED");
    // Ctrl-C.
    screen.types("\x03");
    assert_eq!(screen.ended(), Some(0));
    drop(screen);
    balancer.finish();
}

/// So many connections, one after the other.
fn ask(site: &Site, connections: u64) {
    for id in 0..connections {
        common::ask(site.to(), id);
    }
}
