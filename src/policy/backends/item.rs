//! One backend as it is written, with the addresses that it leads to, and what people have changed about it since.

use serde::{Deserialize, Serialize};

use super::member::Member;
use crate::config::proxy::{Backend, Host, Target};
use crate::policy::deadlines::Moment;

/// One address that a backend as it is written leads to.
///
/// To an upgrade, what another version did not know has its usual value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lead {
    /// Where it is.
    pub target: Target,
    /// Its weight.
    pub weight: u16,
    /// It gets something only when no other can.
    pub backup: bool,
    /// The host that an SRV record named; empty where there is none, or where that is not known.
    pub via: String,
}

impl Default for Lead {
    fn default() -> Self {
        Self {
            target: Target::default(),
            weight: 1,
            backup: false,
            via: String::new(),
        }
    }
}

/// What has come of asking for the addresses of a name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resolved {
    /// Where it leads.
    pub leads: Vec<Lead>,
    /// Hosts of its SRV records of which that could not be found out just now.
    pub missing: Vec<Missing>,
}

/// A host whose addresses could not be found out, though it may have some.
#[derive(Clone, Debug, PartialEq)]
pub struct Missing {
    /// As the SRV record names it.
    pub via: String,
    /// Why.
    pub why: String,
}

impl From<Vec<Lead>> for Resolved {
    fn from(leads: Vec<Lead>) -> Self {
        let missing = Vec::new();
        Self { leads, missing }
    }
}

impl Resolved {
    /// Why some of what this host leads to is not known, as a sentence.
    pub fn trouble(&self, host: &Host) -> Option<String> {
        let first = self.missing.first()?;
        let others = match self.missing.len() - 1 {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Some(format!(
            "cannot resolve {}{others} of {host}: {}",
            first.via, first.why
        ))
    }
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
    /// Why its name, or a part of what it leads to, could last not be resolved.
    pub trouble: Option<String>,
    /// Since when it has no address, if it has none.
    pub since: Moment,
    /// It was added while all ran: the file does not say it.
    pub by_hand: bool,
    /// What people have changed about it since.
    pub changed: Changed,
    /// What they have changed about single addresses.
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
        Self::new(Backend::default(), Moment::default())
    }
}

impl Item {
    /// One whose address is not known yet, unless it is one.
    pub fn new(backend: Backend, now: Moment) -> Self {
        let target = backend.host.target();
        let lead = |target| Lead {
            target,
            weight: backend.weight,
            backup: backend.backup,
            ..Lead::default()
        };
        Self {
            leads: target.map(lead).into_iter().collect(),
            backend,
            trouble: None,
            since: now,
            by_hand: false,
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

    /// Takes over what was found, and keeps what could not be found out; so much is kept.
    pub(super) fn take_in(&mut self, found: Resolved) -> usize {
        let Resolved { mut leads, missing } = found;
        let missed = |lead: &Lead| missing.iter().any(|one| one.via == lead.via);
        // Which of them another version had from a missing host is not known.
        let kept = |lead: &Lead| missed(lead) || !missing.is_empty() && lead.via.is_empty();
        let known = |lead: &Lead| leads.iter().any(|one| one.target == lead.target);
        let before = std::mem::take(&mut self.leads).into_iter();
        let kept: Vec<Lead> = before.filter(|lead| kept(lead) && !known(lead)).collect();
        let count = kept.len();
        leads.extend(kept);
        self.leads = leads;
        count
    }

    /// What becomes of each of its addresses that is in the list.
    pub(super) fn wanted(&self) -> impl Iterator<Item = Member> + '_ {
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
