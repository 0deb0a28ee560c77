//! What people change while all runs. It holds until the list is settled anew.
//!
//! A backend is meant by its name, with all its addresses, or by one of these.

use super::item::{Changed, Item, Lead};
use super::member::Member;
use super::table::Table;
use crate::backend_board::BACKENDS;
use crate::config::nearest;
use crate::config::proxy::{Backend, Target, duplicate};
use crate::policy::deadlines::Moment;

/// Which backend is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Meant {
    /// The one that was written so, by its place among them.
    Whole(usize),
    /// One address of it.
    Single(usize, Target),
}

impl Table {
    /// One more. A name has no address until it is resolved.
    ///
    /// # Errors
    /// A sentence: it is there already.
    pub fn add(&mut self, backend: Backend, now: Moment) -> Result<(), String> {
        let mut item = Item::new(backend, now);
        item.by_hand = true;
        let name = item.name();
        let known = self.items.iter().position(|one| one.name() == name);
        if let Some(known) = known {
            // All of it may have been taken out by its addresses.
            let gone = !self.order.iter().any(|at| self.members[at].name == name);
            if !gone || self.items[known].leads.is_empty() {
                return Err(format!("backend {name} is there already"));
            }
            item.leads.clone_from(&self.items[known].leads);
            self.items.remove(known);
        }
        let taken = item.leads.iter().find_map(|lead| {
            let mut order = self.order.iter().map(|at| &self.members[at]);
            order.find(|member| member.target == lead.target)
        });
        if let Some(member) = taken {
            return Err(format!(
                "backend {name} is there already, as {}",
                member.name
            ));
        }
        let written = self.items.iter().chain([&item]);
        let written: Vec<Backend> = written.map(|one| one.backend.clone()).collect();
        if let Some((_, sentence)) = duplicate(&written) {
            return Err(sentence);
        }
        let targets: Vec<Target> = item.leads.iter().map(|lead| lead.target.clone()).collect();
        self.items.push(item);
        self.sync(now);
        if targets.iter().all(|target| self.has(target)) {
            return Ok(());
        }
        self.items.pop();
        self.sync(now);
        Err(format!(
            "there is no room for backend {name}: {BACKENDS} addresses is the most, and one that left keeps its place for 30 s"
        ))
    }

    fn has(&self, target: &Target) -> bool {
        let mut order = self.order.iter().map(|at| &self.members[at]);
        order.any(|member| member.target == *target)
    }

    /// Why a name that has its addresses gets no sessions, as a sentence; not if people have taken all of them out.
    pub fn no_use(&self, name: &str) -> Option<String> {
        let item = self.items.iter().find(|item| item.name() == name)?;
        let mut order = self.order.iter().map(|at| &self.members[at]);
        if item.leads.is_empty() || order.any(|member| member.name == name) {
            return None;
        }
        let gone = |lead: &Lead| {
            let mut single = item.single.iter();
            single.any(|(target, changed)| changed.gone && *target == lead.target)
        };
        if item.leads.iter().all(gone) {
            return None;
        }
        let others = self.order.iter().map(|at| &self.members[at]);
        let mut others =
            others.filter(|one| item.leads.iter().any(|lead| lead.target == one.target));
        Some(match others.next() {
            Some(other) => format!(
                "backend {name} has no address of its own: all are there already, as of {}",
                other.words()
            ),
            None => format!(
                "there is no room for the addresses of backend {name}: {BACKENDS} is the most"
            ),
        })
    }

    /// One less. Gives its name.
    ///
    /// An address is out of the list then, whatever names lead there as well.
    ///
    /// # Errors
    /// A sentence: there is none of that name, or there would be none at all.
    pub fn remove(&mut self, word: &str, now: Moment) -> Result<String, String> {
        let meant = self.meant(word)?;
        let name = self.name(&meant);
        let before = self.items.clone();
        let address = match meant {
            Meant::Whole(at) => self.items.remove(at).backend.host.target(),
            Meant::Single(at, target) => {
                self.items[at].single(&target).gone = true;
                None
            }
        };
        if let Some(target) = address {
            let others = self.items.iter_mut();
            for other in others.filter(|one| one.leads.iter().any(|lead| lead.target == target)) {
                other.single(&target).gone = true;
            }
        }
        let some = |items: &[Item]| items.iter().any(|item| item.wanted().next().is_some());
        if some(&before) && !some(&self.items) {
            self.items = before;
            return Err(format!(
                "{word} is the only backend: add another one before, or drain it"
            ));
        }
        self.sync(now);
        Ok(name)
    }

    /// The addresses that were added as such, and not by the file.
    pub fn added(&self) -> Vec<Target> {
        let items = self.items.iter().filter(|item| item.by_hand);
        items
            .filter_map(|item| item.backend.host.target())
            .collect()
    }

