//! The slots of an app: a row for each, and below them why some are not ready.

use super::text::{bytes, count, count_in, line, micros, span, wrapped};
use super::{Section, dash, known, word};
use crate::status::{SlotState, SlotStatus};

/// Reasons that are told one by one.
const REASONS_SHOWN: usize = 12;

/// One row for each slot.
pub fn table(out: &mut String, section: &Section) {
    let counted = section.is_counted();
    let weights: Vec<u16> = section.slots.iter().map(|slot| slot.weight).collect();
    let weighed = counted && weights.windows(2).any(|pair| pair[0] != pair[1]);
    let dealt = if counted { "DEALT" } else { "TAKEN" };
    // There is room for one of the two.
    let second = if weighed { "WEIGHT" } else { "CRASHES" };
    let head = format!(
        "SLOT     PID STATE        UP  OPEN QUEUE    {dealt} {second:>8} MEMORY  CPU WAIT p99"
    );
    line(out, "");
    line(out, &head);
    for slot in &section.slots {
        let running = slot.pid.is_some();
        let dealt = if counted { slot.dealt } else { slot.accepted };
        let second = if weighed {
            slot.weight.to_string()
        } else {
            count_in(slot.crashes, 8)
        };
        let row = format!(
            "{:>4} {:>7} {:<8} {:>6} {:>5} {:>5} {:>8} {:>8} {:>6} {:>4} {:>8}",
            slot.slot,
            slot.pid.map_or_else(dash, |pid| pid.to_string()),
            word(&slot.state),
            known(running, span(slot.uptime_s)),
            count(slot.open),
            known(counted, count(slot.queued)),
            count_in(dealt, 8),
            second,
            known(running, bytes(slot.rss_bytes)),
            known(running, format!("{:.0}%", slot.cpu_percent)),
            known(counted && running, micros(slot.queue_wait_us.p99)),
        );
        line(out, &row);
    }
}

/// Why slots are not ready, a sentence for all that have the same reason.
pub fn reasons(out: &mut String, section: &Section) {
    let mut reasons: Vec<(String, Vec<u16>)> = Vec::new();
    for slot in &section.slots {
        let Some(why) = reason(slot) else { continue };
        match reasons.iter_mut().find(|(known, _)| *known == why) {
            Some((_, slots)) => slots.push(slot.slot),
            None => reasons.push((why, vec![slot.slot])),
        }
    }
    if reasons.is_empty() {
        return;
    }
    line(out, "");
    for (why, slots) in reasons.iter().take(REASONS_SHOWN) {
        let plural = if slots.len() > 1 { "s" } else { "" };
        wrapped(out, "", &format!("slot{plural} {}: {why}", ranges(slots)));
    }
    let more = reasons.len().saturating_sub(REASONS_SHOWN);
    if more > 0 {
        let slots = reasons.iter().skip(REASONS_SHOWN);
        let slots: usize = slots.map(|(_, slots)| slots.len()).sum();
        let words =
            format!("{slots} more slots are not ready, for {more} more reasons: --json has them");
        wrapped(out, "", &words);
    }
}

fn reason(slot: &SlotStatus) -> Option<String> {
    let said = slot.why.clone();
    said.or_else(|| {
        let words = match slot.state {
            SlotState::Ready => return None,
            SlotState::Starting => "has not listened yet",
            SlotState::Paused => "its server has closed its listening socket",
            SlotState::Drained => "drained; forkfront resume deals to it again",
            SlotState::Draining => "finishing what is open",
            SlotState::Leaving => "told to end",
            SlotState::Killing => "killed, since it did not end when it was told to",
            SlotState::Waiting => "waiting for its turn to start",
            SlotState::Failed | SlotState::Stopped => "has ended",
        };
        Some(words.to_owned())
    })
}

/// `0, 2-5, 9`: the slots in order.
fn ranges(slots: &[u16]) -> String {
    let mut parts: Vec<(u16, u16)> = Vec::new();
    for &slot in slots {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == slot => *last = slot,
            _ => parts.push((slot, slot)),
        }
    }
    let parts = parts.iter().map(|(first, last)| match last - first {
        0 => first.to_string(),
        1 => format!("{first}, {last}"),
        _ => format!("{first}-{last}"),
    });
    parts.collect::<Vec<_>>().join(", ")
}
