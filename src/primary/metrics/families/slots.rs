//! What there is to scrape of each slot.

use super::super::exposition::{Kind, Text};
use super::super::tally::Counted;
use super::Scrape;
use super::waits::histogram;
use crate::status::{SlotState, SlotStatus};

use Kind::{Counter, Gauge, Histogram};

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
        let number = slot.slot.to_string();
        histogram(text, &labels(slot, &number), &counted.waits);
    }
}

fn labels<'a>(slot: &'a SlotStatus, number: &'a str) -> [(&'a str, &'a str); 2] {
    [("app", &slot.app), ("slot", number)]
}
