//! One backend with one address: what is known of it, and what becomes of that.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::backend_board::UNIT;
use crate::config::proxy::{Check, Eject, Target};
use crate::policy::deadlines::Moment;

/// A backend on trial gets so many parts less than its weight gives it.
const TRIAL_PARTS: u32 = 16;
/// And one whose slow start begins.
const LEAST_PARTS: u32 = 16;

/// What the checks have found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Checked {
    /// There was none yet: it counts as well.
    #[default]
    Never,
    /// It is well, but for so many bad checks in a row.
    Well {
        /// So many.
        bad: u32,
        /// What the last of them found.
        why: String,
    },
    /// It is not, but for so many good checks in a row.
    Ill {
        /// So many.
        good: u32,
        /// What the last bad one found.
        why: String,
    },
}

/// What the sessions have found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Passive {
    /// It is in.
    In {
        /// How often it was taken out lately.
        level: u32,
        /// Since when.
        since: Moment,
    },
    /// It was taken out.
    Out {
        /// How often lately, this time included.
        level: u32,
        /// When it is tried again.
        until: Moment,
        /// Connects that had come about by then.
        connects: u64,
        /// In words.
        why: String,
    },
    /// Few sessions try it.
    Trial {
        /// How often it was taken out lately.
        level: u32,
        /// Since when.
        since: Moment,
        /// Connects that had come about by then.
        connects: u64,
    },
}

/// A backend with one address.
///
/// To an upgrade, what another version did not know has its usual value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Member {
    /// What it is called: as it was written, without its weight.
    pub name: String,
    /// Where it is.
    pub target: Target,
    /// Its weight.
    pub weight: u16,
    /// Most sessions at a time.
    pub max: Option<u32>,
    /// It gets something only when no other can.
    pub backup: bool,
    /// It gets nothing new until it is resumed.
    pub drained: bool,
    /// It is in the list no more, and goes when its sessions have ended.
    pub leaving: bool,
    /// What the checks have found.
    pub checked: Checked,
    /// What the sessions have found.
    pub passive: Passive,
    /// That it is not taken out though it should be was said.
    pub spared: bool,
    /// Since when it has been as it is.
    pub since: Moment,
    /// When it came, or came back, and so its slow start began.
    pub risen: Option<Moment>,
    /// It was not there before that.
    pub is_new: bool,
    /// Times that it was taken out.
    pub ejections: u64,
    /// Good checks.
    pub checks_good: u64,
    /// Bad checks.
    pub checks_bad: u64,
}

/// What a check means for a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing new.
    Same,
    /// It is down, after so many bad ones in a row.
    Down(u32),
    /// It is up again.
    Up,
}

impl Default for Member {
    fn default() -> Self {
        let nowhere = Target::Unix(Default::default());
        Self::new(String::new(), nowhere, 1, Moment::default())
    }
}

impl Member {
    /// One that has just come. `risen`: its slow start begins.
    pub fn new(name: String, target: Target, weight: u16, now: Moment) -> Self {
        Self {
            name,
            target,
            weight,
            max: None,
            backup: false,
            drained: false,
            leaving: false,
            checked: Checked::Never,
            passive: Passive::In {
                level: 0,
                since: now,
            },
            spared: false,
            since: now,
            risen: None,
            is_new: false,
            ejections: 0,
            checks_good: 0,
            checks_bad: 0,
        }
    }

    /// What people know it by: its name, and its address if that is another.
    pub fn words(&self) -> String {
        let target = self.target.to_string();
        if target == self.name {
            target
        } else {
            format!("{} ({target})", self.name)
        }
    }

    /// A check was made, and found this.
    pub fn check(&mut self, found: Result<(), String>, rules: &Check, now: Moment) -> Turn {
        let bad_before = match &self.checked {
            Checked::Well { bad, .. } => *bad,
            // The first one counts alone.
            Checked::Never => rules.fall.saturating_sub(1),
            Checked::Ill { .. } => 0,
        };
        match (found, &mut self.checked) {
            (Ok(()), Checked::Ill { good, .. }) => {
                self.checks_good += 1;
                *good += 1;
                if *good < rules.rise.max(1) {
                    return Turn::Same;
                }
                self.checked = well();
                self.rise(now);
                Turn::Up
            }
            (Ok(()), _) => {
                self.checks_good += 1;
                self.checked = well();
                Turn::Same
            }
            (Err(found), Checked::Ill { good, why }) => {
                self.checks_bad += 1;
                (*good, *why) = (0, found);
                Turn::Same
            }
            (Err(why), _) if bad_before + 1 < rules.fall.max(1) => {
                self.checks_bad += 1;
                let bad = bad_before + 1;
                self.checked = Checked::Well { bad, why };
                Turn::Same
            }
            (Err(why), before) => {
                self.checks_bad += 1;
                let first = *before == Checked::Never;
                self.checked = Checked::Ill { good: 0, why };
                (self.since, self.risen) = (now, None);
                Turn::Down(if first { 1 } else { bad_before + 1 })
            }
        }
    }

