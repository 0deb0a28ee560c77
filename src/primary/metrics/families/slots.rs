//! What there is to scrape of each slot.

use super::super::exposition::{Kind, Text};
use super::super::tally::{Counted, Waits};
use super::Scrape;
use crate::scoreboard::bucket_floor;
use crate::status::{SlotState, SlotStatus};

use Kind::{Counter, Gauge, Histogram};

/// Bounds of the histogram of waits, µs: each is the floor of a bucket of the scoreboard, so nothing is guessed.
/// A wait of exactly the bound is counted above it, half a microsecond off what Prometheus means.
const BOUNDS_US: [u64; 16] = [
    16,
    64,
    256,
    1 << 10,
    1 << 11,
    1 << 12,
    1 << 13,
    1 << 14,
    1 << 15,
    1 << 16,
    1 << 17,
    1 << 18,
    1 << 19,
    1 << 20,
    1 << 22,
    1 << 24,
];

/// Writes them.
pub fn families(scrape: &Scrape<'_>, text: &mut Text) {
    state(scrape, text);
    connections(scrape, text);
    usage(scrape, text);
    waits(scrape, text);
}

/// What of a slot is a sample.
type Value = fn(&SlotStatus, &Counted) -> f64;

fn family(
    scrape: &Scrape<'_>,
    text: &mut Text,
    (name, kind, help): (&'static str, Kind, &str),
    value: Value,
) {
    text.family(name, kind, help);
    for (slot, counted) in scrape.status.slots.iter().zip(&scrape.counted) {
        text.sample(&labels(slot, &slot.slot.to_string()), value(slot, counted));
    }
}

fn state(scrape: &Scrape<'_>, text: &mut Text) {
    let mut each = |name, kind, help, value: Value| family(scrape, text, (name, kind, help), value);
    each(
        "forkfront_slot_ready",
        Gauge,
        "1 while the worker of the slot takes connections.",
        |slot, _| f64::from(u8::from(slot.state == SlotState::Ready)),
    );
    each(
        "forkfront_slot_weight",
        Gauge,
        "What the slot gets compared with others.",
        |slot, _| f64::from(slot.weight),
    );
    each(
        "forkfront_slot_generation",
        Gauge,
        "Generation of the worker of the slot.",
        |slot, _| f64::from(slot.generation),
    );
    each(
        "forkfront_slot_restarts_total",
        Counter,
        "Workers started in the slot beyond the first.",
        |slot, _| slot.restarts as f64,
    );
    each(
        "forkfront_slot_crashes_total",
        Counter,
        "Workers of the slot that ended unasked or did not react.",
        |slot, _| slot.crashes as f64,
    );
}

fn connections(scrape: &Scrape<'_>, text: &mut Text) {
    let mut each = |name, kind, help, value: Value| family(scrape, text, (name, kind, help), value);
    each(
        "forkfront_slot_handed_over_total",
        Counter,
        "Connections handed to the slot, each time.",
        |slot, _| slot.dealt.saturating_add(slot.read_back) as f64,
    );
    each(
        "forkfront_slot_read_back_total",
        Counter,
        "Connections taken back from the slot.",
        |slot, _| slot.read_back as f64,
    );
    each(
        "forkfront_slot_accepted_total",
        Counter,
        "Connections that the servers in the slot have accepted.",
        |_, counted| counted.accepted as f64,
    );
    each(
        "forkfront_slot_open_connections",
        Gauge,
        "Connections that the worker of the slot holds open.",
        |slot, _| slot.open as f64,
    );
    each(
        "forkfront_slot_queued_connections",
        Gauge,
        "Connections handed to the slot and not yet accepted there.",
        |slot, _| slot.queued as f64,
    );
}

fn usage(scrape: &Scrape<'_>, text: &mut Text) {
    let mut each = |name, kind, help, value: Value| family(scrape, text, (name, kind, help), value);
    each(
        "forkfront_slot_resident_memory_bytes",
        Gauge,
        "Resident memory of all processes of the worker.",
        |slot, _| slot.rss_bytes as f64,
    );
    each(
        "forkfront_slot_cpu_seconds_total",
        Counter,
        "Processor time of the workers of the slot, as far as it was seen by scrapes and other looks.",
        |_, counted| counted.cpu_s,
    );
    each(
        "forkfront_slot_worker_uptime_seconds",
        Gauge,
        "Time since the worker of the slot was started.",
        |slot, _| slot.uptime_s,
    );
}

fn waits(scrape: &Scrape<'_>, text: &mut Text) {
    text.family(
        "forkfront_slot_queue_wait_seconds",
        Histogram,
        "Time from the primary's accept of a connection to that of the server, of all workers of the slot.",
    );
    for (slot, counted) in scrape.status.slots.iter().zip(&scrape.counted) {
        let (bounds, count) = cumulated(&counted.waits);
        let sum = counted.waits.sum_us as f64 / 1e6;
        text.histogram(&labels(slot, &slot.slot.to_string()), &bounds, count, sum);
    }
}

fn labels<'a>(slot: &'a SlotStatus, number: &'a str) -> [(&'a str, &'a str); 2] {
    [("app", &slot.app), ("slot", number)]
}

/// How many waits were below each bound, in seconds, and how many there were.
fn cumulated(waits: &Waits) -> (Vec<(f64, u64)>, u64) {
    let mut bounds = Vec::with_capacity(BOUNDS_US.len());
    let mut below = 0u64;
    let mut next = 0;
    for bound in BOUNDS_US {
        while next < waits.buckets.len() && bucket_floor(next) < bound {
            below = below.saturating_add(waits.buckets[next]);
            next += 1;
        }
        bounds.push((bound as f64 / 1e6, below));
    }
    let above = waits.buckets[next.min(waits.buckets.len())..].iter();
    (
        bounds,
        above.fold(below, |sum, count| sum.saturating_add(*count)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scoreboard::{BUCKETS, bucket};

    #[test]
    fn each_bound_is_the_floor_of_a_bucket() {
        for bound in BOUNDS_US {
            assert_eq!(bucket_floor(bucket(bound)), bound);
        }
    }

    #[test]
    fn waits_are_counted_up_to_each_bound() {
        let mut waits = Waits::default();
        for us in [0, 15, 16, 300, 1_000_000, 100_000_000] {
            waits.buckets[bucket(us)] += 1;
        }
        let (bounds, count) = cumulated(&waits);
        let below = |seconds: f64| {
            bounds
                .iter()
                .find(|(bound, _)| *bound == seconds)
                .unwrap()
                .1
        };
        assert_eq!((below(0.000016), below(0.000064)), (2, 3));
        assert_eq!((below(0.000512 * 2.0), below(1.048576)), (4, 5));
        assert_eq!((below(16.777216), count), (5, 6));
        waits.buckets = vec![u64::MAX; BUCKETS];
        let (bounds, count) = cumulated(&waits);
        assert_eq!((bounds[0].1, count), (u64::MAX, u64::MAX));
    }
}
