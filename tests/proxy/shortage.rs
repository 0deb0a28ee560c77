//! What runs out: descriptors of a worker, and ports to connect from (D7). Whoever can be served is, the others wait,
//! no backend is blamed, the log says why, and all is well as soon as there is some again.

use std::fs;
use std::process::Command;

use super::*;

/// From now on it may open so many descriptors besides those that it has; `None`: as many as its hard limit lets it.
#[track_caller]
fn leave(pid: u32, free: Option<usize>) {
    let open = descriptors(pid);
    let unused = |number: &u32| !open.contains_key(number);
    let limit = match free {
        Some(free) => (0..).filter(unused).nth(free).expect("endless").to_string(),
        None => {
            let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("it lives");
            let line = limits
                .lines()
                .find(|line| line.starts_with("Max open files"));
            let hard = line.and_then(|line| line.split_whitespace().nth(4));
            hard.expect("a number").to_owned()
        }
    };
    let words = ["--pid", &pid.to_string(), &format!("--nofile={limit}:")];
    let done = Command::new("prlimit").args(words).status();
    assert!(done.expect("prlimit").success());
}

#[track_caller]
fn alive(stayed: &mut [(Raw, u16)]) {
    for (client, _) in stayed {
        client.send(b"still");
        assert_eq!(client.exactly(5), b"still");
    }
}

/// One worker that may have 200 files: 68 sessions, and pipes for a part of them.
#[track_caller]
fn with_few_files<'a>(site: &'a Site, words: &[&str]) -> Balancer<'a> {
    let front = ["prlimit", "--nofile=200:200"];
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_forkfront"));
    let words = [words, &["-n", "1", "--max-held", "64"]].concat();
    let mut balancer = Balancer::spawn_behind(site, &front, binary, &words);
    balancer.all_ready();
    balancer
}

#[test]
fn without_a_free_descriptor_clients_wait_and_nobody_is_blamed() {
    let site = Site::new();
    let backends = Backends::tcp(&site, 2);
    let (listen, to) = (site.bind(), backends.to(""));
    let words = ["proxy", "-l", &listen, "--to", &to];
    let more = ["--eject-after", "1", "--connect-timeout", "25s"];
    let balancer = with_few_files(&site, &[&words[..], &more].concat());
    let worker = balancer.workers()[0];
    let mut stayed = stay(&site, 30);
    // Room for nobody, and then for the client and not for its way to a backend.
    for (free, comers, why) in [
        (0, 6, "connections wait: Too many open files"),
        (1, 1, "a connect to a backend waits: Too many open files"),
    ] {
        leave(worker, Some(free));
        let mut late: Vec<Raw> = (0..comers).map(|n| come(&site, 20 + n)).collect();
        balancer.says(why);
        alive(&mut stayed);
        assert!(late.iter_mut().all(Raw::is_silent), "none is served");
        // Who leaves makes room for others.
        stayed.truncate(stayed.len() - 3);
        eventually("some are served", || {
            let silent = late
                .iter_mut()
                .filter_map(|one| one.is_silent().then_some(()));
            (silent.count() <= comers.saturating_sub(3) as usize).then_some(())
        });
        leave(worker, None);
        late.iter_mut().for_each(|one| _ = one.greeted_by());
        alive(&mut stayed);
        drop(late);
        let kept = stayed.len() as u64;
        let status = balancer.until("only those are left", |status| {
            status.backends.iter().map(|one| one.open).sum::<u64>() == kept
        });
        nobody_is_blamed(&status);
    }
    alive(&mut stay(&site, 20));
    assert_eq!(balancer.workers(), [worker]);
    drop(stayed);
    balancer.finish();
}

#[test]
fn a_limit_that_is_lowered_from_outside_costs_one_connection_at_most() {
    // The limit is looked at once in a second.
    for (pause, lost) in [(1_100, 0), (0, 1)] {
        let site = Site::new();
        let backends = Backends::tcp(&site, 1);
        let (listen, to) = (site.bind(), backends.to(""));
        let words = ["proxy", "-l", &listen, "--to", &to, "-n", "1"];
        let balancer =
            Balancer::start(&site, &[&words[..], &["--connect-timeout", "25s"]].concat());
        let worker = balancer.workers()[0];
        let mut stayed = stay(&site, 5);
        leave(worker, Some(0));
        std::thread::sleep(std::time::Duration::from_millis(pause));
        let mut late: Vec<Raw> = (0..6).map(|n| come(&site, 20 + n)).collect();
        balancer.says("connections wait: Too many open files");
        alive(&mut stayed);
        leave(worker, None);
        let unserved = late.iter_mut().filter_map(|one| {
            one.finish_sending();
            one.rest().is_empty().then_some(())
        });
        let unserved = unserved.count();
        assert!(unserved <= lost, "{unserved} after {pause} ms");
        drop(stayed);
        balancer.finish();
    }
}

#[test]
fn with_few_descriptors_every_byte_arrives_all_the_same() {
    let site = Site::new();
    let sums = Sums::start(&site, 2);
    let (listen, to) = (site.bind(), sums.to());
    let words = ["proxy", "-l", &listen, "--to", &to, "--splice", "on"];
    let balancer = with_few_files(&site, &words);
    let failed = sums.run(site.to(), 160, 80);
    assert!(failed.is_empty(), "{failed:?}");
    let status = balancer.until("all have left", |status| {
        status.backends.iter().all(|one| one.open == 0)
    });
    nobody_is_blamed(&status);
    balancer.finish();
}

