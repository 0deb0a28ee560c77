//! Two workers of one server, one connection after the other: strict turn; then new ones in their place.

use std::net::SocketAddr;

use super::{Balancer, DEADLINE, Load, Outcome, Site, ask};

/// Connections per server: enough to show the turn, few enough for the slowest of them.
pub const TURNS: u64 = 12;

/// Asks `TURNS` times, one after the other, and returns the slots that answered.
#[track_caller]
pub fn slots(balancer: &Balancer, to: SocketAddr) -> Vec<u16> {
    (0..TURNS)
        .map(|id| match ask(to, id) {
            Outcome::Ok(answer) => match answer.slot {
                Some(slot) => slot,
                None => balancer.slot_of(answer.pid).expect("a worker's process"),
            },
            other => panic!("{id}: {other:?}"),
        })
        .collect()
}

/// No slot twice in a row, both there.
#[track_caller]
pub fn in_turn(slots: &[u16]) {
    assert!(
        slots.windows(2).all(|two| two[0] != two[1]),
        "not in turn: {slots:?}"
    );
    assert!(slots.iter().all(|slot| *slot < 2), "two slots: {slots:?}");
}

/// Two workers of `command` at the site: ready, in turn at its address, renewed under load, census.
#[track_caller]
pub fn serves(site: &Site, command: &[&str]) {
    // A worker that listens before it takes, on a busy machine, keeps its turn.
    let mut words = vec!["run", "-n", "2", "--steal-after", "20s", "--"];
    words.extend(command);
    let balancer = Balancer::start(site, &words);
    in_turn(&slots(&balancer, site.to()));
    renewed(&balancer, site.to());
    balancer.finish();
}

/// A rolling reload while short connections come: none fails, and the former workers go.
#[track_caller]
pub fn renewed(balancer: &Balancer<'_>, to: SocketAddr) {
    let former = balancer.workers();
    let load = Load::start(to, 3, 1000, DEADLINE);
    load.proceed(20);
    balancer.reload().done();
    load.proceed(20);
    balancer.gone(&former);
    load.stop().smooth();
}
