//! Each key: the same one goes to the same slot whoever brings it, many go everywhere, and a client without one
//! goes by its address.

use std::collections::BTreeSet;

use super::*;

/// How many clients bring the same key, from addresses of their own.
const BRINGERS: u32 = 3;
/// How many keys, and how many clients without one: enough for each of four slots to get some, but once in a million.
const MANY: u32 = 60;

/// A way to write a request with a value.
type Way<'a> = &'a dyn Fn(&str) -> Vec<u8>;

/// What holds of every key that HTTP can carry: `ways` to write it, and a request `without` it.
#[track_caller]
fn keeps(words: &str, ways: &[Way<'_>], without: &[u8]) {
    let kind = words.split(':').next().expect("a kind");
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 4, &["--sticky", words]);
    let mut used = BTreeSet::new();
    let mut asked = 0;
    for key in 0..MANY {
        let value = format!("value{key}");
        let bringers = (0..BRINGERS).map(|n| {
            let way = ways[n as usize % ways.len()];
            slot(&site, asked + n, &way(&value))
        });
        let slots: BTreeSet<u16> = bringers.collect();
        assert_eq!(slots.len(), 1, "{value}: {slots:?}");
        used.extend(slots);
        asked += BRINGERS;
    }
    assert_eq!(used.len(), 4, "{MANY} keys, all on {used:?}");
    let keys = balancer.keys();
    assert_eq!(keys.found(kind), u64::from(asked), "{keys:?}");
    let alone = |n| slot(&site, n, without);
    let first: Vec<u16> = (0..MANY).map(alone).collect();
    assert_eq!(
        (0..MANY).map(alone).collect::<Vec<_>>(),
        first,
        "by the address"
    );
    assert_eq!(BTreeSet::from_iter(first).len(), 4, "{MANY} addresses");
    let keys = balancer.keys();
    assert_eq!(keys.fallback("absent"), u64::from(2 * MANY), "{keys:?}");
    assert_eq!(
        (keys.reading(), keys.found(kind)),
        (0, u64::from(asked)),
        "{keys:?}"
    );
    balancer.finish();
}

#[test]
fn a_header() {
    keeps(
        "header:X-User",
        &[
            &|value| get("1", &format!("X-User: {value}\r\n")),
            &|value| {
                get(
                    "2",
                    &format!("Accept: */*\r\nx-user:{value}  \r\nX-Other: 1\r\n"),
                )
            },
            &|value| {
                format!("POST /3 HTTP/1.1\r\nX-USER:\t{value}\r\nHost: test\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi").into_bytes()
            },
        ],
        &get("1", "X-Users: value1\r\n"),
    );
}

#[test]
fn a_cookie() {
    keeps(
        "cookie:sid",
        &[
            &|value| get("1", &format!("Cookie: sid={value}\r\n")),
            &|value| get("2", &format!("cookie: a=b; sid={value}; theme=dark\r\n")),
            &|value| {
                get(
                    "3",
                    &format!("Cookie: xsid=1; asid=2\r\nX: y\r\nCookie: sid={value}\r\n"),
                )
            },
        ],
        &get("1", "Cookie: SID=value1; xsid=value1; side=value1\r\n"),
    );
}

#[test]
fn a_query_parameter() {
    keeps(
        "query:user",
        &[
            &|value| get(&format!("1?user={value}"), ""),
            &|value| get(&format!("a/b?x=1&user={value}&y=?user=2"), ""),
            &|value| {
                format!("GET http://test/?user={value} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
                    .into_bytes()
            },
        ],
        &get("1?users=value1&xuser=value1&User=value1", ""),
    );
}

#[test]
fn segments_of_the_path() {
    // There is always a path: who asks for the root asks for an empty first segment.
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 4, &["--sticky", "path:1"]);
    let mut used = BTreeSet::new();
    for room in 0..MANY {
        let paths = [
            format!("room{room}"),
            format!("room{room}/a/b"),
            format!("room{room}?x=1"),
            format!("room{room}/?y=/2"),
        ];
        let slots: BTreeSet<u16> = (0..4)
            .map(|n| slot(&site, room * 4 + n, &get(&paths[n as usize], "")))
            .collect();
        assert_eq!(slots.len(), 1, "room{room}: {slots:?}");
        used.extend(slots);
    }
    assert_eq!(used.len(), 4);
    assert_eq!(balancer.keys().found("path"), u64::from(4 * MANY));
    balancer.finish();
}

