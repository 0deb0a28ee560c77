//! Backends with a fake clock: each rule by itself, and random walks over all that can happen at which what must hold
//! is looked at after every step.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::schedule::{AT_ONCE, Schedule};
use super::table::Serving;
use super::{Checked, Deed, Facts, News, Table};
use crate::backend_board::{BACKENDS, UNIT};
use crate::config::Proxy;
use crate::config::proxy::{Check, CheckWhat, Eject, Host, OnDown, Target};
use crate::policy::backends::item::{Lead, Missing, Resolved};
use crate::policy::deadlines::Moment;
use crate::random::Random;

fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn proxy(to: &[&str]) -> Proxy {
    Proxy {
        to: to.iter().map(|words| words.parse().unwrap()).collect(),
        check: Some(Check {
            what: CheckWhat::Tcp,
            interval: secs(2.0),
            timeout: secs(1.0),
            rise: 2,
            fall: 3,
        }),
        eject: Eject {
            after: 3,
            time: secs(5.0),
            longest: secs(60.0),
            share: 50,
        },
        ..Proxy::default()
    }
}

/// A table, the board that it sees, and the time.
struct World {
    table: Table,
    board: BTreeMap<usize, Facts>,
    now: Moment,
    cuts: usize,
}

impl World {
    fn new(proxy: &Proxy) -> Self {
        let mut this = Self {
            table: Table::default(),
            board: BTreeMap::new(),
            now: Moment(secs(1000.0)),
            cuts: 0,
        };
        this.table.settle(proxy, this.now);
        this.table.begin();
        this.look();
        this
    }

    fn of(to: &[&str]) -> Self {
        Self::new(&proxy(to))
    }

    /// What is told, after the table has looked at the board.
    fn look(&mut self) -> Vec<News> {
        let board = &self.board;
        self.table
            .look(self.now, |at| board.get(&at).copied().unwrap_or_default());
        for deed in self.table.take_deeds() {
            match deed {
                Deed::Clear(at) => {
                    let open = self.board.get(&at).map_or(0, |facts| facts.open);
                    assert_eq!(open, 0, "a place is given away with sessions in it");
                    self.board.insert(at, Facts::default());
                }
                Deed::Forgive(at) => self.board.entry(at).or_default().failing = 0,
                Deed::Cut(_) => self.cuts += 1,
            }
        }
        self.table.take_news()
    }

    fn check(&mut self, at: usize, well: bool) -> Vec<News> {
        let found = if well { Ok(()) } else { Err("no".to_owned()) };
        self.table.checked(at, found, self.now);
        self.look()
    }

    fn fail(&mut self, at: usize, times: u32) -> Vec<News> {
        let facts = self.board.entry(at).or_default();
        facts.failing += times;
        facts.last_error = 111;
        self.look()
    }

    fn connect(&mut self, at: usize) -> Vec<News> {
        let facts = self.board.entry(at).or_default();
        facts.failing = 0;
        facts.connects += 1;
        self.look()
    }

    fn pass(&mut self, seconds: f64) -> Vec<News> {
        self.now = self.now + secs(seconds);
        self.look()
    }

    fn weights(&self) -> Vec<u32> {
        let planned = self.table.planned();
        let weight = planned
            .iter()
            .map(|one| self.table.weight(one.at, self.now));
        weight.collect()
    }
}

const A: &str = "10.0.0.1:1";
const B: &str = "10.0.0.2:1";
const C: &str = "10.0.0.3:1";

