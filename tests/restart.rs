//! What follows the end of a worker by `--restart`, `--stop-exit-codes` and `--max-restarts`; what `restart`
//! does to slots that were given up.

mod common;

use std::time::Duration;

use common::*;
use forkfront::status::{SlotState, SlotStatus, Status};
use nix::sys::signal::Signal;

/// Asks some worker to exit; returns its slot.
fn one_exits(site: &Site) -> usize {
    let answer = Client::asking(site.to(), 1, "exit").answered_by();
    answer.slot.expect("a slot").into()
}

fn states(status: &Status) -> Vec<SlotState> {
    status.slots.iter().map(|slot| slot.state).collect()
}

/// The slot has no worker and gets none; the other one answers everybody.
fn gives_up(site: &Site, balancer: &Balancer, slot: usize, state: SlotState) -> SlotStatus {
    let status = balancer.until("the slot is given up", |status| {
        status.slots[slot].state == state && status.slots[slot].pid.is_none()
    });
    std::thread::sleep(Duration::from_millis(500));
    Crowd::gather(site.to(), 10..30).answers().all_answered(20);
    let later = balancer.status();
    assert_eq!(later.slots[slot].restarts, status.slots[slot].restarts);
    assert_eq!(states(&later)[1 - slot], SlotState::Ready);
    later.slots[slot].clone()
}

#[test]
fn on_failure_lets_a_success_be_the_end() {
    let site = Site::new();
    let mut balancer = Balancer::nodes(&site, 2, &["--restart", "on-failure"]);
    let victim = balancer.workers()[0];
    send(victim, Signal::SIGKILL);
    balancer.replaced(&[victim]);
    balancer.all_ready();
    let slot = one_exits(&site);
    gives_up(&site, &balancer, slot, SlotState::Stopped);
    balancer.command(&["restart", &slot.to_string()]).done();
    balancer.all_ready();
    Crowd::gather(site.to(), 40..60)
        .answers()
        .all_answered(20)
        .even(2, 1);
    balancer.finish();
}

#[test]
fn a_stop_exit_code_is_the_end_of_its_slot() {
    let site = Site::new();
    let mut balancer = Balancer::shells(
        &site,
        2,
        &["--stop-exit-codes", "77,78"],
        "node HTTP; exit 78",
    );
    balancer.all_ready();
    let slot = one_exits(&site);
    gives_up(&site, &balancer, slot, SlotState::Stopped);
    balancer.command(&["reload"]).done();
    balancer.all_ready();
    balancer.finish();
}

#[test]
fn too_many_restarts_are_the_end_of_a_slot_and_of_no_other() {
    let site = Site::new();
    let mended = site.file("mended");
    let line = slot_1_until(&mended, "exit 3");
    let mut balancer = Balancer::shells(&site, 2, &["--max-restarts", "3/1m"], &line);
    let failed = gives_up(&site, &balancer, 1, SlotState::Failed);
    assert_eq!(failed.restarts, 3);
    balancer.says("3 restarts within 60 s");
    let finished = balancer.command(&["restart", "1"]);
    finished.failed(1, &["exit code 3"]);
    std::fs::write(&mended, "").expect("written");
    balancer.command(&["restart", "1"]).done();
    balancer.all_ready();
    balancer.finish();
}

#[test]
fn without_any_worker_to_come_the_primary_ends_as_they_did() {
    let site = Site::new();
    let mut balancer = Balancer::nodes(&site, 1, &["--restart", "never"]);
    one_exits(&site);
    assert_eq!(balancer.wait(), Some(0));
    balancer.nothing_left();

    let site = Site::new();
    let mut balancer = Balancer::nodes(&site, 2, &["--restart", "never"]);
    send_all(&balancer.workers(), Signal::SIGKILL);
    assert_eq!(balancer.wait(), Some(1));
    balancer.says("every worker has ended");
    balancer.nothing_left();
}

