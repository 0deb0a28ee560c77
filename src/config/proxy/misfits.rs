//! What of a proxy's settings does not go together, in one sentence each: the same for the command line and the file.

use crate::backend_board::BACKENDS;
use crate::config::{Misfit, Routing, Spelling, Sticky};

use super::{OnDown, Proxy, ProxyBalance};

/// Most addresses of ours: where no port is free for a backend, the ports of all of them are looked at.
const MOST_SOURCES: usize = 64;

impl Proxy {
    /// Whether anything that a client has sent is read to choose a backend for it.
    fn reads(&self) -> bool {
        let by_bytes = |key: &Sticky| !matches!(key, Sticky::Ip(_));
        self.sticky.as_ref().is_some_and(by_bytes)
    }

    /// What does not go together. `given` says of a setting with a usual value whether it was given nevertheless.
    pub fn misfits(
        &self,
        routing: &Routing,
        spelling: Spelling,
        given: impl Fn(&str) -> bool,
    ) -> Vec<Misfit> {
        let mut all = Vec::new();
        let mut say = |key: &'static str, sentence: String| {
            all.push(Misfit {
                key,
                sentence,
                is_contrary: false,
            });
        };
        if self.to.len() > BACKENDS {
            let count = self.to.len();
            say(
                "to",
                format!("{count} backends are named, and a proxy has {BACKENDS} at most"),
            );
        }
        let twice = |(at, own)| self.source[..at].contains(own);
        if let Some((_, own)) = self.source.iter().enumerate().find(|one| twice(*one)) {
            let name = spelling.name("source");
            say("source", format!("{own} is given twice behind {name}"));
        } else if self.source.len() > MOST_SOURCES {
            let (count, name) = (self.source.len(), spelling.name("source"));
            let most = format!("a proxy takes {MOST_SOURCES} at most");
            say(
                "source",
                format!("{count} addresses are given behind {name}, and {most}"),
            );
        }
        self.misfits_of_clients(routing, spelling, &given, &mut say);
        self.misfits_of_checks(spelling, &given, &mut say);
        all
    }

    fn misfits_of_clients(
        &self,
        routing: &Routing,
        spelling: Spelling,
        given: &impl Fn(&str) -> bool,
        say: &mut impl FnMut(&'static str, String),
    ) {
        let name = |key| spelling.name(key);
        let sticky = self.sticky.as_ref();
        let is_proxy = matches!(sticky, Some(Sticky::Proxy(_)));
        let forwarded = matches!(sticky, Some(Sticky::Header(name)) if name == "x-forwarded-for");
        if is_proxy && routing.proxy_protocol {
            say(
                "sticky",
                format!(
                    "{} finds nothing with {}, which takes the header off; {} goes by the same address then",
                    spelling.with("sticky", "proxy"),
                    name("proxy-protocol"),
                    spelling.with("sticky", "ip"),
                ),
            );
        }
        if routing.proxy_protocol && routing.trusted_proxies.is_empty() {
            say(
                "proxy-protocol",
                format!(
                    "{} needs {}, the networks from which a PROXY header is believed",
                    name("proxy-protocol"),
                    name("trusted-proxies"),
                ),
            );
        }
        if !(routing.trusted_proxies.is_empty() || routing.proxy_protocol || is_proxy || forwarded)
        {
            say(
                "trusted-proxies",
                format!(
                    "{} means nothing here: it says from whom {}, {} and {} are believed",
                    name("trusted-proxies"),
                    name("proxy-protocol"),
                    spelling.with("sticky", "proxy"),
                    spelling.with("sticky", "header:X-Forwarded-For"),
                ),
            );
        }
        if given("peek-timeout") && !self.reads() && !routing.proxy_protocol {
            say(
                "peek-timeout",
                format!(
                    "{} means nothing here, where nothing that a client sends is read: {} does, and keys of {} other \
                     than ip do",
                    name("peek-timeout"),
                    name("proxy-protocol"),
                    name("sticky"),
                ),
            );
        }
    }

    fn misfits_of_checks(
        &self,
        spelling: Spelling,
        given: &impl Fn(&str) -> bool,
        say: &mut impl FnMut(&'static str, String),
    ) {
        for key in ["check-interval", "check-timeout", "rise", "fall"] {
            if given(key) && !given("check") {
                let sentence = format!(
                    "{} means nothing without {}: tcp, or http:/path",
                    spelling.name(key),
                    spelling.name("check")
                );
                say(key, sentence);
            }
        }
        if self.on_down == OnDown::Kill && self.check.is_none() && !given("check") {
            let sentence = format!(
                "{} means nothing without {}: only checks find a backend to be down",
                spelling.with("on-down", "kill"),
                spelling.name("check")
            );
            say("on-down", sentence);
        }
        for key in ["eject-time", "eject-max", "eject-share"] {
            if given(key) && self.eject.after == 0 {
                let sentence = format!(
                    "{} means nothing with {}, which never ejects",
                    spelling.name(key),
                    spelling.with("eject-after", "0"),
                );
                say(key, sentence);
            }
        }
        if self.eject.longest < self.eject.time {
            let (time, longest) = (spelling.name("eject-time"), spelling.name("eject-max"));
            let key = if given("eject-max") {
                "eject-max"
            } else {
                "eject-time"
            };
            say(
                key,
                format!("{longest} cannot be shorter than {time}, the first such while"),
            );
        }
        if self.balance == ProxyBalance::First && self.to.iter().any(|one| one.weight != 1) {
            let sentence = format!(
                "weights mean nothing with {}, which fills one backend after the other up to its +max",
                spelling.with("balance", "first")
            );
            say("to", sentence);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::proxy::Eject;

    fn said(proxy: &Proxy, routing: &Routing, given: &[&str]) -> Vec<&'static str> {
        let all = proxy.misfits(routing, Spelling::Options, |key| given.contains(&key));
        all.iter().map(|one| one.key).collect()
    }

    fn sticky(key: &str) -> Proxy {
        Proxy {
            sticky: Some(key.parse().unwrap()),
            ..Proxy::default()
        }
    }

    #[test]
    fn what_goes_together_is_not_said() {
        let behind = Routing {
            proxy_protocol: true,
            trusted_proxies: "10.0.0.0/8".parse().unwrap(),
            ..Routing::default()
        };
        let all = ["check", "check-interval", "rise", "fall", "eject-time"];
        assert!(said(&Proxy::default(), &Routing::default(), &all).is_empty());
        assert!(said(&sticky("ip"), &behind, &["peek-timeout"]).is_empty());
        assert!(said(&sticky("sni"), &Routing::default(), &["peek-timeout"]).is_empty());
        let trusting = Routing {
            proxy_protocol: false,
            ..behind
        };
        for key in ["proxy", "header:X-Forwarded-For"] {
            assert!(said(&sticky(key), &trusting, &[]).is_empty(), "{key}");
        }
    }

    #[test]
    fn what_does_not_is() {
        let usual = Routing::default();
        let taking = Routing {
            proxy_protocol: true,
            ..Routing::default()
        };
        assert_eq!(
            said(&sticky("proxy"), &taking, &[]),
            ["sticky", "proxy-protocol"]
        );
        let trusting = Routing {
            trusted_proxies: "::1".parse().unwrap(),
            ..Routing::default()
        };
        assert_eq!(said(&sticky("ip"), &trusting, &[]), ["trusted-proxies"]);
        assert_eq!(
            said(&sticky("ip"), &usual, &["peek-timeout"]),
            ["peek-timeout"]
        );
        assert_eq!(said(&Proxy::default(), &usual, &["rise"]), ["rise"]);
        let own = "10.0.0.2".parse().unwrap();
        let twice = Proxy {
            source: vec![own, own],
            ..Proxy::default()
        };
        assert_eq!(said(&twice, &usual, &[]), ["source"]);
        let all = (1..=65).map(|last| std::net::Ipv4Addr::new(10, 0, 0, last).into());
        let mut many = Proxy {
            source: all.collect(),
            ..Proxy::default()
        };
        assert_eq!(said(&many, &usual, &[]), ["source"]);
        many.source.pop();
        assert!(said(&many, &usual, &[]).is_empty());
        let kill = Proxy {
            on_down: OnDown::Kill,
            ..Proxy::default()
        };
        assert_eq!(said(&kill, &usual, &[]), ["on-down"]);
        assert!(
            said(&kill, &usual, &["check"]).is_empty(),
            "it is off for now"
        );
        let never = Proxy {
            eject: Eject {
                after: 0,
                ..Eject::default()
            },
            ..Proxy::default()
        };
        assert_eq!(said(&never, &usual, &["eject-share"]), ["eject-share"]);
        let short = Proxy {
            eject: Eject {
                longest: std::time::Duration::from_secs(1),
                ..Eject::default()
            },
            to: vec!["a:1@2".parse().unwrap()],
            balance: ProxyBalance::First,
            ..Proxy::default()
        };
        assert_eq!(said(&short, &usual, &["eject-max"]), ["eject-max", "to"]);
    }
}