#[test]
fn up_until_the_first_check_says_otherwise_then_by_rise_and_fall() {
    let mut world = World::of(&[A, B]);
    assert_eq!(world.weights(), [UNIT, UNIT]);
    let said = world.check(0, false);
    assert!(matches!(&said[..], [News::Down { bad: 1, .. }]), "{said:?}");
    assert_eq!(world.weights(), [0, UNIT]);
    assert_eq!(world.check(0, true), []);
    assert_eq!(world.check(0, false), []);
    assert_eq!(world.check(0, true), []);
    world.pass(7.0);
    let said = world.check(0, true);
    assert_eq!(
        said[0].to_string(),
        "backend 10.0.0.1:1 is up again after 7 s"
    );
    for well in [false, false, true, false, false] {
        assert_eq!(world.check(0, well), []);
    }
    let said = world.check(0, false);
    assert_eq!(
        said[0].to_string(),
        "backend 10.0.0.1:1 is down: 3 checks in a row found that no"
    );
    assert_eq!(world.cuts, 0);
}

#[test]
fn sessions_are_cut_where_that_is_asked_for() {
    let mut world = World::new(&Proxy {
        on_down: OnDown::Kill,
        ..proxy(&[A, B])
    });
    world.fail(1, 3);
    assert_eq!(world.cuts, 0, "an ejection cuts nothing");
    world.check(0, false);
    assert_eq!(world.cuts, 1);
}

#[test]
fn ejected_for_longer_each_time_and_tried_first() {
    let mut world = World::of(&[A, B, C]);
    assert_eq!(world.fail(0, 2), []);
    let said = world.fail(0, 1);
    assert_eq!(
        said[0].to_string(),
        "backend 10.0.0.1:1 gets nothing for 5 s: 3 connects in a row failed, the last with \"Connection refused\""
    );
    for (time, again) in [
        (5.0, "10 s"),
        (10.0, "20 s"),
        (20.0, "40 s"),
        (40.0, "60 s"),
    ] {
        assert_eq!(world.weights(), [0, UNIT, UNIT]);
        assert_eq!(world.pass(time - 0.1), []);
        let said = world.pass(0.2);
        assert!(matches!(&said[..], [News::Trial { .. }]), "{said:?}");
        assert_eq!(world.weights(), [UNIT / 16, UNIT, UNIT]);
        let eject = &world.table.rules().eject;
        assert_eq!(world.table.member(0).unwrap().report_at(eject), 1);
        let said = world.fail(0, 1);
        assert!(said[0].to_string().contains(again), "{said:?}");
    }
    world.pass(61.0);
    let said = world.connect(0);
    assert!(matches!(&said[..], [News::Back { .. }]), "{said:?}");
    assert_eq!(world.weights(), [UNIT; 3]);
    // Five times lately: the next is as long as the last.
    let said = world.fail(0, 3);
    assert!(said[0].to_string().contains("60 s"), "{said:?}");
    world.pass(61.0);
    world.connect(0);
    // All is forgiven by a long good time.
    world.pass(3600.0);
    let said = world.fail(0, 3);
    assert!(said[0].to_string().contains("for 5 s"), "{said:?}");
}

