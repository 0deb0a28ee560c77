//! All backends of one proxy: what follows from the state of each for all together.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::item::Item;
use super::member::{Member, Passive, Turn};
use super::news::failed;
use super::{Deed, Facts, News};
use crate::config::Proxy;
use crate::config::proxy::{Check, Eject, OnDown, SendProxy};
use crate::policy::deadlines::Moment;

/// How often something is looked at that nobody reports: soon after it began, later ever less often.
const LOOK: Duration = Duration::from_millis(100);
/// And not less often than this where sessions wait for the outcome.
const LONGEST_LOOK: Duration = Duration::from_secs(2);
/// Or where they do not.
const LONGEST_IDLE_LOOK: Duration = Duration::from_secs(10);
/// A slow start has so many steps, unless they were too short.
const STEPS: u32 = 64;
const SHORTEST_STEP: Duration = Duration::from_millis(50);

/// What of the configuration these decisions depend on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rules {
    /// As configured.
    pub check: Option<Check>,
    /// As configured.
    pub eject: Eject,
    /// As configured.
    pub slow_start: Duration,
    /// As configured.
    pub on_down: OnDown,
    /// As configured: a check says so, too.
    pub send_proxy: Option<SendProxy>,
    /// As configured: checks come from the same addresses.
    pub source: Vec<IpAddr>,
}

impl Rules {
    /// Those of a proxy.
    pub fn of(proxy: &Proxy) -> Self {
        Self {
            check: proxy.check.clone(),
            eject: proxy.eject.clone(),
            slow_start: proxy.slow_start,
            on_down: proxy.on_down,
            send_proxy: proxy.send_proxy,
            source: proxy.source.clone(),
        }
    }
}

/// Who gets sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Serving {
    /// Those that are no backups.
    Main,
    /// The backups, since no other can serve.
    Backups,
    /// All, since none can serve as far as is known.
    All,
    /// None is to get anything.
    Nobody,
}

/// All backends of one proxy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Table {
    pub(super) rules: Rules,
    /// What was written, in that order.
    pub(super) items: Vec<Item>,
    /// By their places.
    pub(super) members: BTreeMap<usize, Member>,
    /// The places of those that do not leave, in the order of the items.
    pub(super) order: Vec<usize>,
    /// Places that were left, and when.
    pub(super) left: BTreeMap<usize, Moment>,
    /// The first ones are in: who comes later begins slowly.
    pub(super) begun: bool,
    serving: Option<Serving>,
    /// That nobody can serve was said.
    fails_open: bool,
    /// Some have no place yet.
    pub(super) left_out: bool,
    #[serde(skip)]
    pub(super) news: Vec<News>,
    #[serde(skip)]
    pub(super) deeds: Vec<Deed>,
    #[serde(skip)]
    pub(super) replanned: bool,
}

impl Table {
    /// By what is decided.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// All members, those that leave included, by their places.
    pub fn members(&self) -> impl Iterator<Item = (usize, &Member)> {
        self.members.iter().map(|(at, member)| (*at, member))
    }

    /// The member at this place.
    pub fn member(&self, at: usize) -> Option<&Member> {
        self.members.get(&at)
    }

    /// The places of those that do not leave, in the order in which they were given.
    pub fn order(&self) -> &[usize] {
        &self.order
    }

    /// Who gets sessions.
    pub fn serving(&self) -> Serving {
        self.serving.unwrap_or(Serving::Nobody)
    }

