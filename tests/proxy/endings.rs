//! What becomes of sessions that are to end, and of those that were only on their way.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::*;

#[test]
fn who_is_on_the_way_to_a_backend_that_is_cut_goes_to_another() {
    let site = Site::new();
    let alive = Backends::tcp(&site, 1);
    let (full, _taken) = unanswering(&site);
    let to = format!("{full},{}", alive.to(""));
    let checks = ["--check", "tcp", "--check-timeout", "700ms"];
    let flags = ["--balance", "first", "--on-down", "kill", "--retries", "0"];
    let balancer = proxy(&site, &to, "2", &[&checks[..], &flags].concat());
    // The first check is still under way, and so is this one's connect when it has failed.
    let mut client = Raw::sending(client(1), site.to(), b"hi");
    assert_eq!(client.greeted_by(), 0);
    assert_eq!(client.exactly(2), b"hi");
    drop(client);
    balancer.finish();
}

#[test]
fn without_a_primary_sessions_go_on_until_they_are_told_once_more() {
    let site = Site::new();
    let backends = Backends::tcp(&site, 1);
    let mut balancer = behind(&site, &backends.to(""), &[]);
    let mut stayed = stay(&site, 4);
    let workers = balancer.workers();
    balancer.signal(Signal::SIGKILL);
    balancer.wait();
    // The kernel has sent them SIGTERM for that (--orphans drain).
    for _ in 0..3 {
        for (client, _) in &mut stayed {
            client.send(b"still");
            assert_eq!(client.exactly(5), b"still");
        }
    }
    // Two that are pending at a time are one.
    eventually("the workers end", || {
        for pid in &workers {
            let _ = kill(Pid::from_raw(*pid as i32), Signal::SIGTERM);
        }
        marked(&site.mark).is_empty().then_some(())
    });
    for (mut client, _) in stayed {
        assert!(client.rest().is_empty());
    }
}

#[test]
fn who_ends_its_side_without_a_word_hears_what_the_server_says() {
    let site = Site::new();
    let backends = Backends::tcp(&site, 2);
    let balancer = behind(&site, &backends.to(""), &["--sticky", "sni"]);
    let mut client = come(&site, 1);
    client.finish_sending();
    client.greeted_by();
    assert_eq!(client.rest(), b"bye\n");
    balancer.finish();
}

#[test]
fn who_ends_its_side_without_a_word_does_not_wait_for_room() {
    // One was led to a backend in vain, the first bytes of the other were waited for.
    for (key, value) in [("--send-proxy", "v1"), ("--sticky", "sni")] {
        let site = Site::new();
        let full = Backends::tcp(&site, 1);
        let (listen, to) = (
            site.bind(),
            format!("{},{}", full.to("+max=1"), nowhere(&site)),
        );
        let words = ["proxy", "-l", &listen, "--to", &to, "-n", "1", key, value];
        let times = ["--connect-timeout", "20s", "--queue-timeout", "25s"];
        let balancer = Balancer::start(&site, &[&words[..], &ALONE, &times].concat());
        let mut stays = Raw::sending(client(1), site.to(), b"hi");
        assert_eq!(stays.greeted_by(), 0);
        let start = std::time::Instant::now();
        let mut goes = come(&site, 2);
        balancer.until("it is taken", |status| status.slots[0].accepted == 2);
        if key == "--send-proxy" {
            balancer.until("it waits", |status| {
                let proxy = status.apps[0].proxy.as_ref();
                proxy.is_some_and(|proxy| proxy.waiting == 1)
            });
        }
        goes.finish_sending();
        assert!(goes.rest().is_empty());
        assert!(
            start.elapsed() < std::time::Duration::from_secs(15),
            "{key}"
        );
        drop(stays);
        balancer.finish();
    }
}
