//! Names that are answered soon, late, in part and not at all.

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn what_is_new_is_answered_once_and_what_is_left_out_no_more() {
    let (tell, told) = crossbeam_channel::unbounded();
    let resolver = Resolver::start(move |answer| tell.send(answer).unwrap()).unwrap();
    let names: Vec<Backend> = ["localhost:80", "localhost:81"]
        .map(|words| words.parse().unwrap())
        .into();
    let short = Duration::from_millis(1);
    resolver.ask(names.clone(), Vec::new(), short, Own::default());
    let mut both = [0; 2].map(|_| told.recv_timeout(PATIENCE).unwrap());
    both.sort_by_key(|answer| answer.backend.to_string());
    assert_eq!(
        both.each_ref().map(|one| one.backend.clone()).to_vec(),
        names
    );
    assert!(
        both[0]
            .found
            .as_ref()
            .is_ok_and(|found| !found.leads.is_empty())
    );
    // The same again is not told again; another one is, at once.
    let other: Backend = "localhost:82".parse().unwrap();
    let list = vec![names[0].clone(), other.clone()];
    resolver.ask(list, Vec::new(), Duration::from_secs(60), Own::default());
    assert_eq!(told.recv_timeout(PATIENCE).unwrap().backend, other);
    drop(resolver);
    // It ends.
    assert!(
        told.recv_timeout(PATIENCE)
            .is_err_and(|error| error.is_disconnected())
    );
}

#[test]
fn what_is_ourselves_is_left_out() {
    let (tell, told) = crossbeam_channel::unbounded();
    let resolver = Resolver::start(move |answer| tell.send(answer).unwrap()).unwrap();
    let own = Own::of_config(&["4711".parse().unwrap()]);
    let names = ["localhost:4711", "localhost:4712"];
    let names = names.map(|words| words.parse().unwrap()).into();
    resolver.ask(names, Vec::new(), PATIENCE, own);
    let both = [0; 2].map(|_| told.recv_timeout(PATIENCE).unwrap());
    for one in both {
        let own = one.backend.to_string() == "localhost:4711";
        assert_eq!(one.found.is_err(), own, "{one:?}");
    }
}

fn backend(words: &str) -> Backend {
    words.parse().unwrap()
}

#[test]
fn one_that_takes_long_keeps_no_other_waiting() {
    let (tell, told) = crossbeam_channel::unbounded();
    let (gate, closed) = crossbeam_channel::bounded::<()>(0);
    let ask = move |one: &Backend| {
        if one.host.to_string().starts_with("slow") {
            let _ = closed.recv();
        }
        Ok(Resolved::default())
    };
    let means = Means {
        ask: Arc::new(ask),
        again: AGAIN,
    };
    let resolver = Resolver::by(means, move |answer| tell.send(answer).unwrap()).unwrap();
    let name = |answer: Answer| answer.backend.host.to_string();
    let mut names: Vec<Backend> = (0..50)
        .map(|port| backend(&format!("quick:{}", port + 1)))
        .collect();
    let far = PATIENCE * 6;
    let slow = (1..AT_ONCE - KEPT).map(|port| backend(&format!("slow:{port}")));
    names.extend(slow);
    resolver.ask(names.clone(), Vec::new(), far, Own::default());
    for _ in 0..50 {
        assert!(name(told.recv_timeout(PATIENCE).unwrap()).starts_with("quick"));
    }
    // All threads but those that are kept have their hands full; one that somebody waits for is answered.
    let more = (100..120).map(|port| backend(&format!("slow:{port}")));
    names.extend(more);
    names.push(backend("added:1"));
    resolver.ask(names, vec![backend("added:1")], far, Own::default());
    assert_eq!(name(told.recv_timeout(PATIENCE).unwrap()), "added:1");
    drop(gate);
    for _ in 0..AT_ONCE - KEPT - 1 + 20 {
        assert!(name(told.recv_timeout(PATIENCE).unwrap()).starts_with("slow"));
    }
}

#[test]
fn what_failed_or_is_known_in_part_is_asked_for_again_soon() {
    let (tell, told) = crossbeam_channel::unbounded();
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let missing = |via: &str| Resolved {
        missing: vec![crate::policy::backends::item::Missing {
            via: via.into(),
            why: "no".into(),
        }],
        ..Resolved::default()
    };
    let answers = [Err("no".to_owned()), Ok(missing("a")), Ok(missing("b"))];
    let ask = {
        let answers = answers.clone();
        move |_: &Backend| {
            let at = asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            answers.get(at).cloned().unwrap_or(Ok(Resolved::default()))
        }
    };
    let means = Means {
        ask: Arc::new(ask),
        again: Duration::from_millis(1),
    };
    let resolver = Resolver::by(means, move |answer| tell.send(answer).unwrap()).unwrap();
    resolver.ask(
        vec![backend("a:1")],
        Vec::new(),
        PATIENCE * 6,
        Own::default(),
    );
    for answer in answers {
        assert_eq!(told.recv_timeout(PATIENCE).unwrap().found, answer);
    }
    let whole = told.recv_timeout(PATIENCE).unwrap().found;
    assert_eq!(whole, Ok(Resolved::default()));
}

#[test]
fn one_that_somebody_waited_for_takes_no_later_turn_of_others() {
    let (tell, told) = crossbeam_channel::unbounded();
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let ask = move |one: &Backend| {
        let is_first = asked.load(std::sync::atomic::Ordering::Relaxed) == 0;
        if one.host.to_string().starts_with("failing") && is_first {
            asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            return Err("no".to_owned());
        }
        Ok(Resolved::default())
    };
    let means = Means {
        ask: Arc::new(ask),
        again: Duration::from_millis(1),
    };
    let resolver = Resolver::by(means, move |answer| tell.send(answer).unwrap()).unwrap();
    let (failing, added) = (backend("failing:1"), backend("added:1"));
    let names = vec![failing.clone(), added.clone()];
    resolver.ask(names, vec![added], PATIENCE * 6, Own::default());
    let answers = [0; 3].map(|_| told.recv_timeout(PATIENCE).unwrap());
    let of_failing = answers.iter().filter(|one| one.backend == failing);
    let well: Vec<bool> = of_failing.map(|one| one.found.is_ok()).collect();
    assert_eq!(well, [false, true]);
}
