//! Everything by which it is decided where a connection goes: the policy, the sticky key in front of it, and what
//! has to be read of a connection's first bytes for that.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Balance, Bound, Networks, Prefixes, STEAL_AFTER, STEAL_AFTER_STICKY, Sticky};

/// Where connections go, and what is read of them before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Routing {
    /// Who gets the next connection.
    pub balance: Balance,
    /// The consistent hash in front of it.
    pub sticky: Option<Sticky>,
    /// What becomes of the clients of a slot that is down.
    pub sticky_down: StickyDown,
    /// How much more than its share a slot gets before its clients spill to their next choice.
    pub sticky_bound: Option<Bound>,
    /// Only WebSockets and engine.io polling are sticky.
    pub websocket_sticky: bool,
    /// Peers in `trusted_proxies` send a PROXY header, which is taken off here.
    pub proxy_protocol: bool,
    /// Nothing is dealt before its request head has come.
    pub header_complete: bool,
    /// Whose PROXY headers and forwarding headers are believed.
    pub trusted_proxies: Networks,
    /// How long a connection's first bytes are waited for.
    pub peek_timeout: Duration,
    /// Most connections whose first bytes are waited for at one time.
    pub max_peeked: usize,
}

impl Default for Routing {
    fn default() -> Self {
        Self {
            balance: Balance::default(),
            sticky: None,
            sticky_down: StickyDown::default(),
            sticky_bound: None,
            websocket_sticky: false,
            proxy_protocol: false,
            header_complete: false,
            trusted_proxies: Networks::default(),
            peek_timeout: Duration::from_secs(10),
            max_peeked: 4096,
        }
    }
}

impl Routing {
    /// The key by which anything is sticky: with `--websocket-sticky` there is always one.
    pub fn key(&self) -> Option<Sticky> {
        let usual = self
            .websocket_sticky
            .then(|| Sticky::Ip(Prefixes::default()));
        self.sticky.clone().or(usual)
    }

    /// This, with what is different between `from` and `to` as `to` has it: all of `to` where what is left is
    /// against it.
    pub fn changed(&self, from: &Self, to: &Self) -> Self {
        fn pick<T: Clone + PartialEq>(now: &T, from: &T, to: &T) -> T {
            if from == to { now } else { to }.clone()
        }
        let changed = Self {
            balance: pick(&self.balance, &from.balance, &to.balance),
            sticky: pick(&self.sticky, &from.sticky, &to.sticky),
            sticky_down: pick(&self.sticky_down, &from.sticky_down, &to.sticky_down),
            sticky_bound: pick(&self.sticky_bound, &from.sticky_bound, &to.sticky_bound),
            websocket_sticky: pick(
                &self.websocket_sticky,
                &from.websocket_sticky,
                &to.websocket_sticky,
            ),
            proxy_protocol: pick(
                &self.proxy_protocol,
                &from.proxy_protocol,
                &to.proxy_protocol,
            ),
            header_complete: pick(
                &self.header_complete,
                &from.header_complete,
                &to.header_complete,
            ),
            trusted_proxies: pick(
                &self.trusted_proxies,
                &from.trusted_proxies,
                &to.trusted_proxies,
            ),
            peek_timeout: pick(&self.peek_timeout, &from.peek_timeout, &to.peek_timeout),
            max_peeked: pick(&self.max_peeked, &from.max_peeked, &to.max_peeked),
        };
        match changed.contradiction() {
            Some(_) => to.clone(),
            None => changed,
        }
    }

    /// The usual age at which what is queued is dealt again.
    pub fn steal_after(&self) -> Duration {
        match self.key() {
            Some(_) => STEAL_AFTER_STICKY,
            None => STEAL_AFTER,
        }
    }
}

/// What becomes of the clients of a slot that is down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum StickyDown {
    /// After --steal-after their next choice serves them, until the slot is back.
    #[default]
    Spill,
    /// They wait for it, as long as --max-held leaves room.
    Hold,
}