#[test]
fn a_route_is_the_slot_itself() {
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 4, &["--sticky", "route:sid"]);
    for (n, to) in (0..40).zip([0, 1, 2, 3].into_iter().cycle()) {
        let request = match n % 3 {
            0 => get(
                "1",
                &format!("Cookie: theme=a.1; sid=s%3Aab.c.{to}.c2lnbmVk\r\n"),
            ),
            1 => get("1", &format!("sid: abc.{to}\r\n")),
            _ => get(&format!("1?t=x.2&sid=abc.{to}"), ""),
        };
        assert_eq!(slot(&site, n, &request), to, "client {n}");
    }
    assert_eq!(balancer.keys().found("route"), 40);
    // A slot that there is not: by the address. No route yet: by the policy, in turn.
    let elsewhere = |n, to: &str| slot(&site, n, &get("1", &format!("Cookie: sid=abc.{to}\r\n")));
    let odd = ["4", "9", "65535"];
    for n in 0..8 {
        let by: BTreeSet<u16> = odd.iter().map(|to| elsewhere(n, to)).collect();
        assert_eq!(by.len(), 1, "client {n} by its address: {by:?}");
    }
    // What can be no slot of anybody's is no route.
    elsewhere(9, "65536");
    elsewhere(9, "99999999999999999999");
    assert_eq!(balancer.keys().number("/balanced"), 2);
    let new: Vec<u16> = (0..12).map(|_| slot(&site, 7, &get("1", ""))).collect();
    let turns: BTreeSet<u16> = new[..4].iter().copied().collect();
    assert_eq!(turns.len(), 4, "new sessions of one address: {new:?}");
    assert!(new[4..].iter().eq(&new[..8]), "in turn: {new:?}");
    assert_eq!(balancer.keys().number("/balanced"), 14);
    balancer.finish();
}

#[test]
fn the_client_before_the_trusted_proxies_is_the_same_client() {
    // X-Forwarded-For is an address: whoever comes through a proxy has the slot that is his when he comes himself.
    let site = Site::new();
    let flags = [
        "--sticky",
        "header:X-Forwarded-For",
        "--trusted-proxies",
        "127.9.0.0/16",
    ];
    let balancer = Balancer::nodes(&site, 4, &flags);
    let proxy = "127.9.0.1".parse().expect("an address");
    let through = |list: &str| {
        let request = get("1", &format!("X-Forwarded-For: {list}\r\n"));
        Raw::sending(proxy, site.to(), &request).slot()
    };
    let own: Vec<u16> = (0..MANY).map(|n| slot(&site, n, &get("1", ""))).collect();
    assert_eq!(own.iter().collect::<BTreeSet<_>>().len(), 4, "{own:?}");
    for (n, slot) in (0..MANY).zip(own.iter().copied()) {
        let him = client(n);
        assert_eq!(through(&him.to_string()), slot, "{him}");
        assert_eq!(
            through(&format!("{him}, 127.9.0.2,127.9.3.4")),
            slot,
            "{him}"
        );
        // What a client itself says comes before what his proxy says, and is not believed.
        assert_eq!(
            through(&format!("127.200.0.1, {him}, 127.9.0.2")),
            slot,
            "{him}"
        );
        assert_eq!(
            through(&format!("::ffff:{him}")),
            slot,
            "{him}, as a dual-stack proxy writes it"
        );
    }
    // From anybody else the header is a claim.
    let claim = get("1", "X-Forwarded-For: 127.200.0.1\r\n");
    let claimed: Vec<u16> = (0..MANY).map(|n| super::slot(&site, n, &claim)).collect();
    assert_eq!(claimed, own);
    balancer.finish();
}

#[test]
fn status_says_how_keys_were_found_and_how_even_the_slots_are() {
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 2, &[]);
    let printed = balancer.printed();
    assert!(printed["keys"].is_null(), "nothing is sticky: {printed:#}");
    assert!(
        printed["evenness"].is_null(),
        "nothing was dealt: {printed:#}"
    );
    for n in 0..40 {
        slot(&site, n, &get("1", ""));
    }
    assert_eq!(balancer.printed()["evenness"].as_f64(), Some(1.0));
    balancer.finish();
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 2, &["--sticky", "header:x-user"]);
    for n in 0..10 {
        slot(&site, n, &user("one"));
    }
    assert_eq!(
        balancer.printed()["evenness"].as_f64(),
        Some(2.0),
        "all on one of two"
    );
    balancer.finish();
}