    /// What is to be told since this was last asked.
    pub fn take_news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }

    /// What is to be done since this was last asked.
    pub fn take_deeds(&mut self) -> Vec<Deed> {
        std::mem::take(&mut self.deeds)
    }

    /// Whether the list has changed since this was last asked.
    pub fn take_replanned(&mut self) -> bool {
        std::mem::take(&mut self.replanned)
    }

    /// A check was made at this place, and found this.
    pub fn checked(&mut self, at: usize, found: Result<(), String>, now: Moment) {
        let Some(check) = &self.rules.check else {
            return;
        };
        let Some(member) = self.members.get_mut(&at).filter(|one| !one.leaving) else {
            return;
        };
        let (since, why) = (member.since, found.as_ref().err().cloned());
        match member.check(found, check, now) {
            Turn::Same => {}
            Turn::Up => {
                // What sessions found while it was down is known.
                self.deeds.push(Deed::Forgive(at));
                self.news.push(News::Up {
                    name: member.words(),
                    after: now.since(since),
                });
            }
            Turn::Down(bad) => {
                if self.rules.on_down == OnDown::Kill {
                    self.deeds.push(Deed::Cut(at));
                }
                self.news.push(News::Down {
                    name: member.words(),
                    why: why.unwrap_or_default(),
                    bad,
                });
            }
        }
    }

    /// Takes in what the board says, and what time has brought. To be called after anything else.
    pub fn look(&mut self, now: Moment, facts: impl Fn(usize) -> Facts) {
        self.sweep(now, &facts);
        if self.left_out && self.has_place(now) {
            self.sync(now);
        }
        if self.rules.check.is_none() {
            self.forget_checks(now);
        }
        for at in self.order.clone() {
            self.look_at(at, facts(at), now);
        }
        self.decide();
    }

    /// Without checks nobody is down by them.
    fn forget_checks(&mut self, now: Moment) {
        for member in self.members.values_mut().filter(|one| one.is_down()) {
            member.checked = Default::default();
            member.since = now;
        }
    }

    fn look_at(&mut self, at: usize, seen: Facts, now: Moment) {
        let open = self.serving == Some(Serving::All);
        let eject = &self.rules.eject;
        let Some(member) = self.members.get_mut(&at) else {
            return;
        };
        match member.passive {
            Passive::Out {
                until, connects, ..
            } => {
                let connected = open && seen.connects > connects && seen.failing == 0;
                if connected || eject.after == 0 {
                    member.back(now);
                    self.deeds.push(Deed::Forgive(at));
                    if connected {
                        let name = member.words();
                        self.news.push(News::Back { name });
                    }
                } else if now >= until {
                    member.try_again(seen.connects, now);
                    self.deeds.push(Deed::Forgive(at));
                    if member.is_wanted() && !member.is_down() {
                        let name = member.words();
                        self.news.push(News::Trial { name });
                    }
                }
            }
            Passive::Trial { connects, .. } if seen.connects > connects => {
                member.back(now);
                let name = member.words();
                self.news.push(News::Back { name });
            }
            Passive::In { .. } | Passive::Trial { .. } => {
                let limit = member.limit(eject);
                if limit == 0 || seen.failing < limit {
                    member.spared = false;
                } else if member.is_wanted() && !member.is_down() {
                    self.suspect(at, seen, now);
                }
            }
        }
    }

    /// Sessions cannot connect to it.
    fn suspect(&mut self, at: usize, seen: Facts, now: Moment) {
        let all = self.order.len();
        let out = self.order.iter().filter(|at| self.members[at].is_out());
        let may = match self.rules.eject.share {
            0 => 0,
            _ if all < 2 => 0,
            share => (all * usize::from(share) / 100).max(1),
        };
        let allowed = out.count() < may;
        let Some(member) = self.members.get_mut(&at) else {
            return;
        };
        let (failing, error) = (seen.failing, seen.last_error);
        if allowed {
            let why = failed(failing, error);
            let time = member.eject(&self.rules.eject, seen.connects, why, now);
            self.deeds.push(Deed::Forgive(at));
            self.news.push(News::Ejected {
                name: member.words(),
                failing,
                error,
                time,
            });
        } else if !std::mem::replace(&mut member.spared, true) {
            self.news.push(News::Spared {
                name: member.words(),
                failing,
                error,
                only: all == 1,
            });
        }
    }

    fn decide(&mut self) {
        let any = |wanted: fn(&Member) -> bool| {
            let mut members = self.order.iter().map(|at| &self.members[at]);
            members.any(wanted)
        };
        let serving = if any(|one| one.is_good() && !one.backup) {
            Serving::Main
        } else if any(Member::is_good) {
            Serving::Backups
        } else if any(|one| one.may_serve() && !one.backup) {
            // One on trial may be well; of the others it is known that they are not.
            Serving::Main
        } else if any(Member::may_serve) {
            Serving::Backups
        } else if any(Member::is_wanted) {
            Serving::All
        } else {
            Serving::Nobody
        };
        let before = self.serving.replace(serving);
        if before.is_none_or(|before| before == serving) {
            return;
        }
        let well = any(Member::is_good);
        if well && std::mem::take(&mut self.fails_open) && serving == Serving::Main {
            self.news.push(News::FailOpenOver);
        }
        match (before, serving) {
            (Some(Serving::Backups), Serving::Main) => self.news.push(News::BackupsOver),
            (_, Serving::Main) => {}
            (_, Serving::Backups) => self.news.push(News::Backups),
            // Said once, however often one is tried meanwhile.
            (_, Serving::All) if std::mem::replace(&mut self.fails_open, true) => {}
            (_, Serving::All) => self.news.push(News::FailOpen),
            (_, Serving::Nobody) => self.news.push(News::Nobody),
        }
    }

    /// What each gets now, by place.
    pub fn weight(&self, at: usize, now: Moment) -> u32 {
        let Some(member) = self.members.get(&at).filter(|one| one.is_wanted()) else {
            return 0;
        };
        let may = !member.is_down() && !member.is_out();
        match self.serving() {
            Serving::All => member.full(),
            Serving::Main if member.backup => 0,
            Serving::Main | Serving::Backups if may => member.share(self.rules.slow_start, now),
            Serving::Main | Serving::Backups | Serving::Nobody => 0,
        }
    }

    /// When something changes by itself, or is to be looked at since nobody says it.
    pub fn next(&self, now: Moment) -> Option<Moment> {
        let open = self.serving == Some(Serving::All);
        let mut next: Option<Moment> = None;
        let mut at = |moment: Moment| next = Some(next.map_or(moment, |so_far| so_far.min(moment)));
        if self.left_out {
            at(now + LONGEST_IDLE_LOOK);
        }
        let step = (self.rules.slow_start / STEPS).max(SHORTEST_STEP);
        for member in self.members.values() {
            if member.leaving {
                at(now + look_after(member.since, LONGEST_IDLE_LOOK, now));
                continue;
            }
            match member.passive {
                Passive::Out { until, .. } => {
                    at(until);
                    if open {
                        at(now + look_after(member.since, LONGEST_LOOK, now));
                    }
                }
                Passive::Trial { since, .. } => {
                    at(now + look_after(since, LONGEST_LOOK, now));
                }
                Passive::In { .. } => {}
            }
            if member.spared {
                at(now + LONGEST_LOOK);
            }
            if let Some(left) = member.slow_start_left(self.rules.slow_start, now) {
                at(now + left.min(step));
            }
        }
        next
    }

    /// As if the board had never counted anything: it is a new one.
    pub fn forget_counts(&mut self) {
        for member in self.members.values_mut() {
            if let Passive::Out { connects, .. } | Passive::Trial { connects, .. } =
                &mut member.passive
            {
                *connects = 0;
            }
        }
    }
}

fn look_after(since: Moment, longest: Duration, now: Moment) -> Duration {
    (now.since(since) / 4).clamp(LOOK, longest)
}
