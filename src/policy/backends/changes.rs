//! What people change while all runs. It holds until the list is settled anew.
//!
//! A backend is meant by its name, with all its addresses, or by one of these.

use super::list::{Changed, Item};
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
        let has = |target: &Target| {
            let mut order = self.order.iter().map(|at| &self.members[at]);
            order.any(|member| member.target == *target)
        };
        if targets.iter().all(has) {
            return Ok(());
        }
        self.items.pop();
        self.sync(now);
        Err(format!(
            "there is no room for backend {name}: {BACKENDS} addresses is the most, and one that left keeps its place for 30 s"
        ))
    }

    /// One less. Gives its name.
    ///
    /// # Errors
    /// A sentence: there is none of that name, or there would be none at all.
    pub fn remove(&mut self, word: &str, now: Moment) -> Result<String, String> {
        let meant = self.meant(word)?;
        let stays = match &meant {
            Meant::Whole(at) => self.items.len() > 1 || self.items[*at].leads.is_empty(),
            Meant::Single(..) => self.order.len() > 1,
        };
        if !stays {
            return Err(format!(
                "{word} is the only backend: add another one before, or drain it"
            ));
        }
        let name = self.name(&meant);
        match meant {
            Meant::Whole(at) => _ = self.items.remove(at),
            Meant::Single(at, target) => self.items[at].single(&target).gone = true,
        }
        self.sync(now);
        Ok(name)
    }

    /// Addresses that are not to be led to.
    pub fn leave_out(&mut self, is: impl Fn(&Target) -> bool, now: Moment) {
        for item in &mut self.items {
            item.leads.retain(|lead| !is(&lead.target));
        }
        self.items
            .retain(|item| item.is_name() || !item.leads.is_empty());
        self.sync(now);
    }

    /// Takes out a name that could not be resolved.
    pub fn give_up(&mut self, name: &str, now: Moment) {
        self.items
            .retain(|item| item.name() != name || !item.leads.is_empty());
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
