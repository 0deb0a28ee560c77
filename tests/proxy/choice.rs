//! Who gets a session: each balance over all workers, weights, what is full, what is sticky.

use super::*;

#[test]
fn turns_are_exact_over_all_workers_and_by_weight() {
    let site = Site::new();
    let backends = Backends::tcp(&site, 3);
    let balancer = behind(&site, &backends.to(""), &[]);
    let stayed = stay(&site, 30);
    assert_eq!(shares(&stayed, 3), [10, 10, 10]);
    drop(stayed);
    balancer.finish();

    let site = Site::new();
    let backends = Backends::tcp(&site, 2).0;
    let to = format!("{}@3,{}", backends[0], backends[1]);
    let balancer = behind(&site, &to, &[]);
    let stayed = stay(&site, 16);
    assert_eq!(shares(&stayed, 2), [12, 4]);
    // Never more than its due in a row.
    let row: Vec<u16> = stayed.iter().map(|(_, backend)| *backend).collect();
    assert!(row.windows(4).all(|four| four.contains(&1)), "{row:?}");
    drop(stayed);
    balancer.finish();
}

#[test]
fn the_least_loaded_over_all_workers_gets_it() {
    let site = Site::new();
    let backends = Backends::tcp(&site, 3);
    let balancer = behind(&site, &backends.to(""), &["--balance", "least-connections"]);
    let mut stayed = stay(&site, 12);
    assert_eq!(shares(&stayed, 3), [4, 4, 4]);
    stayed.retain(|(_, backend)| *backend != 1);
    balancer.until("those have left", |status| status.backends[1].open == 0);
    stayed.extend(stay(&site, 4));
    assert_eq!(shares(&stayed, 3), [4, 4, 4]);
    drop(stayed);
    balancer.finish();
}

#[test]
fn of_two_at_random_none_is_far_behind() {
    let site = Site::new();
    let backends = Backends::tcp(&site, 4);
    let balancer = behind(&site, &backends.to(""), &["--balance", "random-two"]);
    let stayed = stay(&site, 40);
    let shares = shares(&stayed, 4);
    assert!(
        shares.iter().all(|share| (5..=15).contains(share)),
        "{shares:?}"
    );
    drop(stayed);
    balancer.finish();
}

#[test]
fn the_first_is_filled_first_and_then_one_waits_for_room() {
    let site = Site::new();
    let backends = Backends::tcp(&site, 2);
    let balancer = behind(&site, &backends.to("+max=2"), &["--balance", "first"]);
    let mut stayed = stay(&site, 4);
    let row: Vec<u16> = stayed.iter().map(|(_, backend)| *backend).collect();
    assert_eq!(row, [0, 0, 1, 1]);
    let waiting = |count| {
        move |status: &forkfront::status::Status| {
            let proxy = status.apps[0].proxy.as_ref();
            proxy.is_some_and(|proxy| proxy.waiting == count)
        }
    };
    let mut late = come(&site, 8);
    let leaver = come(&site, 9);
    balancer.until("two wait", waiting(2));
    assert!(late.is_silent());
    // One that goes away waits no more.
    drop(leaver);
    balancer.until("one waits", waiting(1));
    // The worker of the one that ends need not be that of the one that waits.
    let (ended, _) = stayed.remove(2);
    drop(ended);
    assert_eq!(late.greeted_by(), 1);
    balancer.until("nobody waits", waiting(0));
    drop((stayed, late));
    balancer.finish();
}

#[test]
fn who_waits_too_long_or_behind_too_many_is_reset() {
    let site = Site::new();
    let backends = Backends::tcp(&site, 1);
    let flags = ["--queue-timeout", "600ms", "--max-queue", "1"];
    let balancer = behind(&site, &backends.to("+max=1"), &flags);
    let stayed = stay(&site, 1);
    let start = std::time::Instant::now();
    // Two workers, each with room for one that waits.
    let mut late: Vec<Raw> = (1..5).map(|n| come(&site, n)).collect();
    let ends: Vec<Vec<u8>> = late.iter_mut().map(Raw::rest).collect();
    assert!(ends.iter().all(Vec::is_empty), "{ends:?}");
    assert!(start.elapsed().as_millis() >= 600);
    balancer.says("all backends");
    drop(stayed);
    balancer.finish();
}

/// The backend of each of these clients, who say this first.
#[track_caller]
fn sent_by(site: &Site, clients: &[(u32, Vec<u8>)]) -> Vec<u16> {
    let ask = |(from, bytes): &(u32, Vec<u8>)| {
        let mut client = Raw::sending(client(*from), site.to(), bytes);
        let backend = client.greeted_by();
        assert_eq!(client.exactly(bytes.len()), *bytes);
        backend
    };
    clients.iter().map(ask).collect()
}

#[test]
fn clients_of_one_address_belong_to_one_backend() {
    let site = Site::new();
    let backends = Backends::tcp(&site, 4);
    let balancer = behind(&site, &backends.to(""), &["--sticky", "ip"]);
    let first: Vec<u16> = stay(&site, 24).into_iter().map(|(_, to)| to).collect();
    let again: Vec<u16> = stay(&site, 24).into_iter().map(|(_, to)| to).collect();
    assert_eq!(first, again);
    let used = (0..4).filter(|one| first.contains(one)).count();
    assert!(used >= 3, "{first:?}");
    balancer.finish();
}

#[test]
fn a_cookie_a_header_or_the_place_says_where_a_client_belongs() {
    let keys = [
        ("cookie:who", "Cookie: a=b; who=N\r\n"),
        ("header:x-who", "X-Who: N\r\n"),
    ];
    for (sticky, header) in keys {
        let site = Site::new();
        let backends = Backends::tcp(&site, 4);
        let flags = ["--sticky", sticky, "--peek-timeout", "1s"];
        let balancer = behind(&site, &backends.to(""), &flags);
        // Each key from two addresses.
        let says = |n: u32| get("", &header.replace('N', &format!("key{}", n % 12)));
        let clients: Vec<_> = (0..24).map(|n| (n, says(n))).collect();
        let got = sent_by(&site, &clients);
        assert_eq!(got[..12], got[12..], "{sticky}");
        let used = (0..4).filter(|one| got.contains(one)).count();
        assert!(used >= 3, "{got:?}");
        // Who says nothing of the kind goes by its address, whoever is silent too once its time is over.
        let other = sent_by(&site, &[(3, get("", "")), (3, b"no HTTP\r\n\r\n".to_vec())]);
        assert_eq!(other[0], other[1]);
        assert_eq!(come(&site, 3).greeted_by(), other[0]);
        balancer.finish();
    }
    let site = Site::new();
    let backends = Backends::tcp(&site, 3);
    let balancer = behind(&site, &backends.to(""), &["--sticky", "route:id"]);
    let says = |place: u32| get("", &format!("Cookie: id=abc.{place}\r\n"));
    let clients: Vec<_> = (0..9).map(|n| (n, says(n % 3))).collect();
    assert_eq!(sent_by(&site, &clients), [0, 1, 2, 0, 1, 2, 0, 1, 2]);
    balancer.finish();
}
