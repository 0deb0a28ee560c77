//! The words of `forkfront proxy` that say who gets a session, what is told of the client, and how long it all may
//! take.

use std::time::Duration;

use super::health::given;
use crate::config::proxy::{self, OrOff, Proxy, ProxyBalance, SendProxy, Timeouts};
use crate::config::{self, Networks, Routing, Sticky};

/// Who gets a session, and what it is told.
#[derive(Debug, clap::Args)]
pub struct SessionWords {
    /// Who gets the next session, of the backends that are well
    #[arg(
        long,
        value_enum,
        value_name = "POLICY",
        default_value_t,
        help_heading = "Who gets a session"
    )]
    balance: ProxyBalance,

    /// Give one backend all that has the same KEY: ip, cookie:NAME, sni, ...
    ///
    ///   ip             the client's address; ip/24, ip/24,56: its network (IPv4, IPv6)
    ///   sni, alpn      the server name, or the protocols, that a TLS client asks for
    ///   cookie:NAME    a cookie of the first request
    ///   header:NAME    a header; of X-Forwarded-For the client behind the trusted proxies
    ///   query:NAME     a parameter of its query
    ///   path:N         the first N segments of its path
    ///   proxy          the source in a PROXY header, which goes on to the backend
    ///   route:NAME     the backend itself, by its place behind --to (0, 1, ...), behind the
    ///                  last dot of a cookie, header or parameter that the servers set
    ///
    /// Where there is no such thing it is the client's address. What is read is passed on all the
    /// same. A backend that leaves moves only its own clients, and they come back with it.
    #[arg(
        long,
        value_name = "KEY",
        verbatim_doc_comment,
        help_heading = "Who gets a session"
    )]
    sticky: Option<Sticky>,

    /// Most sessions of one worker that wait while all backends have as many as their +max; 0: none waits
    ///
    /// First come, first served. One whose client ends its side without a word is let go: most often nobody is there.
    #[arg(long, value_name = "N", default_value = "1024", allow_negative_numbers = true, value_parser = proxy::max_queue, help_heading = "Who gets a session")]
    max_queue: usize,

    /// Tell each backend who the client is, by a PROXY header in front of its bytes [default: no]
    ///
    /// The backend must expect it: in nginx 'listen ... proxy_protocol', in HAProxy 'accept-proxy'. v1 is a line
    /// of text, v2 is binary.
    #[arg(
        long,
        value_enum,
        value_name = "VERSION",
        help_heading = "Who the client is"
    )]
    send_proxy: Option<SendProxy>,

    /// Take the client's address from the PROXY header (v1 or v2) that trusted proxies in front of us send first
    ///
    /// The header is taken off, and --sticky ip and --send-proxy go by the address in it. From --trusted-proxies it
    /// is required; what others send is left as it is, and theirs is their own address.
    #[arg(long, help_heading = "Who the client is")]
    proxy_protocol: bool,

    /// Networks whose word is taken for who the client is: 10.0.0.0/8,192.0.2.7,::1, or unix; repeatable
    #[arg(long, value_name = "NET[,NET]", help_heading = "Who the client is")]
    trusted_proxies: Vec<Networks>,

    /// How long a client's first bytes are waited for, where something is to be found in them [default: 10s]
    ///
    /// Then its session goes by the client's address, or is closed if it owes a PROXY header.
    #[arg(long, value_name = "TIME", allow_negative_numbers = true, value_parser = config::positive_duration, help_heading = "Who the client is")]
    peek_timeout: Option<Duration>,
}

/// How long things may take.
#[derive(Debug, clap::Args)]
pub struct TimeWords {
    /// Time for each connect to a backend, before the next one is tried
    #[arg(long, value_name = "TIME", default_value = "5s", allow_negative_numbers = true, value_parser = config::positive_duration, help_heading = "Times (500ms, 10s, 2m; a plain number is seconds)")]
    connect_timeout: Duration,

    /// Time that a session waits for room at a backend
    #[arg(long, value_name = "TIME", default_value = "10s", allow_negative_numbers = true, value_parser = config::positive_duration, help_heading = "Times (500ms, 10s, 2m; a plain number is seconds)")]
    queue_timeout: Duration,

    /// Time without a byte in either direction, after which a session is ended; off: never
    #[arg(long, value_name = "TIME|off", default_value = "1h", allow_negative_numbers = true, value_parser = proxy::time_or_off, help_heading = "Times (500ms, 10s, 2m; a plain number is seconds)")]
    idle_timeout: OrOff<Duration>,

    /// The same once one side has said that it sends no more [default: as --idle-timeout]
    #[arg(long, value_name = "TIME", allow_negative_numbers = true, value_parser = config::positive_duration, help_heading = "Times (500ms, 10s, 2m; a plain number is seconds)")]
    half_closed_timeout: Option<Duration>,

    /// Time for a whole session, whatever it does; off: any
    #[arg(long, value_name = "TIME|off", default_value = "off", allow_negative_numbers = true, value_parser = proxy::time_or_off, help_heading = "Times (500ms, 10s, 2m; a plain number is seconds)")]
    lifetime: OrOff<Duration>,

    /// Idle time after which the kernel asks both ends whether they are still there; off: never
    #[arg(long, value_name = "TIME|off", default_value = "60s", allow_negative_numbers = true, value_parser = proxy::keepalive, help_heading = "Times (500ms, 10s, 2m; a plain number is seconds)")]
    keepalive: OrOff<Duration>,

    /// Time that open sessions have to end, before a worker that is to go gets SIGTERM
    ///
    /// Longer than that of run, since a session may be a database's, and there is no telling from outside when it is
    /// at a good end.
    #[arg(long, value_name = "TIME", default_value = "30s", allow_negative_numbers = true, value_parser = config::duration, help_heading = "Times (500ms, 10s, 2m; a plain number is seconds)")]
    drain_timeout: Duration,

    /// Time that a worker has from SIGTERM to SIGKILL
    #[arg(long, value_name = "TIME", default_value = "10s", allow_negative_numbers = true, value_parser = config::duration, help_heading = "Times (500ms, 10s, 2m; a plain number is seconds)")]
    grace: Duration,
}

impl SessionWords {
    /// Those of these words that were given, of which it matters.
    pub fn given(&self) -> Vec<&'static str> {
        given(&[("peek-timeout", self.peek_timeout.is_some())])
    }

    /// Writes these words into `proxy`; what is left is the dispatcher's, which deals connections to the workers.
    pub fn apply(self, proxy: &mut Proxy) -> Routing {
        proxy.balance = self.balance;
        proxy.sticky = self.sticky;
        proxy.max_queue = self.max_queue;
        proxy.send_proxy = self.send_proxy;
        let usual = Routing::default();
        let trusted = self.trusted_proxies.into_iter();
        Routing {
            proxy_protocol: self.proxy_protocol,
            trusted_proxies: trusted.fold(Networks::default(), Networks::and),
            peek_timeout: self.peek_timeout.unwrap_or(usual.peek_timeout),
            ..usual
        }
    }
}

impl TimeWords {
    /// Writes these words into `proxy`; what is left are the times of its workers, to drain and to end.
    pub fn apply(self, proxy: &mut Proxy) -> (Duration, Duration) {
        proxy.timeouts = Timeouts {
            connect: self.connect_timeout,
            queue: self.queue_timeout,
            idle: self.idle_timeout.0,
            half_closed: self.half_closed_timeout,
            lifetime: self.lifetime.0,
        };
        proxy.keepalive = self.keepalive.0;
        (self.drain_timeout, self.grace)
    }
}