#[test]
fn never_more_than_the_share_but_one_unless_none_may_be() {
    for (count, share, most) in [
        (1, 100, 0),
        (2, 50, 1),
        (2, 10, 1),
        (2, 0, 0),
        (3, 50, 1),
        (4, 50, 2),
        (4, 100, 4),
    ] {
        let names: Vec<String> = (1..=count).map(|n| format!("10.0.0.{n}:1")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut config = proxy(&names);
        config.eject.share = share;
        let mut world = World::new(&config);
        for at in 0..count {
            world.fail(at, 3);
            // Said once, and no connect that fails wakes us any more; but it is looked at.
            assert!(world.fail(at, 1).is_empty());
            let member = world.table.member(at).unwrap();
            assert_eq!(member.report_at(&config.eject), 0);
            assert!(world.table.next(world.now).is_some());
        }
        let out = world.table.members().filter(|(_, one)| one.is_out());
        assert_eq!(out.count(), most, "{count} with {share}");
    }
}

#[test]
fn backups_serve_only_while_no_other_can() {
    let mut world = World::of(&[A, "10.0.0.2:1@4+backup", C]);
    assert_eq!(world.weights(), [UNIT, 0, UNIT]);
    world.check(0, false);
    assert_eq!(world.weights(), [0, 0, UNIT]);
    let said = world.check(2, false);
    assert!(said.contains(&News::Backups), "{said:?}");
    assert_eq!(world.weights(), [0, 4 * UNIT, 0]);
    world.check(0, true);
    let said = world.check(0, true);
    assert!(said.contains(&News::BackupsOver), "{said:?}");
    assert_eq!(world.weights(), [UNIT, 0, 0]);
}

#[test]
fn one_on_trial_does_not_take_the_backups_away() {
    let mut world = World::of(&[A, "10.0.0.2:1+backup"]);
    world.fail(0, 3);
    assert_eq!(world.weights(), [0, UNIT]);
    world.pass(6.0);
    assert_eq!(world.weights(), [UNIT / 16, UNIT]);
    world.connect(0);
    assert_eq!(world.weights(), [UNIT, 0]);
}

#[test]
fn when_all_are_down_all_but_the_drained_get_sessions_again() {
    let mut world = World::of(&[A, B, C]);
    world.table.drain(C, world.now).unwrap();
    world.check(0, false);
    let said = world.check(1, false);
    assert!(said.contains(&News::FailOpen), "{said:?}");
    assert_eq!(world.weights(), [UNIT, UNIT, 0]);
    assert!(world.check(1, false).is_empty(), "it is said once");
    world.check(1, true);
    let said = world.check(1, true);
    assert!(said.contains(&News::FailOpenOver), "{said:?}");
    assert_eq!(world.weights(), [0, UNIT, 0]);
    world.table.drain(A, world.now).unwrap();
    world.table.drain(B, world.now).unwrap();
    assert_eq!(world.look(), [News::Nobody]);
    assert_eq!(world.weights(), [0; 3]);
}

#[test]
fn an_ejected_one_that_connects_while_all_get_sessions_is_back_at_once() {
    let mut config = proxy(&[A, B]);
    config.eject.share = 100;
    let mut world = World::new(&config);
    world.fail(0, 3);
    world.fail(1, 3);
    assert_eq!(world.table.serving(), Serving::All);
    assert_eq!(world.weights(), [UNIT, UNIT]);
    assert!(world.table.next(world.now).unwrap().since(world.now) <= secs(0.1));
    world.fail(0, 1);
    assert_eq!(world.table.serving(), Serving::All);
    let said = world.connect(1);
    assert!(said.contains(&News::FailOpenOver), "{said:?}");
    assert_eq!(world.weights(), [0, UNIT]);
}

#[test]
fn who_comes_back_begins_slowly_but_nobody_at_the_start() {
    let mut config = proxy(&[A, "10.0.0.2:1@10"]);
    config.slow_start = secs(10.0);
    let mut world = World::new(&config);
    assert_eq!(world.weights(), [UNIT, 10 * UNIT]);
    world.check(1, false);
    world.check(1, true);
    world.check(1, true);
    let mut last = world.weights()[1];
    assert_eq!(last, 10 * UNIT / 16);
    while let Some(next) = world.table.next(world.now) {
        world.now = next;
        world.look();
        let now = world.weights()[1];
        assert!(now >= last && now <= 10 * UNIT, "{last} then {now}");
        last = now;
    }
    assert_eq!(last, 10 * UNIT);
    // One more that is added begins slowly, too.
    world.table.add(C.parse().unwrap(), world.now).unwrap();
    world.look();
    assert_eq!(world.weights(), [UNIT, 10 * UNIT, UNIT / 16]);
    let is_new = |world: &World, at| world.table.member(at).unwrap().is_new;
    assert_eq!([is_new(&world, 1), is_new(&world, 2)], [false, true]);
    world.fail(2, 3);
    world.pass(6.0);
    world.connect(2);
    assert!(!is_new(&world, 2), "it came back");
}

#[test]
fn changes_by_hand() {
    let mut world = World::of(&[A, B]);
    let now = world.now;
    assert_eq!(world.table.drain(A, now), Ok(A.to_owned()));
    world.look();
    assert_eq!(world.weights(), [0, UNIT]);
    assert_eq!(
        world.table.resume("10.0.0.1:1@3", now),
        Ok((A.to_owned(), true))
    );
    assert_eq!(world.table.resume(A, now), Ok((A.to_owned(), false)));
    world.table.weigh(A, 7, now).unwrap();
    world.look();
    assert_eq!(world.weights(), [7 * UNIT, UNIT]);
    let twice = world.table.add(A.parse().unwrap(), now).unwrap_err();
    assert_eq!(twice, "backend 10.0.0.1:1 is there already");
    world.board.entry(1).or_default().open = 2;
    world.table.remove(B, now).unwrap();
    assert!(matches!(&world.look()[..], [News::Leaves { .. }]));
    assert_eq!(world.weights(), [7 * UNIT]);
    assert_eq!(world.table.members().count(), 2, "it has sessions");
    let only = world.table.remove(A, now).unwrap_err();
    assert!(only.contains("the only backend"), "{only}");
    // It comes again before its sessions have ended: the same place.
    world.table.add(B.parse().unwrap(), now).unwrap();
    world.look();
    assert_eq!(world.table.planned()[1].at, 1);
    let unknown = world.table.drain("10.0.0.1:2", now).unwrap_err();
    assert_eq!(
        unknown,
        "there is no backend 10.0.0.1:2; did you mean 10.0.0.1:1?"
    );
    let unknown = world.table.drain("nobody", now).unwrap_err();
    assert!(unknown.contains("forkfront status"), "{unknown}");
}

fn lead(target: &str) -> Lead {
    Lead {
        target: Target::Tcp(target.parse().unwrap()),
        ..Lead::default()
    }
}

#[test]
fn the_addresses_of_a_name_come_and_go() {
    let mut world = World::of(&["db.example:5432", A]);
    let host = Host::Name("db.example".into(), 5432);
    assert_eq!(world.weights(), [UNIT]);
    let (one, two) = ("10.1.0.1:5432", "10.1.0.2:5432");
    world.table.resolved(
        &host,
        Ok(vec![lead(one), lead(two), lead(A)].into()),
        world.now,
    );
    let said = world.look();
    let joined = "backend db.example:5432 (10.1.0.1:5432) joins";
    assert_eq!(said[0].to_string(), joined);
    assert_eq!(
        world.weights(),
        [UNIT; 3],
        "the address that another has is not twice in it"
    );
    world.table.drain("db.example:5432", world.now).unwrap();
    world.table.resume(two, world.now).unwrap();
    let drained: Vec<bool> = world.weights().iter().map(|weight| *weight == 0).collect();
    assert_eq!(drained, [true, false, false]);
    // It holds for addresses that come later, too.
    world.table.resume("db.example:5432", world.now).unwrap();
    world.table.drain("db.example:5432", world.now).unwrap();
    world
        .table
        .resolved(&host, Ok(vec![lead("10.1.0.3:5432")].into()), world.now);
    world.look();
    assert_eq!(world.weights(), [0, UNIT]);
    let why = || Err("cannot resolve db.example".to_owned());
    world.table.resolved(&host, why(), world.now);
    let said = world.look();
    assert!(
        said[0].to_string().ends_with("its last addresses are kept"),
        "{said:?}"
    );
    world.table.resolved(&host, why(), world.now);
    assert!(world.look().is_empty(), "it is said once");
    assert_eq!(world.table.planned().len(), 2);
}

fn host_of(via: &str, target: &str) -> Lead {
    Lead {
        via: via.into(),
        ..lead(target)
    }
}

#[test]
fn what_an_srv_record_names_stays_while_nobody_knows_its_address() {
    let mut world = World::of(&["srv:_x._tcp.test", A]);
    let host = Host::Srv("_x._tcp.test".into());
    let (a, b, c) = ("10.1.0.1:7", "10.1.0.2:7", "10.1.0.3:7");
    let addresses = |world: &World| -> Vec<String> {
        let planned = world.table.planned();
        planned.iter().map(|one| one.target.to_string()).collect()
    };
    let all = vec![host_of("a.test", a), host_of("b.test", b)];
    world.table.resolved(&host, Ok(all.into()), world.now);
    world.look();
    // b cannot be asked for, a is elsewhere now: b stays, as it was.
    let part = Resolved {
        leads: vec![host_of("a.test", c)],
        missing: vec![Missing {
            via: "b.test".into(),
            why: "the name server is away".into(),
        }],
    };
    world.table.resolved(&host, Ok(part.clone()), world.now);
    let said = world.look();
    assert_eq!(addresses(&world), [c, b, A]);
    let trouble = "cannot resolve b.test of srv:_x._tcp.test: the name server is away; its last addresses are kept";
    assert_eq!(said[0].to_string(), trouble);
    world.table.resolved(&host, Ok(part), world.now);
    assert!(world.look().is_empty(), "it is said once");
    assert_eq!(addresses(&world), [c, b, A]);
    // Now it is known that there is none.
    let rest = vec![host_of("a.test", c)];
    world.table.resolved(&host, Ok(rest.into()), world.now);
    let said = world.look();
    assert!(
        said.contains(&News::Resolved {
            name: host.to_string()
        }),
        "{said:?}"
    );
    assert_eq!(addresses(&world), [c, A]);
}

#[test]
fn an_address_that_is_taken_out_is_out_whatever_names_lead_there() {
    let mut world = World::of(&[A, "db.example:5432"]);
    let host = Host::Name("db.example".into(), 5432);
    let now = world.now;
    world
        .table
        .resolved(&host, Ok(vec![lead(A), lead(B)].into()), now);
    world.table.drain(A, now).unwrap();
    world.look();
    assert_eq!(world.weights(), [0, UNIT]);
    world.table.remove(A, now).unwrap();
    world.look();
    let left = world.table.planned();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].target.to_string(), B);
    // With it no backend would be left.
    let only = world.table.remove(B, now).unwrap_err();
    assert!(only.contains("the only backend"), "{only}");
    assert_eq!(world.weights(), [UNIT]);
    // It can be added again.
    world.table.add(A.parse().unwrap(), now).unwrap();
    world.look();
    assert_eq!(world.weights(), [UNIT, UNIT]);
}