/// From now on it has so many ports to connect from for each backend.
#[track_caller]
fn leave_ports(count: u16) {
    let range = format!("1024 {}", 1023 + count);
    fs::write("/proc/sys/net/ipv4/ip_local_port_range", range).expect("written");
}

/// Clients from addresses of their own, until one of them waits, and that one.
#[track_caller]
fn until_one_waits(site: &Site, balancer: &Balancer<'_>) -> (Vec<(Raw, u16)>, Raw) {
    let mut stayed = Vec::new();
    for n in 0.. {
        let mut client = come(site, n);
        let waits = |balancer: &Balancer<'_>| {
            let said = balancer.output();
            said.contains("a connect to a backend waits: Can")
        };
        let served = eventually("it is served, or waits", || match client.is_silent() {
            false => Some(true),
            true => waits(balancer).then_some(false),
        });
        match served {
            true => {
                let backend = client.greeted_by();
                stayed.push((client, backend));
            }
            false => return (stayed, client),
        }
    }
    unreachable!("ports are endless");
}

#[test]
fn without_a_free_port_clients_wait_and_nobody_is_blamed() {
    const PORTS: u16 = 40;
    if !own_network() {
        return;
    }
    let site = Site::new();
    let backends = Backends::tcp(&site, 2);
    let eject = ["--eject-after", "1", "--connect-timeout", "20s"];
    let checks = ["--check", "tcp", "--check-interval", "200ms", "--fall", "1"];
    let flags = [&eject[..], &checks].concat();
    let balancer = proxy(&site, &backends.to(""), "2", &flags);
    leave_ports(PORTS);
    let (mut stayed, mut late) = until_one_waits(&site, &balancer);
    assert!(stayed.len() >= usize::from(PORTS), "{}", stayed.len());
    nobody_is_blamed(&balancer.status());
    balancer.says("backends cannot be checked");
    alive(&mut stayed);
    assert!(late.is_silent());
    // A reset leaves nothing behind that keeps a port.
    stayed.drain(..10).for_each(|(client, _)| client.reset());
    late.greeted_by();
    nobody_is_blamed(&balancer.status());
    stayed.into_iter().for_each(|(client, _)| client.reset());
    drop(late);
    balancer.until("all have left", |status| {
        status.backends.iter().all(|one| one.open == 0)
    });
    // All of them are used again.
    alive(&mut stay(&site, u32::from(PORTS)));
    nobody_is_blamed(&balancer.status());
    balancer.finish();
}

#[test]
fn many_who_wait_for_a_port_look_for_it_no_more_often_than_one() {
    if !own_network() {
        return;
    }
    let site = Site::new();
    let backends = Backends::tcp(&site, 1);
    let (listen, to) = (site.bind(), backends.to(""));
    let words = ["proxy", "-l", &listen, "--to", &to, "-n", "1"];
    let alone = ["--check", "off", "--connect-timeout", "20s"];
    let balancer = Balancer::start(&site, &[&words[..], &alone].concat());
    leave_ports(4);
    let (stayed, late) = until_one_waits(&site, &balancer);
    let mut others: Vec<Raw> = (0..30).map(|n| come(&site, 50 + n)).collect();
    let looks = |what: &str, least| {
        let status = balancer.until(what, |status| {
            let proxy = status.apps[0].proxy.as_ref();
            proxy.is_some_and(|proxy| proxy.without_port >= least)
        });
        let proxy = status.apps[0].proxy.as_ref();
        proxy.expect("a proxy").without_port
    };
    let start = std::time::Instant::now();
    let before = looks("some looks", 1);
    let more = looks("some more", before + 6) - before;
    // One each 100 ms, one that was due when it began, and two for a clock that is read once in a turn of the loop.
    let most = start.elapsed().as_millis() / 100 + 3;
    assert!(u128::from(more) <= most, "{more} looks, {most} at most");
    assert!(others.iter_mut().all(Raw::is_silent));
    stayed.into_iter().for_each(|(client, _)| client.reset());
    // Those that they had are enough for as many of them.
    let served = |others: &mut Vec<Raw>| {
        let served = others
            .iter_mut()
            .filter_map(|one| (!one.is_silent()).then_some(()));
        served.count()
    };
    eventually("some are served", || {
        (served(&mut others) >= 3).then_some(())
    });
    drop((late, others));
    balancer.finish();
}

#[test]
fn who_waits_for_a_port_too_long_is_reset_and_counted() {
    if !own_network() {
        return;
    }
    let site = Site::new();
    let backends = Backends::tcp(&site, 1);
    let flags = ["--connect-timeout", "2s"];
    let balancer = behind(&site, &backends.to(""), &flags);
    leave_ports(4);
    let (stayed, mut late) = until_one_waits(&site, &balancer);
    assert!(late.rest().is_empty());
    let status = balancer.until("it is counted", |status| {
        let proxy = status.apps[0].proxy.as_ref().expect("a proxy");
        let counts = &proxy.turned_away;
        let others = counts.unreachable + counts.no_backend + counts.exhausted;
        counts.no_port == 1 && others == 0 && proxy.without_port > 1
    });
    nobody_is_blamed(&status);
    drop(stayed);
    balancer.finish();
}
