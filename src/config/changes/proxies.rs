//! What is different between two proxies, key by key. All of it is live: the workers are told by the board of
//! backends, and no session notices.

use super::{Found, Live};
use crate::config::AppConfig;
use crate::config::proxy::{Check, Eject, Proxy, Timeouts};

/// What is done for what is different.
pub fn compare(old: &AppConfig, to: &AppConfig, found: &mut Found) {
    let (old_proxy, new_proxy) = match (&old.proxy, &to.proxy) {
        (None, None) => return,
        (Some(old), Some(new)) => (old, new),
        _ => {
            found.fixed.push(
                "a server cannot become a proxy while the app runs, nor the other way round: give the app another name, \
                 or stop the primary and start it again"
                    .to_owned(),
            );
            return;
        }
    };
    let list = new_proxy.to != old_proxy.to;
    for (key, differs) in differences(old_proxy, new_proxy) {
        found.live(key, differs, Live::Backends { list });
    }
    // These are the dispatcher's, and the workers' too.
    let (from, now) = (&old.routing, &to.routing);
    let told = from.trusted_proxies != now.trusted_proxies || from.peek_timeout != now.peek_timeout;
    // Where we listen ourselves cannot be a backend.
    if told || old.listen != to.listen {
        found.last.push(Live::Backends { list: false });
    }
}

fn differences(old: &Proxy, new: &Proxy) -> Vec<(&'static str, bool)> {
    // All fields by name: a new one has to be given its key here.
    let Proxy {
        to,
        source,
        balance,
        sticky,
        resolve_every,
        check,
        eject,
        slow_start,
        on_down,
        send_proxy,
        timeouts,
        retries,
        max_queue,
        keepalive,
        splice,
    } = new;
    let mut all = vec![
        ("to", *to != old.to),
        ("source", *source != old.source),
        ("balance", *balance != old.balance),
        ("sticky", *sticky != old.sticky),
        ("resolve-every", *resolve_every != old.resolve_every),
        ("slow-start", *slow_start != old.slow_start),
        ("on-down", *on_down != old.on_down),
        ("send-proxy", *send_proxy != old.send_proxy),
        ("retries", *retries != old.retries),
        ("max-queue", *max_queue != old.max_queue),
        ("keepalive", *keepalive != old.keepalive),
        ("splice", *splice != old.splice),
    ];
    all.extend(checks(old.check.as_ref(), check.as_ref()));
    all.extend(ejects(&old.eject, eject));
    all.extend(times(&old.timeouts, timeouts));
    all
}

fn checks(old: Option<&Check>, new: Option<&Check>) -> Vec<(&'static str, bool)> {
    let (Some(old), Some(new)) = (old, new) else {
        return vec![("check", old != new)];
    };
    let Check {
        what,
        interval,
        timeout,
        rise,
        fall,
    } = new;
    vec![
        ("check", *what != old.what),
        ("check-interval", *interval != old.interval),
        ("check-timeout", *timeout != old.timeout),
        ("rise", *rise != old.rise),
        ("fall", *fall != old.fall),
    ]
}

