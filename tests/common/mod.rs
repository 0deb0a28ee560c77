//! The harness of the scenario tests: a place of its own per test ([`Site`]), the real binary
//! ([`Balancer`]), clients that account for every connection ([`ask`], [`Crowd`], [`Load`]) and the census
//! at the end of each scenario. Nothing here sleeps instead of waiting for a state: [`eventually`].
#![allow(
    dead_code,
    unused_imports,
    reason = "each scenario file is a crate of its own and uses a part"
)]

mod balancer;
mod browser;
mod census;
mod clients;
mod command;
mod echoes;
mod endless;
mod front;
mod hellos;
mod load;
mod nobody;
mod pairs;
mod place;
mod printers;
mod proxies;
mod random;
mod raw;
mod readme;
mod recipe;
mod scrape;
mod shells;
mod site;
mod sockets;
mod sums;
mod turns;
mod upstreams;
mod verbs;

pub use balancer::Balancer;
pub use browser::Browser;
pub use census::{
    children_in_state_z, cpu_ticks, cpu_ticks_of_all, descriptors, guests, marked, members_of,
    rss_kib, session_of,
};
pub use clients::{Answer, Client, Crowd, Outcome, Tally, address_of, ask, ask_from};
pub use command::{Begun, Finished, forkfront, run_to_end};
pub use echoes::{Echoes, Ended, Rush, Session};
pub use endless::Endless;
pub use front::Front;
pub use hellos::{PIECES, Said, certified, hellos};
pub use load::{Failure, Load, Mix, Report, unanswered};
pub use nobody::{NOBODY, as_nobody, nobody_can_use};
pub use pairs::{Deed, Pairs};
pub use place::{Dealer, Place, Preloaded};
pub use printers::{Printed, print, printers};
pub use proxies::{Visitor, proxy_v1, proxy_v2};
pub use random::Random;
pub use raw::{Keys, Raw, client, get, many_connections};
pub use readme::{readme, readme_text};
pub use recipe::{Recipe, kitchen, serve, serve_in, shell};
pub use scrape::{curl, fetch, only_up, scraped, sum};
pub use shells::slot_1_until;
pub use site::{Site, python, server};
pub use sockets::{Seen, Sockets, even, node_modules, slots_of, socketio_site, spread};
pub use sums::Sums;
pub use turns::{TURNS, in_turn, renewed, serves, slots};
pub use upstreams::{Upstream, cut_short};

use std::time::{Duration, Instant};

/// As long as anything may take on a busy two-core machine before a test calls it stuck.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Looks until `look` gives something, at most [`DEADLINE`].
#[track_caller]
pub fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(DEADLINE, what, look)
}

/// Looks until `look` gives something, at most `limit`.
#[track_caller]
pub fn within<T>(limit: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// As [`send`], to each of `pids`.
pub fn send_all(pids: &[u32], signal: nix::sys::signal::Signal) {
    pids.iter().for_each(|&pid| send(pid, signal));
}

/// Sends `signal` to `pid`; a process that is already gone is fine.
pub fn send(pid: u32, signal: nix::sys::signal::Signal) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).expect("a pid fits"));
    let _ = nix::sys::signal::kill(pid, signal);
}
