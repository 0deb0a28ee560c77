//! Walks every cell of the table in `policy/lifecycle.rs`, and random lives through it.

use std::time::Duration;

use forkfront::policy::deadlines::Moment;
use forkfront::policy::lifecycle::{Action, End, Event, Patience, State, Why};

use Action::{Abort, Admit, Evict, Kill, Terminate, Unkillable};

const NOW: Moment = at(100);
const PATIENCE: Patience = Patience {
    drain: Duration::from_secs(20),
    grace: Duration::from_secs(10),
    kill: Duration::from_secs(5),
};

const fn at(seconds: u64) -> Moment {
    Moment(Duration::from_secs(seconds))
}

/// A state since a while, whose deadline is no round number of seconds from now: a fresh one would show.
mod since_a_while {
    use super::{Moment, State, Why, at};

    pub const LATER: Moment = at(103);

    pub const fn starting() -> State {
        State::Starting { ready_by: LATER }
    }

    pub const fn draining(why: Why) -> State {
        State::Draining { why, until: LATER }
    }

    pub const fn leaving(why: Why) -> State {
        State::Leaving { why, until: LATER }
    }

    pub const fn killing(why: Why) -> State {
        let again_at = LATER;
        State::Killing { why, again_at }
    }
}

/// A state as it is entered now.
mod fresh {
    use super::{NOW, PATIENCE, State, Why};

    pub fn draining(why: Why) -> State {
        let until = NOW + PATIENCE.drain;
        State::Draining { why, until }
    }

    pub fn leaving(why: Why) -> State {
        let until = NOW + PATIENCE.grace;
        State::Leaving { why, until }
    }

    pub fn killing(why: Why) -> State {
        let again_at = NOW + PATIENCE.kill;
        State::Killing { why, again_at }
    }
}

const EVENTS: [Event; 10] = [
    Event::ReadyReport,
    Event::ChannelTrouble,
    Event::Deadline,
    Event::Drain(Why::Scaled),
    Event::Empty,
    Event::Hurry,
    Event::Abort,
    Event::KillNow(Why::Stop),
    Event::Exited { success: false },
    Event::Exited { success: true },
];