    /// Addresses that were added and are not to be led to.
    pub fn leave_out(&mut self, is: impl Fn(&Target) -> bool, now: Moment) {
        let goes =
            |item: &Item| item.by_hand && item.backend.host.target().is_some_and(|one| is(&one));
        self.items.retain(|item| !goes(item));
        self.sync(now);
    }

    /// Takes out a name that was added and is of no use: it could not be resolved, or all its addresses are those of
    /// others. One that the file says stays.
    pub fn give_up(&mut self, name: &str, now: Moment) {
        let useless = self.no_use(name).is_some();
        let goes =
            |item: &Item| item.by_hand && item.name() == name && (useless || item.leads.is_empty());
        self.items.retain(|item| !goes(item));
        self.sync(now);
    }

    /// It gets nothing new. Gives its name.
    ///
    /// # Errors
    /// A sentence: there is none of that name.
    pub fn drain(&mut self, word: &str, now: Moment) -> Result<String, String> {
        let meant = self.meant(word)?;
        self.changed(&meant).drained = true;
        self.sync(now);
        Ok(self.name(&meant))
    }

    /// It gets sessions again. Gives its name, and whether it had been drained.
    ///
    /// # Errors
    /// A sentence: there is none of that name.
    pub fn resume(&mut self, word: &str, now: Moment) -> Result<(String, bool), String> {
        let meant = self.meant(word)?;
        let was = match &meant {
            Meant::Whole(at) => {
                let item = &mut self.items[*at];
                let mut was = std::mem::take(&mut item.changed.drained);
                for (_, single) in &mut item.single {
                    was |= std::mem::take(&mut single.drained);
                }
                was
            }
            Meant::Single(at, target) => {
                let item = &mut self.items[*at];
                if std::mem::take(&mut item.changed.drained) {
                    let all: Vec<_> = item.leads.iter().map(|lead| lead.target.clone()).collect();
                    all.iter().for_each(|one| item.single(one).drained = true);
                }
                std::mem::take(&mut item.single(target).drained)
            }
        };
        self.sync(now);
        Ok((self.name(&meant), was))
    }

    /// It gets so much compared with others. Gives its name.
    ///
    /// # Errors
    /// A sentence: there is none of that name.
    pub fn weigh(&mut self, word: &str, weight: u16, now: Moment) -> Result<String, String> {
        let meant = self.meant(word)?;
        if let Meant::Whole(at) = &meant {
            let singles = self.items[*at].single.iter_mut();
            singles.for_each(|(_, single)| single.weight = None);
        }
        self.changed(&meant).weight = Some(weight);
        self.sync(now);
        Ok(self.name(&meant))
    }

    /// The places of what is meant, of those that do not leave.
    ///
    /// # Errors
    /// A sentence: there is none of that name.
    pub fn places(&self, word: &str) -> Result<Vec<usize>, String> {
        let meant = self.meant(word)?;
        let is = |member: &Member| match &meant {
            Meant::Whole(at) => member.name == self.items[*at].name(),
            Meant::Single(_, target) => member.target == *target,
        };
        let order = self.order.iter().copied();
        Ok(order.filter(|at| is(&self.members[at])).collect())
    }

    fn name(&self, meant: &Meant) -> String {
        match meant {
            Meant::Whole(at) => self.items[*at].name(),
            Meant::Single(_, target) => target.to_string(),
        }
    }

    fn changed(&mut self, meant: &Meant) -> &mut Changed {
        match meant {
            Meant::Whole(at) => &mut self.items[*at].changed,
            Meant::Single(at, target) => self.items[*at].single(target),
        }
    }

    fn meant(&self, word: &str) -> Result<Meant, String> {
        // As it may have been copied from --to.
        let written = word
            .parse::<Backend>()
            .map(|backend| backend.host.to_string());
        let called = |name: &str| name == word || written.as_deref() == Ok(name);
        if let Some(at) = self.items.iter().position(|item| called(&item.name())) {
            return Ok(Meant::Whole(at));
        }
        for (at, item) in self.items.iter().enumerate() {
            let mut targets = item.leads.iter().map(|lead| &lead.target);
            if let Some(target) = targets.find(|target| called(&target.to_string())) {
                return Ok(Meant::Single(at, target.clone()));
            }
        }
        let names = self.items.iter().map(Item::name);
        let targets = self
            .order
            .iter()
            .map(|at| self.members[at].target.to_string());
        let mut all: Vec<String> = names.chain(targets).collect();
        all.dedup();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        Err(match nearest(word, &all) {
            Some(near) => format!("there is no backend {word}; did you mean {near}?"),
            None => format!("there is no backend {word}; forkfront status lists them"),
        })
    }
}