    /// A check has been made of it.
    pub fn is_known(&self) -> bool {
        self.checked != Checked::Never
    }

    /// Checks say that it is not well.
    pub fn is_down(&self) -> bool {
        matches!(self.checked, Checked::Ill { .. })
    }

    /// Sessions could not connect, and it is out for that.
    pub fn is_out(&self) -> bool {
        matches!(self.passive, Passive::Out { .. })
    }

    /// Its time out is over, and no session has tried it yet.
    pub fn is_on_trial(&self) -> bool {
        matches!(self.passive, Passive::Trial { .. })
    }

    /// It is to get sessions as far as people have said.
    pub fn is_wanted(&self) -> bool {
        !self.drained && !self.leaving
    }

    /// It can serve, as far as is known. One that stays in only since too many are out cannot.
    pub fn is_good(&self) -> bool {
        self.may_serve() && !self.is_on_trial()
    }

    /// It can serve, or nobody has tried yet since its time out is over.
    pub fn may_serve(&self) -> bool {
        self.is_wanted() && !self.is_down() && !self.is_out() && !self.spared
    }

    /// So many failures in a row are too many; 0: never.
    pub fn limit(&self, eject: &Eject) -> u32 {
        match self.passive {
            Passive::Trial { .. } => eject.after.min(1),
            Passive::In { .. } | Passive::Out { .. } => eject.after,
        }
    }

    /// After so many the workers are to tell us; 0: never. Where nothing would follow they need not: each connect that
    /// fails would wake us.
    pub fn report_at(&self, eject: &Eject) -> u32 {
        if self.spared || self.is_out() || self.is_down() || !self.is_wanted() {
            return 0;
        }
        self.limit(eject)
    }

    /// Takes it out, for so long.
    pub fn eject(&mut self, eject: &Eject, connects: u64, why: String, now: Moment) -> Duration {
        let level = match self.passive {
            Passive::In { level, since } => decayed(level, now.since(since), eject),
            Passive::Out { level, .. } | Passive::Trial { level, .. } => level,
        };
        let level = level.saturating_add(1);
        let time = time_out(level, eject);
        self.passive = Passive::Out {
            level,
            until: now + time,
            connects,
            why,
        };
        self.ejections += 1;
        (self.since, self.risen, self.spared) = (now, None, false);
        time
    }

    /// It is in again. A session has connected.
    pub fn back(&mut self, now: Moment) {
        let level = self.level();
        self.passive = Passive::In { level, since: now };
        self.rise(now);
    }

    /// It was there, and gets sessions again: its slow start begins.
    pub fn rise(&mut self, now: Moment) {
        (self.since, self.risen, self.is_new) = (now, Some(now), false);
    }

    /// Its time out is over.
    pub fn try_again(&mut self, connects: u64, now: Moment) {
        let level = self.level();
        self.passive = Passive::Trial {
            level,
            since: now,
            connects,
        };
        self.since = now;
    }

    fn level(&self) -> u32 {
        match self.passive {
            Passive::In { level, .. }
            | Passive::Out { level, .. }
            | Passive::Trial { level, .. } => level,
        }
    }

    /// What its weight gives it.
    pub fn full(&self) -> u32 {
        u32::from(self.weight) * UNIT
    }

    /// What it gets when it can serve, or is on trial.
    pub fn share(&self, slow_start: Duration, now: Moment) -> u32 {
        let full = self.full();
        if self.is_on_trial() {
            return (full / TRIAL_PARTS).max(1);
        }
        match self.slow_start_left(slow_start, now) {
            None => full,
            Some(left) => {
                let part = 1.0 - left.as_secs_f64() / slow_start.as_secs_f64();
                let grown = (f64::from(full) * part) as u32;
                grown.clamp((full / LEAST_PARTS).max(1), full)
            }
        }
    }

    /// How long its slow start still takes.
    pub fn slow_start_left(&self, slow_start: Duration, now: Moment) -> Option<Duration> {
        let gone = now.since(self.risen?);
        (gone < slow_start).then(|| slow_start - gone)
    }
}

fn well() -> Checked {
    Checked::Well {
        bad: 0,
        why: String::new(),
    }
}

/// How long it is out for the `level`th time.
pub fn time_out(level: u32, eject: &Eject) -> Duration {
    let doublings = level.saturating_sub(1);
    let factor = 1u32.checked_shl(doublings).unwrap_or(u32::MAX);
    let longest = eject.longest.max(eject.time);
    eject.time.saturating_mul(factor).min(longest)
}

/// What is left of a level after a good time: one less for each stretch as long as the next time out would be.
fn decayed(mut level: u32, mut good: Duration, eject: &Eject) -> u32 {
    while level > 0 {
        let stretch = time_out(level + 1, eject);
        if good < stretch || stretch.is_zero() {
            break;
        }
        good -= stretch;
        level -= 1;
    }
    level
}