fn ejects(old: &Eject, new: &Eject) -> [(&'static str, bool); 4] {
    let Eject {
        after,
        time,
        longest,
        share,
    } = new;
    [
        ("eject-after", *after != old.after),
        ("eject-time", *time != old.time),
        ("eject-max", *longest != old.longest),
        ("eject-share", *share != old.share),
    ]
}

fn times(old: &Timeouts, new: &Timeouts) -> [(&'static str, bool); 5] {
    let Timeouts {
        connect,
        queue,
        idle,
        half_closed,
        lifetime,
    } = new;
    [
        ("connect-timeout", *connect != old.connect),
        ("queue-timeout", *queue != old.queue),
        ("idle-timeout", *idle != old.idle),
        ("half-closed-timeout", *half_closed != old.half_closed),
        ("lifetime", *lifetime != old.lifetime),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::Changes;
    use super::*;
    use crate::config::Config;
    use crate::config::proxy::{self, CheckWhat, OnDown, ProxyBalance, SendProxy, Splice};
    use std::time::Duration;

    fn app(edit: impl Fn(&mut Proxy)) -> AppConfig {
        let mut proxy = Proxy {
            to: vec!["10.0.0.1:1".parse().unwrap()],
            check: Some(Check::new(CheckWhat::Tcp)),
            ..Proxy::default()
        };
        edit(&mut proxy);
        proxy::app(proxy, vec!["80".parse().unwrap()])
    }

    #[test]
    fn every_setting_is_live() {
        type Edit = fn(&mut Proxy);
        let edits: [(&str, Edit); 26] = [
            ("to", |one| one.to[0].weight = 7),
            ("source", |one| {
                one.source.push(std::net::Ipv6Addr::LOCALHOST.into())
            }),
            ("balance", |one| one.balance = ProxyBalance::First),
            ("sticky", |one| one.sticky = "ip".parse().ok()),
            ("resolve-every", |one| one.resolve_every *= 2),
            ("slow-start", |one| one.slow_start = Duration::from_secs(9)),
            ("on-down", |one| one.on_down = OnDown::Kill),
            ("send-proxy", |one| one.send_proxy = Some(SendProxy::V1)),
            ("retries", |one| one.retries = 0),
            ("max-queue", |one| one.max_queue = 1),
            ("keepalive", |one| one.keepalive = None),
            ("splice", |one| one.splice = Splice::On),
            ("check", |one| one.check = None),
            ("check", |one| {
                one.check = Some(Check::new(CheckWhat::Http("/".into())))
            }),
            ("check-interval", |one| {
                one.check.as_mut().unwrap().interval *= 2
            }),
            ("check-timeout", |one| {
                one.check.as_mut().unwrap().timeout *= 2
            }),
            ("rise", |one| one.check.as_mut().unwrap().rise += 1),
            ("fall", |one| one.check.as_mut().unwrap().fall += 1),
            ("eject-after", |one| one.eject.after = 0),
            ("eject-time", |one| one.eject.time *= 2),
            ("eject-max", |one| one.eject.longest *= 2),
            ("eject-share", |one| one.eject.share = 1),
            ("connect-timeout", |one| one.timeouts.connect *= 2),
            ("queue-timeout", |one| one.timeouts.queue *= 2),
            ("idle-timeout", |one| one.timeouts.idle = None),
            ("lifetime", |one| one.timeouts.lifetime = one.timeouts.idle),
        ];
        for (key, edit) in edits {
            let old = Config::new(app(|_| {}));
            let changes = Changes::between(&old, &Config::new(app(edit))).unwrap();
            let change = &changes.changed[0];
            assert_eq!(
                (change.keys.as_slice(), change.renew.len()),
                (&[key][..], 0),
                "{key}"
            );
            let list = key == "to";
            assert_eq!(change.live, [Live::Backends { list }], "{key}");
        }
    }

    #[test]
    fn the_kind_stays() {
        let proxy = Config::new(app(|_| {}));
        let server = Config::new(AppConfig {
            name: "proxy".into(),
            listen: vec!["80".parse().unwrap()],
            ..AppConfig::new(vec!["server".into()])
        });
        for (old, new) in [(&proxy, &server), (&server, &proxy)] {
            let fixed = Changes::between(old, new).unwrap_err();
            assert!(
                fixed
                    .iter()
                    .any(|one| one.contains("cannot become a proxy")),
                "{fixed:?}"
            );
        }
    }

    #[test]
    fn listeners_come_and_go_without_new_workers() {
        let old = Config::new(app(|_| {}));
        let mut to = app(|_| {});
        let listen = ["81", "unix:/run/a.sock"].map(|words| words.parse().unwrap());
        to.listen = proxy::app(Proxy::default(), listen.into()).listen;
        let changes = Changes::between(&old, &Config::new(to)).unwrap();
        assert!(changes.changed[0].renew.is_empty(), "{changes:?}");
        assert_eq!(changes.changed[0].live.len(), 4, "{changes:?}");
    }
}
