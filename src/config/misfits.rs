//! What of a [`Routing`] does not go together, in one sentence each: the same for the command line, the file and
//! `set`, each of which writes the names its own way and knows its own places.

use super::{Balance, Routing, Sticky};

/// How the names of settings are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    /// As options: `--balance kernel`.
    Options,
    /// As keys of the file: `balance = "kernel"`.
    Keys,
}

impl Spelling {
    pub(super) fn name(self, key: &str) -> String {
        match self {
            Self::Options => format!("--{key}"),
            Self::Keys => format!("'{key}'"),
        }
    }

    pub(super) fn with(self, key: &str, value: &str) -> String {
        match self {
            Self::Options => format!("--{key} {value}"),
            Self::Keys => format!("{key} = \"{value}\""),
        }
    }
}

/// A setting that does not go with the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// The setting.
    pub key: &'static str,
    /// Why not.
    pub sentence: String,
    /// It is against another one. If not, it only has nothing to act on.
    pub is_contrary: bool,
}

/// The settings that all need the primary to see each connection, in the order in which they are told.
const SEEN: [&str; 9] = [
    "sticky",
    "sticky-down",
    "sticky-bound",
    "websocket-sticky",
    "proxy-protocol",
    "trusted-proxies",
    "header-complete",
    "peek-timeout",
    "max-peeked",
];

impl Routing {
    /// Whether anything of a connection has to be read before it is dealt.
    pub fn reads(&self) -> bool {
        let by_bytes = |key: &Sticky| !matches!(key, Sticky::Ip(_));
        self.header_complete
            || self.proxy_protocol
            || self.websocket_sticky
            || self.sticky.as_ref().is_some_and(by_bytes)
    }

    /// The first that is against another one, as options.
    pub fn contradiction(&self) -> Option<String> {
        let misfits = self.misfits(Spelling::Options, |_| false);
        let mut contrary = misfits.into_iter().filter(|misfit| misfit.is_contrary);
        contrary.next().map(|misfit| misfit.sentence)
    }

    /// What does not go together. `given` says of a setting with a usual value whether it was given nevertheless.
    pub fn misfits(&self, spelling: Spelling, given: impl Fn(&str) -> bool) -> Vec<Misfit> {
        let is_set = |key: &str| match key {
            "sticky" => self.sticky.is_some(),
            "sticky-bound" => self.sticky_bound.is_some(),
            "websocket-sticky" => self.websocket_sticky,
            "proxy-protocol" => self.proxy_protocol,
            "trusted-proxies" => !self.trusted_proxies.is_empty(),
            "header-complete" => self.header_complete,
            usual => given(usual),
        };
        let set = SEEN.into_iter().filter(|key| is_set(key));
        if self.balance == Balance::Kernel {
            return set.map(|key| unseen(key, spelling)).collect();
        }
        set.filter_map(|key| {
            let against = self.against(key, spelling).map(|why| (why, true));
            let (sentence, is_contrary) =
                against.or_else(|| self.without(key, spelling).map(|why| (why, false)))?;
            Some(Misfit {
                key,
                sentence,
                is_contrary,
            })
        })
        .collect()
    }

    /// Why a setting that is made cannot be, as the others are.
    fn against(&self, key: &str, spelling: Spelling) -> Option<String> {
        let name = spelling.name(key);
        let sticky = self.sticky.as_ref()?;
        let with_key = spelling.with("sticky", &sticky.to_string());
        match (key, sticky) {
            ("sticky", Sticky::Proxy(_)) if self.proxy_protocol => Some(format!(
                "{with_key} finds nothing with {}, which takes the header off; {} goes by the same address then",
                spelling.name("proxy-protocol"),
                spelling.with("sticky", "ip"),
            )),
            ("sticky-bound", Sticky::Route(_)) => Some(format!(
                "{name} cannot be kept with {with_key}, where the server itself says which slot it is",
            )),
            ("websocket-sticky", Sticky::Sni | Sticky::Alpn) => Some(format!(
                "{name} cannot be kept with {with_key}: of a TLS client it cannot be seen whether it wants a WebSocket",
            )),
            _ => None,
        }
    }

    /// What a setting that is made needs and does not have.
    fn without(&self, key: &str, spelling: Spelling) -> Option<String> {
        let name = |key| spelling.name(key);
        let forwarded =
            |name: &Sticky| matches!(name, Sticky::Header(name) if name == "x-forwarded-for");
        let believes = |key: &Sticky| matches!(key, Sticky::Proxy(_)) || forwarded(key);
        match key {
            "sticky-down" | "sticky-bound" if self.key().is_none() => Some(format!(
                "{} means nothing without {} or {}",
                name(key),
                name("sticky"),
                name("websocket-sticky"),
            )),
            "proxy-protocol" if self.trusted_proxies.is_empty() => Some(format!(
                "{} needs {}, the networks from which a PROXY header is believed",
                name(key),
                name("trusted-proxies"),
            )),
            "trusted-proxies"
                if !self.proxy_protocol && !self.sticky.as_ref().is_some_and(believes) =>
            {
                Some(format!(
                    "{} means nothing here: it says from whom {}, {} and {} are believed",
                    name(key),
                    name("proxy-protocol"),
                    spelling.with("sticky", "proxy"),
                    spelling.with("sticky", "header:X-Forwarded-For"),
                ))
            }
            "peek-timeout" | "max-peeked" if !self.reads() => Some(format!(
                "{} means nothing here, where no connection's first bytes are read: {}, {}, {} and keys of {} other \
                 than ip do",
                name(key),
                name("header-complete"),
                name("proxy-protocol"),
                name("websocket-sticky"),
                name("sticky"),
            )),
            _ => None,
        }
    }
}

