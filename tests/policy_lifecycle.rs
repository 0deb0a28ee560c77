//! Walks every cell of the table in `policy/lifecycle.rs`, and random lives through it.

use std::time::Duration;

use forkfront::policy::deadlines::Moment;
use forkfront::policy::lifecycle::{Action, End, Event, Patience, State, Why};

use Action::{Admit, Evict, Kill, Terminate, Unkillable};

const NOW: Moment = Moment(Duration::from_secs(100));
const PATIENCE: Patience = Patience {
    grace: Duration::from_secs(10),
    kill: Duration::from_secs(5),
};

fn starting() -> State {
    State::Starting {
        ready_by: Moment(Duration::from_secs(90)),
    }
}

/// Draining since a while, so that a fresh deadline would show.
fn draining(why: Why) -> State {
    State::Draining {
        why,
        until: Moment(Duration::from_secs(104)),
    }
}

fn drained_from_now(why: Why) -> State {
    State::Draining {
        why,
        until: NOW + PATIENCE.grace,
    }
}

fn killing(why: Why) -> State {
    State::Killing {
        why,
        again_at: Moment(Duration::from_secs(101)),
    }
}

fn killed_from_now(why: Why) -> State {
    State::Killing {
        why,
        again_at: NOW + PATIENCE.kill,
    }
}

/// One row: a state, and for each event in the table's order what must come of it.
type Row = (State, [(State, &'static [Action]); 7]);

fn columns() -> [Event; 7] {
    [
        Event::ReadyReport,
        Event::ChannelTrouble,
        Event::Deadline,
        Event::Drain(Why::Stop),
        Event::KillNow(Why::Stop),
        Event::Exited { success: false },
        Event::Exited { success: true },
    ]
}

fn table() -> Vec<Row> {
    let gone = State::Gone;
    let dead = gone(End::Crashed);
    vec![
        (
            starting(),
            [
                (State::Ready, &[Admit]),
                (killed_from_now(Why::Broken), &[Kill]),
                (killed_from_now(Why::Late), &[Kill]),
                (drained_from_now(Why::Stop), &[Terminate]),
                (killed_from_now(Why::Stop), &[Kill]),
                (gone(End::Early), &[]),
                (gone(End::Early), &[]),
            ],
        ),
        (
            State::Ready,
            [
                (State::Ready, &[]),
                (drained_from_now(Why::Broken), &[Evict, Terminate]),
                (State::Ready, &[]),
                (drained_from_now(Why::Stop), &[Evict, Terminate]),
                (killed_from_now(Why::Stop), &[Evict, Kill]),
                (gone(End::Crashed), &[Evict]),
                (gone(End::Finished), &[Evict]),
            ],
        ),
        (
            draining(Why::Broken),
            [
                (draining(Why::Broken), &[]),
                (draining(Why::Broken), &[]),
                (killed_from_now(Why::Broken), &[Kill]),
                (draining(Why::Stop), &[]),
                (killed_from_now(Why::Stop), &[Kill]),
                (gone(End::Drained(Why::Broken)), &[]),
                (gone(End::Drained(Why::Broken)), &[]),
            ],
        ),
        (
            killing(Why::Late),
            [
                (killing(Why::Late), &[]),
                (killing(Why::Late), &[]),
                (killed_from_now(Why::Late), &[Kill, Unkillable]),
                (killing(Why::Late), &[]),
                (killing(Why::Late), &[]),
                (gone(End::Killed(Why::Late)), &[]),
                (gone(End::Killed(Why::Late)), &[]),
            ],
        ),
        (
            dead,
            [
                (dead, &[]),
                (dead, &[]),
                (dead, &[]),
                (dead, &[]),
                (dead, &[]),
                (dead, &[]),
                (dead, &[]),
            ],
        ),
    ]
}

#[test]
fn every_cell_of_the_table() {
    for (state, row) in table() {
        for (event, expected) in columns().into_iter().zip(row) {
            let got = state.after(event, NOW, PATIENCE);
            assert_eq!(got, expected, "{state:?} and then {event:?}");
        }
    }
}

#[test]
fn the_stronger_reason_to_go_wins() {
    let (state, actions) = draining(Why::Stop).after(Event::Drain(Why::Broken), NOW, PATIENCE);
    assert_eq!((state, actions), (draining(Why::Stop), &[][..]));
}

/// xorshift64: the walks must be the same on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }
}

#[test]
fn random_lives_keep_their_promises() {
    for seed in 1..=2_000u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut now = NOW;
        let mut state = starting();
        let (mut admitted, mut evicted, mut killed, mut told) = (0, 0, false, false);
        for _ in 0..20 {
            now = now + Duration::from_millis(dice.roll(20_000) as u64);
            let event = columns()[dice.roll(7)];
            let (next, actions) = state.after(event, now, PATIENCE);
            for action in actions {
                match action {
                    Admit => admitted += 1,
                    Evict => evicted += 1,
                    Kill => killed = true,
                    Terminate => {
                        assert!(!killed, "SIGTERM after SIGKILL, seed {seed}");
                        assert!(!told, "SIGTERM twice, seed {seed}");
                        told = true;
                    }
                    Unkillable => assert!(killed, "seed {seed}"),
                }
            }
            let admitted_now = admitted - evicted == 1;
            assert_eq!(
                admitted_now,
                next == State::Ready,
                "dealt to exactly while ready, seed {seed}: {state:?} {event:?} {next:?}"
            );
            if let State::Gone(_) = state {
                assert_eq!((next, actions), (state, &[][..]), "death is final");
            }
            if let Some(at) = next.deadline()
                && next != state
                && !matches!(next, State::Draining { .. } if told)
            {
                assert!(at > now, "a fresh deadline lies ahead, seed {seed}");
            }
            state = next;
        }
    }
}
