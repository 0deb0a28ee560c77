//! What `status` says of stickiness: by what connections were dealt, and how even the slots are.

use crate::config::Routing;
use crate::primary::messages::SlotCounts;
use crate::status::Keys;

/// By what connections were dealt, if that is any question.
pub fn keys(routing: &Routing, counts: Keys) -> Option<Keys> {
    (routing.reads() || routing.key().is_some()).then_some(counts)
}

/// The busiest slot's connections against its fair share by weight, in thousandths, and how many they are in all:
/// of what was dealt since the slots last changed. `None` before the first.
pub fn evenness(slots: &[SlotCounts]) -> (Option<f64>, u64) {
    // What is drained gets no share.
    let slots: Vec<_> = slots.iter().filter(|slot| !slot.on_hold).collect();
    let all: u64 = slots.iter().map(|slot| slot.lately()).sum();
    let weights: u64 = slots.iter().map(|slot| u64::from(slot.weight)).sum();
    let weighed = slots.iter().filter(|slot| slot.weight > 0);
    let load = weighed.map(|slot| slot.lately() as f64 / f64::from(slot.weight));
    let busiest = load.fold(0.0, f64::max);
    let busiest = busiest * weights as f64 / all as f64;
    let known = all > 0;
    (known.then_some((busiest * 1000.0).round() / 1000.0), all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::KeysMissing;

    fn slots(slots: &[(u64, u16)]) -> Vec<SlotCounts> {
        let of = |&(dealt, weight): &(u64, u16)| SlotCounts {
            dealt,
            weight,
            ..SlotCounts::default()
        };
        slots.iter().map(of).collect()
    }

    #[test]
    fn the_busiest_against_its_share() {
        type Row = (&'static [(u64, u16)], Option<f64>);
        let table: [Row; 7] = [
            (&[], None),
            (&[(0, 100), (0, 100)], None),
            (&[(7, 100)], Some(1.0)),
            (&[(10, 100), (10, 100)], Some(1.0)),
            (&[(15, 100), (5, 100)], Some(1.5)),
            // Half of the weight, half of the connections.
            (&[(20, 100), (10, 50)], Some(1.0)),
            (&[(20, 100), (20, 50)], Some(1.5)),
        ];
        for (counts, expected) in table {
            assert_eq!(evenness(&slots(counts)).0, expected, "{counts:?}");
        }
        // One came when each of the others had a hundred.
        let mut counts = slots(&[(110, 100), (110, 100), (10, 100)]);
        (counts[0].before, counts[1].before) = (100, 100);
        assert_eq!(evenness(&counts), (Some(1.0), 30));
        // One that is drained counts for nothing.
        counts[2].on_hold = true;
        assert_eq!(evenness(&counts), (Some(1.0), 20));
    }

    #[test]
    fn keys_are_told_where_there_are_any() {
        let counts = Keys {
            reading: 1,
            fallback: KeysMissing {
                timed_out: 2,
                ..KeysMissing::default()
            },
            ..Keys::default()
        };
        let plain = Routing::default();
        assert_eq!(keys(&plain, counts), None);
        let shielded = Routing {
            header_complete: true,
            ..Routing::default()
        };
        let told = keys(&shielded, counts).unwrap();
        assert_eq!((told.reading, told.fallback.timed_out), (1, 2));
        let sticky = Routing {
            sticky: "ip".parse().ok(),
            ..Routing::default()
        };
        assert!(keys(&sticky, counts).is_some());
    }
}
