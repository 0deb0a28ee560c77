//! The words of `forkfront run` that say where connections go: to whom, what belongs together, and what is read of
//! their first bytes for that.

use std::time::Duration;

use crate::config::{self, Balance, Bound, Networks, Routing, Spelling, Sticky, StickyDown};
use crate::error::{Error, Result};

/// Who gets a connection.
#[derive(Debug, clap::Args)]
pub struct RoutingWords {
    /// Who gets the next connection
    #[arg(
        long,
        value_enum,
        value_name = "POLICY",
        default_value_t,
        help_heading = "Who gets a connection"
    )]
    balance: Balance,

    /// Deal again what a worker has not taken for so long [default: 100ms, where it is sticky 500ms]
    #[arg(long, value_name = "TIME", value_parser = config::positive_duration, help_heading = "Who gets a connection")]
    steal_after: Option<Duration>,

    /// Connections to hold while no worker can take them; beyond it they wait in the kernel
    #[arg(long, value_name = "N", default_value = "1024", allow_negative_numbers = true, value_parser = config::max_held, help_heading = "Who gets a connection")]
    max_held: usize,

    #[command(flatten)]
    sessions: Sessions,

    #[command(flatten)]
    first_bytes: FirstBytes,
}

/// What belongs together.
#[derive(Debug, clap::Args)]
struct Sessions {
    /// Give one slot all that has the same KEY: ip, cookie:NAME, route:NAME, ...
    ///
    ///   ip             the client's address; ip/24, ip/24,56: its network (IPv4, IPv6)
    ///   cookie:NAME    a cookie of the first request
    ///   header:NAME    a header; of X-Forwarded-For the client behind the trusted proxies
    ///   query:NAME     a parameter of its query
    ///   path:N         the first N segments of its path
    ///   route:NAME     the slot itself, behind the last dot of a cookie, header or
    ///                  parameter: the server ends its session ids with .FORKFRONT_SLOT
    ///   sni, alpn      the server name, or the protocols, that a TLS client asks for
    ///   proxy          the source in a PROXY header, which is left for the server to read
    ///
    /// Where there is no such thing it is the client's address (who has no route yet may go
    /// anywhere). The first request counts for its whole connection, which stays where it is.
    /// A crash, restart or reload moves nobody; one slot more or fewer moves its share only.
    #[arg(
        long,
        value_name = "KEY",
        verbatim_doc_comment,
        help_heading = "The same client to the same slot"
    )]
    sticky: Option<Sticky>,

    /// What becomes of the clients of a slot that is down [default: spill]
    #[arg(
        long,
        value_enum,
        value_name = "HOW",
        help_heading = "The same client to the same slot"
    )]
    sticky_down: Option<StickyDown>,

    /// Send clients on to their second choice while their slot has so much more than its share, as in 1.25
    #[arg(
        long,
        value_name = "FACTOR",
        allow_negative_numbers = true,
        help_heading = "The same client to the same slot"
    )]
    sticky_bound: Option<Bound>,

    /// Only WebSockets and socket.io's polling are sticky, by --sticky or else by ip; the rest goes by --balance
    ///
    /// For socket.io in browsers only where the page comes from another host or port: over a connection that a
    /// browser has kept from the page it polls whatever slot the page was dealt to. Where both come from one, use
    /// --sticky ip.
    #[arg(long, help_heading = "The same client to the same slot")]
    websocket_sticky: bool,
}

/// What is read of a connection before it is dealt.
#[derive(Debug, clap::Args)]
struct FirstBytes {
    /// Take the client's address from the PROXY header (v1 or v2) that trusted proxies send first
    ///
    /// The header is taken off, and the server's own accept() and getpeername() say who the client is. From
    /// --trusted-proxies it is required; what others send is left as it is, and theirs is their own address.
    #[arg(long, help_heading = "Proxies in front, slow clients")]
    proxy_protocol: bool,

    /// Networks whose word is taken for who the client is: 10.0.0.0/8,192.0.2.7,::1, or unix; repeatable
    #[arg(
        long,
        value_name = "NET[,NET]",
        help_heading = "Proxies in front, slow clients"
    )]
    trusted_proxies: Vec<Networks>,

    /// Deal nothing before its request head is there, so that slow clients occupy no worker
    #[arg(long, help_heading = "Proxies in front, slow clients")]
    header_complete: bool,

    /// How long a connection's first bytes are waited for [default: 10s]
    ///
    /// Then it is dealt by the client's address, or closed if the PROXY header that it owes, or with
    /// --header-complete its request, is not there. So is the oldest when --max-peeked are waited for.
    #[arg(long, value_name = "TIME", allow_negative_numbers = true, value_parser = config::positive_duration, help_heading = "Proxies in front, slow clients")]
    peek_timeout: Option<Duration>,

    /// Most connections whose first bytes are waited for at one time [default: 4096]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = config::max_peeked, help_heading = "Proxies in front, slow clients")]
    max_peeked: Option<usize>,
}

/// What the words mean together.
#[derive(Debug)]
pub struct Choice {
    /// Where connections go.
    pub routing: Routing,
    /// Age at which what is queued is dealt again.
    pub steal_after: Duration,
    /// Most connections held.
    pub max_held: usize,
}

impl RoutingWords {
    /// What the words mean together.
    pub fn read(self) -> Result<Choice> {
        let Self {
            balance,
            steal_after,
            max_held,
            sessions,
            first_bytes,
        } = self;
        let usual = Routing::default();
        let given = |key: &str| match key {
            "sticky-down" => sessions.sticky_down.is_some(),
            "peek-timeout" => first_bytes.peek_timeout.is_some(),
            "max-peeked" => first_bytes.max_peeked.is_some(),
            _ => false,
        };
        let trusted = first_bytes.trusted_proxies.into_iter();
        let routing = Routing {
            balance,
            sticky: sessions.sticky,
            sticky_down: sessions.sticky_down.unwrap_or_default(),
            sticky_bound: sessions.sticky_bound,
            websocket_sticky: sessions.websocket_sticky,
            proxy_protocol: first_bytes.proxy_protocol,
            header_complete: first_bytes.header_complete,
            trusted_proxies: trusted.fold(Networks::default(), Networks::and),
            peek_timeout: first_bytes.peek_timeout.unwrap_or(usual.peek_timeout),
            max_peeked: first_bytes.max_peeked.unwrap_or(usual.max_peeked),
        };
        let misfits = routing.misfits(Spelling::Options, given);
        if let Some(misfit) = misfits.into_iter().next() {
            return Err(Error::usage(misfit.sentence));
        }
        Ok(Choice {
            steal_after: steal_after.unwrap_or(routing.steal_after()),
            max_held,
            routing,
        })
    }

    /// Whether connections are dealt by the kernel.
    pub fn is_kernel(&self) -> bool {
        self.balance == Balance::Kernel
    }
}
