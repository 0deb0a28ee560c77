//! A dispatcher that stands still and goes on: nobody notices but by the clock.

use super::super::Frozen;
use super::*;
use crate::sys::handover::Luggage;

impl Bench {
    /// As an upgrade does it, but for the exec: through text, and into another thread.
    pub(super) fn freeze_and_thaw(&mut self, boards: &[&Worker]) {
        let mut luggage = Luggage::default();
        let mut dispatcher = self.dispatcher.take().unwrap();
        let frozen = dispatcher.freeze(&self.reports, &mut luggage);
        let text = serde_json::to_string(&frozen).unwrap();
        let frozen: Frozen = serde_json::from_str(&text).unwrap();
        let board = |id| {
            let worker = boards.iter().find(|worker| worker.id == id);
            worker.map(|worker| worker.board.clone())
        };
        let (sender, up) = (self.sender.clone(), self.up.clone());
        let thawed = Dispatcher::thaw(frozen, &mut luggage, board, sender, up);
        let mut thawed = thawed.unwrap();
        thawed.go_on().unwrap();
        self.dispatcher = Some(thawed);
        assert!(luggage.labels().is_empty(), "all was taken out again");
    }
}

#[test]
fn queued_and_held_connections_arrive_and_the_ledger_adds_up() {
    let mut bench = Bench::new(3, |settings| {
        (settings.max_held, settings.queue_cap) = (10, 4);
    });
    let (one, two) = (bench.hire(0, 10), bench.hire(1, 11));
    let mut clients = bench.connect(30);
    let before = bench.wait_for("queued and held", |now| {
        now.held == 10 && now.slots[0].queued + now.slots[1].queued == 8
    });
    bench.freeze_and_thaw(&[&one, &two]);
    clients.extend(bench.connect(10));
    let after = bench.snapshot();
    assert_eq!((before.held, before.slots), (after.held, after.slots));
    let deadline = Instant::now() + PATIENCE;
    let mut numbers = Vec::new();
    while numbers.len() < 40 {
        for worker in [&one, &two] {
            for (record, mut stream) in worker.take() {
                stream.write_all(b"x").unwrap();
                numbers.push(record.connection);
            }
        }
        assert!(Instant::now() < deadline, "{numbers:?}");
        std::thread::yield_now();
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=40).collect::<Vec<_>>(), "each exactly once");
    let mut answer = [0];
    clients
        .iter_mut()
        .for_each(|client| client.read_exact(&mut answer).unwrap());
}

#[test]
fn what_was_under_way_goes_on() {
    const OTHER: ListenerId = ListenerId(7);
    let mut bench = Bench::new(2, |settings| settings.max_held = 6);
    let at = bench.listen(OTHER);
    let (dead, old, new) = (bench.hire(0, 10), bench.hire(1, 11), bench.hire(1, 12));
    let _clients = bench.connect(20);
    bench.wait_until_accepted(20);
    bench.send(Command::Hold {
        slot: SlotId(1),
        held: true,
    });
    // Three find room in hand, the others stay where they are; nobody serves the other listener.
    bench.send(Command::Forget(dead.id));
    let _others: Vec<_> = (0..2).map(|_| TcpStream::connect(at).unwrap()).collect();
    bench.wait_for("as many held as may be", |now| now.held == 5);
    bench.send(Command::RemoveListener(OTHER));
    // Its dead worker's scoreboard is not known any more.
    bench.freeze_and_thaw(&[&old, &new]);
    bench.wait_for("given up", |now| now.closed_by_policy == 2);
    let closed = bench.report(|report| match report {
        Report::ListenerClosed(id) => Some(id),
        _ => None,
    });
    assert_eq!(closed, OTHER);
    assert!(bench.snapshot().slots[1].on_hold);
    bench.send(Command::Hold {
        slot: SlotId(1),
        held: false,
    });
    bench.wait_for("all with the living", |now| now.slots[1].queued == 20);
    assert_eq!((old.take().len(), new.take().len()), (0, 20));
}

#[test]
fn choices_and_unheard_reports_are_kept() {
    let mut bench = Bench::new(4, |settings| {
        settings.routing.sticky = Some(Sticky::Ip(Prefixes::default()));
        settings.hash_key = (u64::MAX, u64::MAX - 1);
    });
    let workers: Vec<Worker> = (0..4)
        .map(|slot| bench.hire(slot, 10 + u64::from(slot)))
        .collect();
    let gone = Worker {
        id: WorkerId(99),
        end: workers[0].end.try_clone().unwrap(),
        board: workers[0].board.clone(),
    };
    let _clients = bench.connect(5);
    bench.wait_until_accepted(5);
    bench.evict(&gone);
    bench.freeze_and_thaw(&workers.iter().collect::<Vec<_>>());
    let _more = bench.connect(5);
    let now = bench.wait_until_accepted(10);
    assert!(now.slots.iter().any(|slot| slot.queued == 10), "{now:?}");
    let report = bench.reports.try_recv();
    assert!(
        matches!(report, Ok(Report::Evicted { worker, .. }) if worker == gone.id),
        "{report:?}"
    );
}

#[test]
fn a_turn_is_not_begun_anew() {
    let mut bench = Bench::new(2, |_| {});
    let (one, two) = (bench.hire(0, 10), bench.hire(1, 11));
    for count in 1..=6 {
        let _client = bench.connect(1);
        bench.wait_until_accepted(count);
        bench.freeze_and_thaw(&[&one, &two]);
    }
    assert_eq!((one.take().len(), two.take().len()), (3, 3));
}

#[test]
fn a_state_that_does_not_fit_is_refused() {
    let bench = Bench::new(2, |_| {});
    let worker = bench.hire(0, 10);
    let mut luggage = Luggage::default();
    let (sender, up) = (bench.sender.clone(), bench.up.clone());
    let settings = Settings {
        slots: 1,
        ..super::settings()
    };
    let mut dispatcher = Dispatcher::start(settings, sender.clone(), up.clone()).unwrap();
    let channel = Channel::new(8).unwrap();
    dispatcher.send(Command::Admit(Seat {
        slot: SlotId(0),
        worker: worker.id,
        listener: LISTENER,
        channel: 0,
        ours: channel.ours,
        kept: channel.theirs,
        board: worker.board.clone(),
        native: false,
    }));
    let frozen = dispatcher.freeze(&bench.reports, &mut luggage);
    let text = serde_json::to_string(&frozen).unwrap();
    let table = [
        ("\"slot\":0", "\"slot\":5"),
        ("\"lane\":0", "\"lane\":3"),
        ("\"recalled\":[]", "\"recalled\":[4]"),
        ("\"on_hold\":[false]", "\"on_hold\":[]"),
    ];
    for (part, other) in table {
        assert!(text.contains(part), "{text}");
        let frozen: Frozen = serde_json::from_str(&text.replace(part, other)).unwrap();
        let board = |_| Some(worker.board.clone());
        let (sender, up) = (sender.clone(), up.clone());
        let error = Dispatcher::thaw(frozen, &mut luggage, board, sender, up).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidData, "{other}");
    }
}