#[test]
fn what_is_added_without_an_address_of_its_own_is_told_so() {
    let mut world = World::of(&[A, B]);
    let now = world.now;
    let twice = world.table.add("[::ffff:10.0.0.1]:1".parse().unwrap(), now);
    assert_eq!(
        twice.unwrap_err(),
        "backend [::ffff:10.0.0.1]:1 is there already, as 10.0.0.1:1"
    );
    world
        .table
        .add("db.example:1".parse().unwrap(), now)
        .unwrap();
    let host = Host::Name("db.example".into(), 1);
    world.table.resolved(&host, Ok(vec![lead(A)].into()), now);
    let why = world.table.no_use("db.example:1");
    assert_eq!(
        why.unwrap(),
        "backend db.example:1 has no address of its own: all are there already, as of 10.0.0.1:1"
    );
    world.table.give_up("db.example:1", now);
    assert_eq!(world.table.items().len(), 2);
    world
        .table
        .add("db.example:1".parse().unwrap(), now)
        .unwrap();
    world
        .table
        .resolved(&host, Ok(vec![lead(A), lead(C)].into()), now);
    assert_eq!(world.table.no_use("db.example:1"), None);
}

#[test]
fn only_what_was_added_is_given_up() {
    let mut world = World::of(&[A, "db.example:1"]);
    let now = world.now;
    world.table.give_up("db.example:1", now);
    assert_eq!(world.table.items().len(), 2, "the file says it");
    world
        .table
        .add("other.example:1".parse().unwrap(), now)
        .unwrap();
    world.table.add(B.parse().unwrap(), now).unwrap();
    // The file says it, too, from now on.
    let both = proxy(&[A, "db.example:1", "other.example:1"]);
    world.table.settle(&both, now);
    world.table.give_up("other.example:1", now);
    assert_eq!(world.table.items().len(), 3);
    world.table.add(B.parse().unwrap(), now).unwrap();
    world.table.leave_out(|_| true, now);
    let left: Vec<String> = world.table.items().iter().map(|one| one.name()).collect();
    assert_eq!(left, [A, "db.example:1", "other.example:1"]);
}