fn unseen(key: &'static str, spelling: Spelling) -> Misfit {
    let (name, kernel) = (spelling.name(key), spelling.with("balance", "kernel"));
    let verb = match key {
        "sticky" | "websocket-sticky" => "cannot be kept",
        _ => "means nothing",
    };
    Misfit {
        key,
        sentence: format!("{name} {verb} with {kernel}, since there the kernel chooses the worker"),
        is_contrary: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::StickyDown;

    fn routing(sticky: &str) -> Routing {
        Routing {
            sticky: (!sticky.is_empty()).then(|| sticky.parse().unwrap()),
            ..Routing::default()
        }
    }

    /// The keys, those that are contrary with an exclamation mark.
    fn keys(routing: &Routing, given: &[&str]) -> String {
        let all = routing.misfits(Spelling::Options, |key| given.contains(&key));
        let all = all.iter().map(|one| {
            let mark = if one.is_contrary { "!" } else { "" };
            format!("{}{mark}", one.key)
        });
        all.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_goes_together_is_not_said() {
        for key in [
            "", "ip", "ip/24", "cookie:a", "query:a", "path:1", "sni", "alpn", "proxy", "route:a",
        ] {
            assert_eq!(keys(&routing(key), &[]), "", "{key}");
            let shielded = Routing {
                header_complete: true,
                trusted_proxies: "10.0.0.0/8".parse().unwrap(),
                proxy_protocol: key != "proxy",
                ..routing(key)
            };
            assert_eq!(
                keys(&shielded, &["peek-timeout", "max-peeked"]),
                "",
                "{key}"
            );
        }
        let websockets = Routing {
            websocket_sticky: true,
            sticky_bound: "1.25".parse().ok(),
            sticky_down: StickyDown::Hold,
            ..routing("")
        };
        assert_eq!(keys(&websockets, &["sticky-down", "peek-timeout"]), "");
        let forwarded = Routing {
            trusted_proxies: "unix".parse().unwrap(),
            ..routing("header:X-Forwarded-For")
        };
        assert_eq!(keys(&forwarded, &[]), "");
    }

    #[test]
    fn what_needs_something_else_is_said() {
        let given = ["sticky-down", "peek-timeout", "max-peeked"];
        let alone = Routing {
            sticky_bound: "2".parse().ok(),
            trusted_proxies: "::1".parse().unwrap(),
            ..routing("")
        };
        let all = "sticky-down sticky-bound trusted-proxies peek-timeout max-peeked";
        assert_eq!(keys(&alone, &given), all);
        assert_eq!(keys(&routing("ip"), &given), "peek-timeout max-peeked");
        let unknown = Routing {
            proxy_protocol: true,
            ..routing("")
        };
        assert_eq!(keys(&unknown, &[]), "proxy-protocol");
    }

    #[test]
    fn what_is_against_something_else_is_said() {
        let all = |key: &str| Routing {
            websocket_sticky: true,
            sticky_bound: "2".parse().ok(),
            proxy_protocol: true,
            trusted_proxies: "::1".parse().unwrap(),
            ..routing(key)
        };
        assert_eq!(keys(&all("cookie:a"), &[]), "");
        assert_eq!(keys(&all("alpn"), &[]), "websocket-sticky!");
        assert_eq!(keys(&all("route:a"), &[]), "sticky-bound!");
        assert_eq!(keys(&all("proxy"), &[]), "sticky!");
        let kernel = Routing {
            balance: Balance::Kernel,
            ..all("sni")
        };
        assert_eq!(
            keys(&kernel, &["max-peeked"]),
            "sticky! sticky-bound! websocket-sticky! proxy-protocol! trusted-proxies! max-peeked!"
        );
    }

    #[test]
    fn each_place_has_its_own_names() {
        let kernel = Routing {
            balance: Balance::Kernel,
            ..routing("ip")
        };
        let say = |spelling| kernel.misfits(spelling, |_| false)[0].sentence.clone();
        let words = say(Spelling::Options);
        assert!(words.starts_with("--sticky cannot be kept with --balance kernel,"));
        let keys = say(Spelling::Keys);
        assert!(keys.starts_with("'sticky' cannot be kept with balance = \"kernel\","));
    }
}
