//! What a connection costs the dispatcher's thread, by the kernel's account of it: with 2 slots and with 64, with
//! stickiness, and with 50,000 connections that are open already. All are measured in turn, round by round; printed
//! are the medians and, round by round too, how they compare with the first.

#[path = "../tests/common/dealing.rs"]
mod dealing;

use std::time::Duration;

use dealing::Dealing;
use forkfront::config::Routing;

const ROUNDS: usize = 9;
const CLIENTS: u64 = 4;
const EACH: u64 = 1_500;
const OPEN: u64 = 50_000;

struct Case {
    name: String,
    dealing: Dealing,
    /// Nanoseconds for each connection, in each round.
    costs: Vec<f64>,
}

impl Case {
    fn new(name: &str, slots: usize, sticky: Option<&str>) -> Self {
        let routing = Routing {
            sticky: sticky.map(|key| key.parse().expect("a key")),
            ..Routing::default()
        };
        Self {
            name: name.to_owned(),
            dealing: Dealing::start(slots, routing),
            costs: Vec::new(),
        }
    }

    fn round(&mut self) {
        let before = self.dealing.cpu();
        self.dealing.visit(CLIENTS, EACH);
        let spent: Duration = self.dealing.cpu() - before;
        self.costs
            .push(spent.as_nanos() as f64 / (CLIENTS * EACH) as f64);
    }
}

fn main() {
    // What `cargo bench NAME` and `cargo test --benches` add means nothing here but that this is not asked.
    if std::env::args().any(|word| word == "--test") {
        return;
    }
    let files = forkfront::sys::limits::raise_open_files().expect("a limit");
    let mut cases = vec![
        Case::new("2 slots", 2, None),
        Case::new("8 slots", 8, None),
        Case::new("64 slots", 64, None),
        Case::new("64 slots, sticky by ip", 64, Some("ip")),
    ];
    // Both ends of each are in this process.
    let open = OPEN.min(files.now.saturating_sub(1000) / 2);
    let mut crowded = Case::new(&format!("2 slots, {open} open"), 2, None);
    crowded.dealing.hold(open);
    cases.push(crowded);
    cases.iter_mut().for_each(Case::round);
    cases.iter_mut().for_each(|case| case.costs.clear());
    for _ in 0..ROUNDS {
        cases.iter_mut().for_each(Case::round);
    }
    let first = cases[0].costs.clone();
    for case in &cases {
        let ratios = case
            .costs
            .iter()
            .zip(&first)
            .map(|(own, first)| own / first);
        println!(
            "{:24} {:7.0} ns of the dispatcher's CPU for a connection, {:.2} of the first",
            case.name,
            median(case.costs.clone()),
            median(ratios.collect())
        );
    }
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}