#[test]
fn a_list_that_is_settled_anew_keeps_what_stays() {
    let mut world = World::of(&[A, B]);
    world.check(0, false);
    world.table.drain(B, world.now).unwrap();
    world.table.take_replanned();
    world
        .table
        .settle(&proxy(&[C, "10.0.0.1:1@5", B]), world.now);
    world.look();
    assert!(world.table.take_replanned());
    let planned = world.table.planned();
    let places: Vec<(String, usize)> = planned
        .iter()
        .map(|one| (one.name.clone(), one.at))
        .collect();
    assert_eq!(places, [(C.into(), 2), (A.into(), 0), (B.into(), 1)]);
    assert!(world.table.member(0).unwrap().is_down());
    assert_eq!(
        world.weights(),
        [UNIT, 0, 0],
        "what was drained by hand stays so"
    );
    world
        .table
        .settle(&proxy(&[C, "10.0.0.1:1@5", B]), world.now);
    assert!(!world.table.take_replanned());
}

#[test]
fn a_place_that_was_left_lies_fallow_and_no_list_is_too_long() {
    let names: Vec<String> = (0..600)
        .map(|n| format!("10.1.{}.{}:1", n / 250, n % 250))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut world = World::of(&names);
    assert_eq!(world.table.planned().len(), BACKENDS);
    let mut world2 = World::of(&[A, B]);
    for n in 1..100_u32 {
        let now = world2.now;
        let name = format!("10.9.9.9:{n}");
        world2.table.add(name.parse().unwrap(), now).unwrap();
        world2.look();
        assert_eq!(
            world2.table.planned()[2].at,
            n as usize + 1,
            "nobody had it before"
        );
        world2.table.remove(&name, now).unwrap();
        world2.look();
    }
    world.table.remove(names[3], world.now).unwrap();
    world.look();
    assert!(
        !world.table.planned().iter().any(|one| one.at == 3),
        "too early"
    );
    world.pass(31.0);
    world.table.settle(&proxy(&names), world.now);
    world.look();
    assert_eq!(world.table.planned().len(), BACKENDS);
}

