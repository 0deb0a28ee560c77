//! What may change while connections come: slots, weights, the policy, the bounds.

use super::*;
use crate::primary::app::room::Room;

fn slot(number: u16, held: bool) -> Command {
    Command::Hold {
        slot: SlotId(number),
        held,
    }
}

fn dealt(snapshot: &Snapshot) -> Vec<u64> {
    snapshot.slots.iter().map(|slot| slot.dealt).collect()
}

#[test]
fn a_slot_on_hold_gets_nothing_and_gives_back_what_it_has_queued() {
    let bench = Bench::new(2, |_| {});
    let (former, other) = (bench.hire(0, 9), bench.hire(1, 11));
    let _before = bench.connect(10);
    bench.wait_until_accepted(10);
    let held = bench.hire(0, 10);
    let _clients = bench.connect(10);
    bench.wait_until_accepted(20);
    bench.send(slot(0, true));
    bench.wait_for("all with the other", |now| now.slots[1].queued == 20);
    let _more = bench.connect(5);
    let now = bench.wait_until_accepted(25);
    assert_eq!(dealt(&now), [0, 25]);
    assert!(now.slots[0].on_hold && !now.slots[1].on_hold);
    assert_eq!((former.take().len(), held.take().len()), (0, 0));
    // Whatever worker sits there.
    bench.send(Command::Forget(held.id));
    let heir = bench.hire(0, 12);
    let _still_more = bench.connect(5);
    bench.wait_until_accepted(30);
    assert_eq!((heir.take().len(), other.take().len()), (0, 30));
    bench.send(slot(0, false));
    let _evenly = bench.connect(10);
    bench.wait_until_accepted(40);
    assert_eq!((heir.take().len(), other.take().len()), (5, 5));
}

#[test]
fn with_all_slots_on_hold_connections_wait_for_one_that_is_not() {
    let bench = Bench::new(1, |settings| settings.max_held = 4);
    let worker = bench.hire(0, 10);
    bench.send(slot(0, true));
    let _clients = bench.connect(10);
    bench.wait_for("four held", |now| now.held == 4);
    bench.send(slot(0, false));
    bench.wait_for("dealt", |now| now.held == 0 && now.slots[0].queued == 10);
    assert_eq!(worker.numbers(), (1..=10).collect::<Vec<_>>());
}

#[test]
fn a_client_of_a_slot_on_hold_goes_elsewhere_at_once_and_comes_home() {
    let bench = Bench::new(3, |settings| {
        settings.routing.sticky = Some(Sticky::Ip(Prefixes::default()));
    });
    let workers = [bench.hire(0, 10), bench.hire(1, 11), bench.hire(2, 12)];
    let _first = bench.connect(1);
    let now = bench.wait_until_accepted(1);
    let home = dealt(&now).iter().position(|&count| count == 1).unwrap();
    bench.send(slot(home as u16, true));
    // --steal-after is a minute here: nobody waits for that.
    let _away = bench.connect(4);
    bench.wait_until_accepted(5);
    assert_eq!(workers[home].take().len(), 0);
    bench.send(slot(home as u16, false));
    let _back = bench.connect(3);
    bench.wait_until_accepted(8);
    assert_eq!(workers[home].take().len(), 3);
}

