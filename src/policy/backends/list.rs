//! Which backends there are: what was written, what became of it by resolving names and by what people changed since,
//! and the place of each on the board.

use std::collections::HashSet;
use std::time::Duration;

use super::item::{Changed, Item, Resolved};
use super::member::Member;
use super::table::{Rules, Table};
use super::{Deed, Facts, News};
use crate::backend_board::BACKENDS;
use crate::config::Proxy;
use crate::config::proxy::{Host, Planned, Target};
use crate::policy::deadlines::Moment;

/// A place that was left is somebody else's only after so long: a worker may not have heard of it yet.
const FALLOW: Duration = Duration::from_secs(30);

impl Table {
    /// Those that are there now are the first ones: who joins later is told of, and begins slowly.
    pub fn begin(&mut self) {
        self.begun = true;
    }

    /// The plan is to be told anew, though it has not changed.
    pub fn replan(&mut self) {
        self.replanned = true;
    }

    /// What was written, in that order.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// The backends for the plan.
    pub fn planned(&self) -> Vec<Planned> {
        let order = self.order.iter();
        let planned = order.map(|at| {
            let member = &self.members[at];
            Planned {
                at: *at,
                name: member.name.clone(),
                target: member.target.clone(),
                weight: member.weight,
                max: member.max,
                backup: member.backup,
            }
        });
        planned.collect()
    }

    /// These are the rules from now on; the backends stay as they are, with what people have changed about them.
    pub fn govern(&mut self, proxy: &Proxy, now: Moment) {
        self.rules = Rules::of(proxy);
        self.sync(now);
    }

    /// These are the rules and the backends from now on, as they are written. Whoever stays keeps its place and all
    /// that is known of it, and if it is written as it was, the weight that people have given it since, and their
    /// drain.
    pub fn settle(&mut self, proxy: &Proxy, now: Moment) {
        self.rules = Rules::of(proxy);
        let mut former = std::mem::take(&mut self.items);
        for backend in &proxy.to {
            let known = former
                .iter()
                .position(|item| item.backend.host == backend.host);
            let mut item = Item::new(backend.clone(), now);
            let before = known.map(|at| former.swap_remove(at));
            if let Some(before) = before.as_ref().filter(|before| before.backend == *backend) {
                let kept = |changed: &Changed| Changed {
                    gone: false,
                    ..changed.clone()
                };
                item.changed = kept(&before.changed);
                let single = before.single.iter();
                item.single = single
                    .map(|(target, changed)| (target.clone(), kept(changed)))
                    .collect();
            }
            if let Some(before) = before
                && item.is_name()
            {
                (item.since, item.trouble) = (before.since, before.trouble);
                item.leads = before.leads;
                // An SRV record has words of its own about both; they come with its next answer.
                if before.backend.weight != backend.weight
                    || before.backend.backup != backend.backup
                {
                    for lead in &mut item.leads {
                        (lead.weight, lead.backup) = (backend.weight, backend.backup);
                    }
                }
            }
            self.items.push(item);
        }
        self.sync(now);
    }

    /// What has come of resolving a name. Of what could not be found out just now, the last addresses are kept.
    pub fn resolved(&mut self, host: &Host, found: Result<Resolved, String>, now: Moment) {
        let mut items = self.items.iter_mut();
        let Some(item) = items.find(|item| item.backend.host == *host) else {
            return;
        };
        let (trouble, kept) = match found {
            Ok(found) => {
                let trouble = found.trouble(host);
                let kept = item.take_in(found);
                (trouble, kept)
            }
            Err(why) => (Some(why), item.leads.len()),
        };
        let before = std::mem::replace(&mut item.trouble, trouble.clone());
        match trouble {
            Some(why) if before.as_ref() != Some(&why) => {
                self.news.push(News::Unresolved { why, kept });
            }
            None if before.is_some() => self.news.push(News::Resolved { name: item.name() }),
            _ => {}
        }
        self.sync(now);
    }

    /// Makes the members what the items say.
    pub(super) fn sync(&mut self, now: Moment) {
        let planned = self.planned();
        let literal = self.items.iter().filter(|item| !item.is_name());
        let literal: HashSet<Target> = literal
            .flat_map(Item::wanted)
            .map(|one| one.target)
            .collect();
        // Two may lead to one address: that which is the address has it, or else the first.
        let literal = &literal;
        let not_literal =
            move |item: &Item, one: &Member| !item.is_name() || !literal.contains(&one.target);
        let wanted = self.items.iter().flat_map(|item| {
            let wanted = item.wanted();
            wanted.filter(move |one| not_literal(item, one))
        });
        let wanted: Vec<Member> = wanted.collect();
        let mut seen = HashSet::new();
        let told = std::mem::take(&mut self.left_out);
        let mut order = Vec::with_capacity(wanted.len());
        for member in wanted {
            if !seen.insert(member.target.clone()) {
                continue;
            }
            match self.settle_member(member, now) {
                Ok(at) => order.push(at),
                Err(name) => {
                    if !told && !self.left_out {
                        self.news.push(News::Full { name });
                    }
                    self.left_out = true;
                }
            }
        }
        for at in std::mem::replace(&mut self.order, order) {
            if let Some(member) = self.members.get_mut(&at)
                && !self.order.contains(&at)
            {
                (member.leaving, member.since) = (true, now);
                let name = member.words();
                self.news.push(News::Leaves { name });
            }
        }
        self.replanned |= self.planned() != planned;
    }

    /// Makes one member as it is to be, and says where it is.
    fn settle_member(&mut self, wanted: Member, now: Moment) -> Result<usize, String> {
        let mut members = self.members.iter_mut();
        if let Some((at, member)) = members.find(|(_, one)| one.target == wanted.target) {
            if member.leaving || member.drained && !wanted.drained {
                member.rise(now);
            } else if wanted.drained && !member.drained {
                member.since = now;
            }
            member.leaving = false;
            member.drained = wanted.drained;
            (member.weight, member.backup) = (wanted.weight, wanted.backup);
            (member.max, member.name) = (wanted.max, wanted.name);
            return Ok(*at);
        }
        let at = self.place(now).ok_or_else(|| wanted.words())?;
        let mut member = wanted;
        member.since = now;
        member.passive = super::Passive::In {
            level: 0,
            since: now,
        };
        if self.begun {
            (member.risen, member.is_new) = (Some(now), true);
            let name = member.words();
            self.news.push(News::Joined { name });
        }
        self.left.remove(&at);
        self.deeds.push(Deed::Clear(at));
        self.members.insert(at, member);
        Ok(at)
    }

    /// Whether there is one more place.
    pub(super) fn has_place(&self, now: Moment) -> bool {
        self.place(now).is_some()
    }

    /// A place for one more: one that nobody had yet, or the one that was left longest ago.
    fn place(&self, now: Moment) -> Option<usize> {
        let free = |at: &usize| !self.members.contains_key(at);
        let fresh = (0..BACKENDS).find(|at| free(at) && !self.left.contains_key(at));
        let fallow = self.left.iter().filter(|(at, _)| free(at));
        let longest = fallow.min_by_key(|(_, since)| **since);
        let ready = longest.filter(|(_, since)| now.since(**since) >= FALLOW);
        fresh.or(ready.map(|(at, _)| *at))
    }

    /// Those that leave go when they have no session.
    pub(super) fn sweep(&mut self, now: Moment, facts: &impl Fn(usize) -> Facts) {
        let left = &mut self.left;
        self.members.retain(|at, member| {
            let goes = member.leaving && facts(*at).open == 0;
            if goes {
                left.insert(*at, now);
            }
            !goes
        });
    }
}