#[test]
fn one_that_is_back_is_tried_at_once_when_the_other_stays_in_only_for_want_of_others() {
    let mut world = World::of(&[A, B]);
    world.fail(0, 3);
    let said = world.fail(1, 3);
    assert!(said.contains(&News::FailOpen), "{said:?}");
    assert_eq!(world.weights(), [UNIT, UNIT]);
    world.connect(0);
    assert_eq!(world.table.serving(), Serving::Main);
    assert!(world.weights()[0] == UNIT, "it gets sessions");
}

#[test]
fn one_on_trial_is_better_than_one_that_is_down() {
    let mut world = World::of(&[A, "10.0.0.2:1+backup", C]);
    world.fail(1, 3);
    world.pass(6.0);
    world.check(0, false);
    world.check(2, false);
    assert_eq!(world.table.serving(), Serving::Backups);
    assert_eq!(world.weights(), [0, UNIT / 16, 0]);
    let said = world.fail(1, 1);
    assert!(said.contains(&News::FailOpen), "{said:?}");
}

#[test]
fn whatever_happens_somebody_serves_who_may() {
    for seed in 0..200 {
        let mut random = Random(seed);
        let names: Vec<String> = (0..1 + random.below(6))
            .map(|n| format!("10.0.0.{n}:1"))
            .collect();
        let written: Vec<String> = names
            .iter()
            .map(|name| match random.below(4) {
                0 => format!("{name}+backup"),
                1 => format!("{name}@{}", 1 + random.below(9)),
                _ => name.clone(),
            })
            .collect();
        let written: Vec<&str> = written.iter().map(String::as_str).collect();
        let mut config = proxy(&written);
        config.eject.share = (random.below(11) * 10) as u8;
        config.slow_start = secs(random.below(3) as f64 * 5.0);
        let mut world = World::new(&config);
        for _ in 0..400 {
            let at = random.below(names.len() + 1);
            let name = names.get(at).map_or("10.9.0.1:1", String::as_str);
            match random.below(12) {
                0..=2 => _ = world.check(at, random.below(2) == 0),
                3..=4 => _ = world.fail(at, 1 + random.below(3) as u32),
                5..=6 => _ = world.connect(at),
                7 => _ = world.table.drain(name, world.now),
                8 => _ = world.table.resume(name, world.now),
                9 => _ = world.table.remove(name, world.now),
                10 => {
                    _ = name
                        .parse()
                        .map(|backend| world.table.add(backend, world.now))
                }
                _ => _ = world.pass(random.below(200) as f64 / 10.0),
            }
            world.look();
            holds(&world, seed);
        }
    }
}

