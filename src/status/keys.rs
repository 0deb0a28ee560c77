//! By what connections were dealt, as `status --json` has it.

use serde::{Deserialize, Serialize};

/// By what connections were dealt since the start; each is in one of these, once that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Keys {
    /// Connections whose first bytes are waited for now; `held` has them too.
    pub reading: u64,
    /// Dealt by their key.
    pub found: KeysFound,
    /// Dealt by the client's address for want of one.
    pub fallback: KeysMissing,
    /// Dealt by the policy: neither a WebSocket nor engine.io where only those are sticky, or no route yet.
    pub balanced: u64,
    /// Closed: a PROXY header missing or wrong, or a request head that did not come.
    pub refused: u64,
    /// PROXY headers that were taken off.
    pub proxied: u64,
}

/// Connections by the kind of the key that was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeysFound {
    /// The client's address, where it is the key itself and not what is left.
    pub ip: u64,
    /// The source in a PROXY header that the server reads itself.
    pub proxy: u64,
    /// A header.
    pub header: u64,
    /// A cookie.
    pub cookie: u64,
    /// A parameter of the query.
    pub query: u64,
    /// Segments of the path.
    pub path: u64,
    /// The server name of a ClientHello.
    pub sni: u64,
    /// The protocols of a ClientHello.
    pub alpn: u64,
    /// A slot that the server has put there.
    pub route: u64,
}

/// Connections that had no key, by the reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeysMissing {
    /// There was none in what was read.
    pub absent: u64,
    /// What was read cannot be understood.
    pub unreadable: u64,
    /// It did not come in time.
    pub timed_out: u64,
    /// Too many were waited for.
    pub crowded: u64,
}
