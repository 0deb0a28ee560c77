//! Which backends there are: what was written, what became of it by resolving names and by what people changed since,
//! and the place of each on the board.

use std::collections::HashSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::member::Member;
use super::table::{Rules, Table};
use super::{Deed, Facts, News};
use crate::backend_board::BACKENDS;
use crate::config::Proxy;
use crate::config::proxy::{Backend, Host, Planned, Target};
use crate::policy::deadlines::Moment;

/// A place that was left is somebody else's only after so long: a worker may not have heard of it yet.
const FALLOW: Duration = Duration::from_secs(30);

/// One address that a backend as it is written leads to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lead {
    /// Where it is.
    pub target: Target,
    /// Its weight.
    pub weight: u16,
    /// It gets something only when no other can.
    pub backup: bool,
}

/// A backend as it is written, with all its addresses.
///
/// To an upgrade, what another version did not know has its usual value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Item {
    /// As it is written.
    pub backend: Backend,
    /// Where it leads, as far as is known.
    pub leads: Vec<Lead>,
    /// Why its name could last not be resolved.
    pub trouble: Option<String>,
    /// Since when it has no address, if it has none.
    pub since: Moment,
    /// What people have changed about it since.
    #[serde(default)]
    pub changed: Changed,
    /// What they have changed about single addresses.
    #[serde(default)]
    pub single: Vec<(Target, Changed)>,
}

/// What people have changed about a backend.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Changed {
    /// Another weight.
    pub weight: Option<u16>,
    /// It gets nothing new.
    pub drained: bool,
    /// It is in the list no more.
    pub gone: bool,
}

impl Default for Item {
    fn default() -> Self {
        let nowhere = Backend {
            host: Host::Unix(Default::default()),
            weight: 1,
            backup: false,
            max: None,
        };
        Self::new(nowhere, Moment::default())
    }
}

impl Item {
    /// One whose address is not known yet, unless it is one.
    pub fn new(backend: Backend, now: Moment) -> Self {
        let target = match &backend.host {
            Host::Address(address) => Some(Target::Tcp(*address)),
            Host::Unix(path) => Some(Target::Unix(path.clone())),
            Host::Name(..) | Host::Srv(_) => None,
        };
        let lead = |target| Lead {
            target,
            weight: backend.weight,
            backup: backend.backup,
        };
        Self {
            leads: target.map(lead).into_iter().collect(),
            backend,
            trouble: None,
            since: now,
            changed: Changed::default(),
            single: Vec::new(),
        }
    }

    /// What it is called.
    pub fn name(&self) -> String {
        self.backend.host.to_string()
    }

    /// Its addresses are asked for.
    pub fn is_name(&self) -> bool {
        matches!(self.backend.host, Host::Name(..) | Host::Srv(_))
    }

    /// What was changed about one address of it.
    pub fn single(&mut self, target: &Target) -> &mut Changed {
        let known = self.single.iter().position(|(one, _)| one == target);
        let at = known.unwrap_or_else(|| {
            self.single.push((target.clone(), Changed::default()));
            self.single.len() - 1
        });
        &mut self.single[at].1
    }

    /// What becomes of each of its addresses that is in the list.
    fn wanted(&self) -> impl Iterator<Item = Member> + '_ {
        self.leads.iter().filter_map(|lead| {
            let mut single = self.single.iter();
            let single = single.find(|(target, _)| *target == lead.target);
            let single = single.map(|(_, changed)| changed);
            if single.is_some_and(|changed| changed.gone) {
                return None;
            }
            let own = single.and_then(|changed| changed.weight);
            let weight = own.or(self.changed.weight).unwrap_or(lead.weight);
            let mut member = Member::new(
                self.name(),
                lead.target.clone(),
                weight.max(1),
                Moment::default(),
            );
            member.max = self.backend.max;
            member.backup = lead.backup;
            member.drained = self.changed.drained || single.is_some_and(|one| one.drained);
            Some(member)
        })
    }
}

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

    /// What has come of resolving a name.
    pub fn resolved(&mut self, host: &Host, found: Result<Vec<Lead>, String>, now: Moment) {
        let mut items = self.items.iter_mut();
        let Some(item) = items.find(|item| item.backend.host == *host) else {
            return;
        };
        match found {
            Ok(leads) => {
                if item.trouble.take().is_some() {
                    self.news.push(News::Resolved { name: item.name() });
                }
                item.leads = leads;
                self.sync(now);
            }
            Err(why) => {
                let news = News::Unresolved {
                    name: item.name(),
                    why: why.clone(),
                    kept: item.leads.len(),
                };
                if item.trouble.replace(why.clone()).as_ref() != Some(&why) {
                    self.news.push(news);
                }
            }
        }
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
                (member.since, member.risen) = (now, Some(now));
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
            member.risen = Some(now);
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