fn holds(world: &World, seed: u64) {
    let table = &world.table;
    let weights = world.weights();
    let planned = table.planned();
    let places: BTreeSet<usize> = planned.iter().map(|one| one.at).collect();
    assert_eq!(places.len(), planned.len(), "one place each ({seed})");
    let members: Vec<_> = planned
        .iter()
        .map(|one| table.member(one.at).unwrap())
        .collect();
    let wanted = members.iter().any(|one| one.is_wanted());
    assert_eq!(
        weights.iter().any(|weight| *weight > 0),
        wanted,
        "somebody serves ({seed})"
    );
    for (member, weight) in members.iter().zip(&weights) {
        assert!(!member.leaving && *weight <= member.full(), "{seed}");
        assert!(
            *weight == 0 || !member.drained,
            "a drained one gets nothing ({seed})"
        );
        let good = members.iter().any(|one| one.is_good());
        assert!(
            *weight == 0 || !good || !member.is_down() && !member.is_out(),
            "{seed}"
        );
        let main = members.iter().any(|one| one.is_good() && !one.backup);
        assert!(*weight == 0 || !main || !member.backup, "{seed}");
    }
    if let Some(next) = table.next(world.now) {
        let soon = next.since(world.now);
        assert!(next >= world.now && soon <= secs(60.0), "{soon:?} ({seed})");
    }
}

#[test]
fn all_are_checked_at_once_then_spread_then_by_their_interval() {
    let mut random = Random(7);
    let mut schedule = Schedule::default();
    let interval = secs(10.0);
    let start = Moment(secs(5.0));
    let who: BTreeMap<usize, bool> = (0..100).map(|at| (at, false)).collect();
    let mut last: BTreeMap<usize, Moment> = BTreeMap::new();
    let mut gaps: Vec<f64> = Vec::new();
    let mut now = start;
    while now < start + secs(60.0) {
        schedule.attend(now, &who, interval, || 0);
        let mut begun = Vec::new();
        while let Some(at) = schedule.begin(now) {
            begun.push(at);
        }
        assert!(begun.len() <= AT_ONCE);
        for at in begun {
            if let Some(before) = last.insert(at, now) {
                gaps.push(now.since(before).as_secs_f64());
            }
            schedule.done(now, at, false, (interval, random.next()));
        }
        now = schedule.next().unwrap();
        assert!(last.len() == 100 || now == start, "all at once at first");
    }
    assert!(gaps.iter().all(|gap| *gap <= 11.1), "{gaps:?}");
    let short = gaps.iter().filter(|gap| **gap < 8.9).count();
    assert!(
        (60..=100).contains(&short),
        "only the first gap is short: {short}"
    );
    // Who has gone is not checked any more, who was known is spread.
    let who: BTreeMap<usize, bool> = [(7, true), (200, true)].into();
    schedule.attend(now, &who, interval, || u64::MAX);
    let turns: BTreeSet<usize> = (0..300)
        .filter_map(|_| schedule.begin(now + interval * 2))
        .collect();
    assert_eq!(turns, [7, 200].into());
}