#[test]
fn slots_come_and_go_and_the_ledger_remembers_them() {
    let bench = Bench::new(1, |_| {});
    let first = bench.hire(0, 10);
    bench.send(Command::Resize(3));
    let (second, third) = (bench.hire(1, 11), bench.hire(2, 12));
    let _clients = bench.connect(30);
    bench.wait_until_accepted(30);
    assert_eq!(second.take().len(), 10);
    bench.send(Command::Weight {
        slot: SlotId(1),
        weight: 7,
    });
    // Nobody has evicted them before: what they have queued comes back all the same.
    bench.send(Command::Resize(1));
    let now = bench.wait_for("all with the first", |now| now.slots[0].queued == 20);
    assert_eq!(dealt(&now), [20, 10, 0]);
    let _more = bench.connect(5);
    bench.wait_until_accepted(35);
    assert_eq!((second.take().len(), third.take().len()), (0, 0));
    assert_eq!(first.take().len(), 25);
    // A slot that comes again is a new one; a worker from before does not return to it.
    bench.send(Command::Resize(2));
    bench.send(Command::Resume {
        worker: second.id,
        listener: LISTENER,
    });
    let heir = bench.hire(1, 20);
    let _still_more = bench.connect(4);
    let now = bench.wait_until_accepted(39);
    assert_eq!((second.take().len(), heir.take().len()), (0, 2));
    assert_eq!(now.slots[1].weight, now.slots[0].weight);
    // A seat in a slot that is not there is dealt nothing, and harms nobody.
    let lost = bench.hire(9, 30);
    bench.send(Command::Forget(lost.id));
    bench.snapshot();
}

#[test]
fn weights_change_from_one_connection_to_the_next() {
    let bench = Bench::new(2, |_| {});
    let (light, heavy) = (bench.hire(0, 10), bench.hire(1, 11));
    bench.send(Command::Weight {
        slot: SlotId(1),
        weight: 300,
    });
    let _clients = bench.connect(40);
    bench.wait_until_accepted(40);
    assert_eq!((light.take().len(), heavy.take().len()), (10, 30));
    bench.send(Command::Weight {
        slot: SlotId(1),
        weight: 100,
    });
    let _more = bench.connect(10);
    bench.wait_until_accepted(50);
    assert_eq!((light.take().len(), heavy.take().len()), (5, 5));
    // Nothing for weight 0, as long as there is somebody else.
    bench.send(Command::Weight {
        slot: SlotId(0),
        weight: 0,
    });
    let _still_more = bench.connect(6);
    bench.wait_until_accepted(56);
    assert_eq!((light.take().len(), heavy.take().len()), (0, 6));
    bench.send(Command::Forget(heavy.id));
    let _last = bench.connect(2);
    bench.wait_until_accepted(58);
    bench.wait_for("dealt", |now| now.held == 0);
    assert_eq!(light.take().len(), 2);
}

#[test]
fn the_policy_changes_and_a_client_finds_its_slot_again() {
    let sticky = Some(Sticky::Ip(Prefixes::default()));
    let bench = Bench::new(4, |settings| settings.routing.sticky = sticky.clone());
    let workers: Vec<Worker> = (0..4).map(|slot| bench.hire(slot, 10)).collect();
    let counts = || {
        let taken = workers.iter().map(|worker| worker.take().len());
        taken.collect::<Vec<_>>()
    };
    let _clients = bench.connect(4);
    bench.wait_until_accepted(4);
    let at_home = counts();
    bench.send(Command::Route(Routing::default()));
    let _more = bench.connect(8);
    bench.wait_until_accepted(12);
    assert_eq!(counts(), [2; 4]);
    bench.send(Command::Route(Routing {
        balance: Balance::LeastConnections,
        sticky,
        ..Routing::default()
    }));
    let _again = bench.connect(4);
    bench.wait_until_accepted(16);
    assert_eq!(counts(), at_home);
}

#[test]
fn bounds_change() {
    let bench = Bench::new(1, |settings| settings.max_held = 2);
    let _clients = bench.connect(12);
    bench.wait_for("two held", |now| now.held == 2);
    bench.send(Command::SetLimits {
        max_held: 6,
        steal_after: Duration::from_millis(20),
        room: Some(Room {
            queue_cap: 3,
            fd_ceiling: i32::MAX,
            peeked: 10,
        }),
    });
    bench.wait_for("six held", |now| now.held == 6);
    let worker = bench.hire(0, 10);
    bench.wait_for("three queued", |now| {
        now.slots[0].queued == 3 && now.held == 6
    });
    assert_eq!(worker.numbers(), [1, 2, 3]);
}