/// A state, and for each of [`EVENTS`] what must come of it.
type Row = (State, [(State, &'static [Action]); 10]);

fn living_rows() -> [Row; 2] {
    let starting = since_a_while::starting();
    [
        (
            starting,
            [
                (State::Ready, &[Admit]),
                (fresh::killing(Why::Broken), &[Kill]),
                (fresh::killing(Why::Late), &[Kill]),
                (fresh::leaving(Why::Scaled), &[Terminate]),
                (starting, &[]),
                (starting, &[]),
                (starting, &[]),
                (fresh::killing(Why::Stop), &[Kill]),
                (State::Gone(End::Early), &[]),
                (State::Gone(End::Early), &[]),
            ],
        ),
        (
            State::Ready,
            [
                (State::Ready, &[]),
                (fresh::draining(Why::Broken), &[Evict]),
                (State::Ready, &[]),
                (fresh::draining(Why::Scaled), &[Evict]),
                (State::Ready, &[]),
                (State::Ready, &[]),
                (fresh::leaving(Why::Hung), &[Evict, Abort]),
                (fresh::killing(Why::Stop), &[Evict, Kill]),
                (State::Gone(End::Crashed), &[Evict]),
                (State::Gone(End::Finished), &[Evict]),
            ],
        ),
    ]
}

fn going_rows() -> [Row; 4] {
    let (draining, leaving) = (since_a_while::draining, since_a_while::leaving);
    let killing = since_a_while::killing(Why::Late);
    let dead = State::Gone(End::Crashed);
    [
        (
            draining(Why::Replaced),
            [
                (draining(Why::Replaced), &[]),
                (draining(Why::Replaced), &[]),
                (fresh::leaving(Why::Replaced), &[Terminate]),
                (draining(Why::Scaled), &[]),
                (fresh::leaving(Why::Replaced), &[Terminate]),
                (fresh::leaving(Why::Replaced), &[Terminate]),
                (fresh::leaving(Why::Hung), &[Abort]),
                (fresh::killing(Why::Stop), &[Kill]),
                (State::Gone(End::Drained(Why::Replaced)), &[]),
                (State::Gone(End::Drained(Why::Replaced)), &[]),
            ],
        ),
        (
            leaving(Why::Hung),
            [
                (leaving(Why::Hung), &[]),
                (leaving(Why::Hung), &[]),
                (fresh::killing(Why::Hung), &[Kill]),
                (leaving(Why::Hung), &[]),
                (leaving(Why::Hung), &[]),
                (leaving(Why::Hung), &[]),
                (leaving(Why::Hung), &[]),
                (fresh::killing(Why::Stop), &[Kill]),
                (State::Gone(End::Drained(Why::Hung)), &[]),
                (State::Gone(End::Drained(Why::Hung)), &[]),
            ],
        ),
        (
            killing,
            [
                (killing, &[]),
                (killing, &[]),
                (fresh::killing(Why::Late), &[Kill, Unkillable]),
                (killing, &[]),
                (killing, &[]),
                (killing, &[]),
                (killing, &[]),
                (killing, &[]),
                (State::Gone(End::Killed(Why::Late)), &[]),
                (State::Gone(End::Killed(Why::Late)), &[]),
            ],
        ),
        (dead, [(dead, &[]); 10]),
    ]
}

#[test]
fn every_cell_of_the_table() {
    for (state, row) in living_rows().into_iter().chain(going_rows()) {
        for (event, expected) in EVENTS.into_iter().zip(row) {
            let got = state.after(event, NOW, PATIENCE);
            assert_eq!(got, expected, "{state:?} and then {event:?}");
        }
    }
}

#[test]
fn the_stronger_reason_to_go_wins() {
    let order = [
        Why::Late,
        Why::Broken,
        Why::Replaced,
        Why::Scaled,
        Why::Hung,
        Why::Stop,
    ];
    assert!(order.is_sorted());
    for one in order {
        for other in order {
            let stronger = one.max(other);
            for going in [since_a_while::draining, since_a_while::leaving] {
                let got = going(one).after(Event::Drain(other), NOW, PATIENCE);
                assert_eq!(got, (going(stronger), &[][..]));
                let killed = going(one).after(Event::KillNow(other), NOW, PATIENCE);
                assert_eq!(killed, (fresh::killing(stronger), &[Kill][..]));
            }
        }
    }
}

#[test]
fn who_drains_already_keeps_the_earlier_deadline() {
    let patient = State::Draining {
        why: Why::Replaced,
        until: at(3600),
    };
    let (state, actions) = patient.after(Event::Drain(Why::Stop), NOW, PATIENCE);
    assert_eq!((state, actions), (fresh::draining(Why::Stop), &[][..]));
}

/// Seeded: the walks must be the same on every machine.
struct Dice(oorandom::Rand64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0.rand_range(0..sides as u64) as usize
    }
}

/// What was done to a worker.
#[derive(Default)]
struct Done {
    admitted: u32,
    evicted: u32,
    told: bool,
    killed: bool,
}

impl Done {
    fn note(&mut self, action: Action, seed: u64) {
        match action {
            Admit => self.admitted += 1,
            Evict => self.evicted += 1,
            Kill => self.killed = true,
            Terminate => {
                assert!(!self.killed, "SIGTERM after SIGKILL, seed {seed}");
                assert!(!self.told, "told to go twice, seed {seed}");
                self.told = true;
            }
            Abort => {
                assert!(
                    !self.killed && !self.told,
                    "told to go already, seed {seed}"
                );
                self.told = true;
            }
            Unkillable => assert!(self.killed, "seed {seed}"),
        }
    }
}

#[test]
fn random_lives_keep_their_promises() {
    for seed in 1..=5_000u64 {
        let mut dice = Dice(oorandom::Rand64::new(seed.into()));
        let mut now = NOW;
        let mut state = since_a_while::starting();
        let mut done = Done::default();
        for _ in 0..20 {
            now = now + Duration::from_millis(dice.roll(20_000) as u64);
            let event = EVENTS[dice.roll(EVENTS.len())];
            let (next, actions) = state.after(event, now, PATIENCE);
            actions.iter().for_each(|&action| done.note(action, seed));
            let what = format!("seed {seed}: {state:?}, {event:?}, {next:?}");
            let dealt_to = done.admitted - done.evicted == 1;
            assert_eq!(
                dealt_to,
                next == State::Ready,
                "dealt to while ready, {what}"
            );
            let for_ever = matches!(next, State::Ready | State::Gone(_));
            assert_eq!(next.deadline().is_none(), for_ever, "{what}");
            if let State::Gone(_) = state {
                assert_eq!((next, actions), (state, &[][..]), "death is final");
            }
            if actions.first() == Some(&Kill)
                && matches!(state, State::Ready | State::Draining { .. })
            {
                assert!(matches!(event, Event::KillNow(_)), "first SIGTERM, {what}");
            }
            if let (Some(before), Some(after)) = (state.deadline(), next.deadline())
                && std::mem::discriminant(&state) == std::mem::discriminant(&next)
                && event != Event::Deadline
            {
                assert!(after <= before, "nobody is granted more time, {what}");
            }
            if matches!(event, Event::Exited { .. }) {
                assert!(matches!(next, State::Gone(_)), "{what}");
            }
            state = next;
        }
    }
}

#[test]
fn deadlines_alone_end_every_life_that_is_to_end() {
    let beginnings = [
        since_a_while::starting(),
        fresh::draining(Why::Replaced),
        fresh::leaving(Why::Hung),
    ];
    for mut state in beginnings {
        let mut patience_used = 0;
        while !matches!(state, State::Killing { .. }) {
            let due = state.deadline().expect("a deadline");
            (state, _) = state.after(Event::Deadline, due, PATIENCE);
            patience_used += 1;
            assert!(patience_used <= 2, "drained, then told, then killed");
        }
        let end = state
            .after(Event::Exited { success: false }, NOW, PATIENCE)
            .0;
        assert!(matches!(end, State::Gone(End::Killed(_))));
    }
}