#[test]
fn never_means_never_and_a_reload_revives() {
    let site = Site::new();
    let mut balancer = Balancer::nodes(&site, 2, &["--restart", "never"]);
    let slot = one_exits(&site);
    let stopped = gives_up(&site, &balancer, slot, SlotState::Stopped);
    let why = stopped.why.unwrap_or_default();
    assert!(why.contains("exit code 0"), "{why}");
    balancer.reload().done();
    balancer.all_ready();
    balancer.finish();
}

#[test]
fn a_reload_tries_a_failed_slot_again() {
    let site = Site::new();
    let mended = site.file("mended");
    let line = slot_1_until(&mended, "exit 3");
    let balancer = Balancer::shells(&site, 2, &["--max-restarts", "3/1m"], &line);
    let status = balancer.until("slot 1 has failed", |status| {
        let slot = status.slots.get(1);
        slot.is_some_and(|slot| slot.state == SlotState::Failed)
    });
    let why = status.slots[1].why.as_deref().unwrap_or_default();
    assert!(why.contains("exit code 3"), "{why}");
    let load = Load::start(site.to(), 4, 1, DEADLINE);
    load.proceed(200);
    balancer.reload().failed(1, &["slot 1", "exit code 3"]);
    load.proceed(100);
    std::fs::write(&mended, "").expect("written");
    balancer.reload().done();
    load.stop().clean();
    balancer.finish();
}

#[test]
fn a_worker_that_was_still_starting_is_renewed_all_the_same() {
    // It gets ready after the reload has begun and before the one that the reload has started.
    let site = Site::new();
    let delay = site.file("delay");
    let line = format!(
        "[ $FORKFRONT_SLOT = 1 ] && [ -e {0} ] && sleep $(cat {0}); exec node HTTP",
        delay.display()
    );
    let mut balancer = Balancer::shells(&site, 2, &["--reload-parallel", "2"], &line);
    balancer.all_ready();
    let write = |seconds| std::fs::write(&delay, seconds).expect("written");
    write("1.5");
    let victim = balancer.workers()[1];
    send(victim, Signal::SIGKILL);
    balancer.until("slot 1 starts again", |status| {
        status.slots[1].state == SlotState::Starting && status.slots[1].pid != Some(victim)
    });
    write("4");
    balancer.reload().done();
    let status = balancer.all_ready();
    let generations: Vec<u32> = status.slots.iter().map(|slot| slot.generation).collect();
    assert_eq!(generations, [2, 2], "{}", balancer.output());
    balancer.finish();
}

#[test]
fn a_reload_does_not_wait_for_a_slot_in_its_back_off() {
    let site = Site::new();
    let mended = site.file("mended");
    let line = slot_1_until(&mended, "exit 3");
    let balancer = Balancer::shells(&site, 2, &[], &line);
    let in_back_off = |status: &Status| {
        let slot = status.slots.get(1);
        slot.is_some_and(|slot| slot.state == SlotState::Waiting && slot.restarts >= 4)
    };
    balancer.until("slot 1 waits ever longer", in_back_off);
    let failed = balancer.reload().failed(1, &["slot 1", "exit code 3"]);
    assert!(failed.took < Duration::from_secs(5), "{failed}");
    balancer.until("slot 1 waits again", in_back_off);
    std::fs::write(&mended, "").expect("written");
    let done = balancer.reload().done();
    assert!(done.took < Duration::from_secs(5), "{done}");
    assert_eq!(states(&balancer.status()), [SlotState::Ready; 2]);
    balancer.finish();
}

#[test]
fn former_workers_of_one_slot_are_never_many() {
    let site = Site::new();
    let flags = ["--drain-timeout", "100s", "--max-old", "2"];
    let balancer = Balancer::nodes(&site, 1, &flags);
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(Endless::open(site.to()));
        balancer.command(&["restart", "0"]).done();
    }
    assert!(held[0].ends_within(DEADLINE), "the oldest has to hurry");
    assert!(held[1].is_alive() && held[2].is_alive());
    drop(held);
    balancer.finish();
}