#[test]
fn those_that_never_answer_do_not_keep_the_others_unchecked() {
    let mut schedule = Schedule::default();
    let (interval, timeout) = (secs(2.0), secs(30.0));
    let start = Moment(secs(5.0));
    let (dead, all) = (60, 100);
    let who: BTreeMap<usize, bool> = (0..all).map(|at| (at, false)).collect();
    schedule.attend(start, &who, interval, || 0);
    let mut random = Random(7);
    let mut given_up: BTreeMap<usize, Moment> = BTreeMap::new();
    let mut checks: BTreeMap<usize, u32> = BTreeMap::new();
    let mut now = start;
    while now < start + secs(600.0) {
        let late: Vec<usize> = given_up
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(one, _)| *one)
            .collect();
        for at in late {
            given_up.remove(&at);
            schedule.done(now, at, true, (interval, random.next()));
        }
        while let Some(at) = schedule.begin(now) {
            *checks.entry(at).or_default() += 1;
            if at < dead {
                given_up.insert(at, now + timeout);
            } else {
                schedule.done(now, at, false, (interval, random.next()));
            }
        }
        let wake = schedule
            .next()
            .into_iter()
            .chain(given_up.values().copied())
            .min()
            .unwrap();
        assert!(wake > now, "it would spin");
        now = wake;
    }
    let well: Vec<u32> = (dead..all).map(|at| checks[&at]).collect();
    assert!(well.iter().all(|count| *count > 200), "{well:?}");
    let rest: Vec<u32> = (0..dead).map(|at| checks[&at]).collect();
    assert!(rest.iter().all(|count| *count >= 3), "{rest:?}");
}

#[test]
fn another_image_reads_what_this_one_wrote() {
    let mut world = World::of(&[A, "10.0.0.2:1+backup", "unix:/run/x", "db.example:1"]);
    world.check(0, false);
    world.fail(1, 3);
    world.table.drain("unix:/run/x", world.now).unwrap();
    world.look();
    world.table.take_replanned();
    let text = serde_json::to_string(&world.table).unwrap();
    let read: Table = serde_json::from_str(&text).unwrap();
    assert_eq!(read, world.table);
    assert!(matches!(
        read.member(0).unwrap().checked,
        Checked::Ill { .. }
    ));
    let empty: Table = serde_json::from_str("{}").unwrap();
    assert_eq!(empty, Table::default());
}

#[test]
fn an_image_reads_what_another_version_wrote() {
    // Without what that one did not know, and with what this one does not.
    let text = r#"{
        "items": [
            {"backend": {"host": {"address": "10.0.0.1:1"}, "weight": 1, "colour": "red"},
             "leads": [{"target": {"tcp": "10.0.0.1:1"}, "colour": "red"}], "colour": "red"}
        ],
        "members": {"0": {"name": "10.0.0.1:1", "target": {"tcp": "10.0.0.1:1"}, "colour": "red"}},
        "order": [0],
        "rules": {"check": {"what": {"http": "/"}, "colour": "red"}, "colour": "red"},
        "begun": true
    }"#;
    let table: Table = serde_json::from_str(text).unwrap();
    let expected = Check::new(CheckWhat::Http("/".into()));
    assert_eq!(table.rules().check, Some(expected));
    let planned = table.planned();
    assert_eq!((planned[0].weight, planned[0].at), (1, 0));
    assert_eq!(table.items()[0].backend, A.parse().unwrap());
    assert_eq!(table.items()[0].leads[0].weight, 1);
}
