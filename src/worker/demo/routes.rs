//! What the demo answers to which request. Pure: a head and who asks in, a reply and what to do next out.

use std::net::IpAddr;

use serde_json::{Value, json};
use tungstenite::handshake::derive_accept_key;

use super::http::{Head, Method, Reply};
use crate::worker::Ticket;

/// The page: one file, no other resource.
const PAGE: &str = include_str!("page.html");

/// Nobody may frame the page, since its button kills a process. The rest of its policy is in the page itself.
const PAGE_FIELDS: &str = "Content-Security-Policy: frame-ancestors 'none'\r\n";

/// What becomes of the connection once the reply is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// As reply and client say: the next request, or the end.
    Continue,
    /// It is a WebSocket from here on.
    WebSocket,
    /// The process aborts.
    Crash,
}

/// What this process is, as the page shows it.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// Slot, 0 when nobody balances.
    pub slot: u16,
    /// Number of slots, 1 when nobody balances.
    pub workers: u16,
    /// Generation, 1 when nobody balances.
    pub generation: u32,
    /// Pid.
    pub pid: u32,
    /// A primary deals.
    pub balanced: bool,
}

impl Identity {
    /// Who we are.
    pub fn of_this_process() -> Self {
        Self {
            slot: crate::worker::slot().unwrap_or(0),
            workers: crate::worker::workers().unwrap_or(1),
            generation: crate::worker::generation().unwrap_or(1),
            pid: std::process::id(),
            balanced: crate::worker::is_balanced(),
        }
    }

    /// An object, to which more is added.
    pub fn as_json(&self) -> Value {
        json!({
            "slot": self.slot,
            "workers": self.workers,
            "generation": self.generation,
            "pid": self.pid,
            "balanced": self.balanced,
        })
    }
}

/// Answers one request.
pub fn answer(head: &Head, ticket: &Ticket, identity: &Identity) -> (Reply, Then) {
    let readable = matches!(head.method, Method::Get | Method::Head);
    let reply = match head.path.as_str() {
        "/" if readable => page(),
        "/api/who" if readable => who(ticket, identity),
        "/ws" if head.method == Method::Get => return websocket(head),
        "/api/crash" if head.method == Method::Post => return crash(head, ticket, identity),
        "/" | "/api/who" => not_allowed("Allow: GET, HEAD\r\n"),
        "/ws" => not_allowed("Allow: GET\r\n"),
        "/api/crash" => not_allowed("Allow: POST\r\n"),
        _ => Reply::plain(404),
    };
    (reply, Then::Continue)
}

fn page() -> Reply {
    Reply {
        content_type: "text/html; charset=utf-8",
        body: PAGE.as_bytes().into(),
        ..Reply::plain(200).with_fields(PAGE_FIELDS)
    }
}

/// Ends the connection, so that the browser's next question is a new connection and is dealt anew.
fn who(ticket: &Ticket, identity: &Identity) -> Reply {
    let mut answer = identity.as_json();
    answer["connection"] = ticket.id().into();
    answer["attempt"] = ticket.attempt().into();
    answer["wait_us"] = u64::try_from(ticket.waited().as_micros())
        .unwrap_or(u64::MAX)
        .into();
    answer["peer"] = ticket.peer().map(|peer| peer.to_string()).into();
    answer["proxied"] = ticket.is_proxied().into();
    Reply::json(200, &answer).and_close()
}

fn websocket(head: &Head) -> (Reply, Then) {
    match &head.websocket {
        Some((version, key)) if version == "13" && head.body == 0 => {
            let accept = derive_accept_key(key.as_bytes());
            let fields = format!("Upgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n");
            (Reply::plain(101).with_fields(fields), Then::WebSocket)
        }
        _ => {
            let fields = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
            (Reply::plain(426).with_fields(fields), Then::Continue)
        }
    }
}

/// Only for who sits at this machine, and only for our own page: a browser sends another site's POST here
/// too, but never with a header of ours.
fn crash(head: &Head, ticket: &Ticket, identity: &Identity) -> (Reply, Then) {
    let local = match ticket.peer().map(|peer| peer.ip()) {
        Some(IpAddr::V4(v4)) => v4.is_loopback(),
        Some(IpAddr::V6(v6)) => v6.is_loopback(),
        None => true,
    };
    if local && head.from_our_page {
        let reply = Reply::json(202, &identity.as_json()).and_close();
        (reply, Then::Crash)
    } else {
        let why = "403 Forbidden: only from this machine, with the header X-Forkfront: crash\n";
        let reply = Reply {
            body: why.as_bytes().into(),
            ..Reply::plain(403)
        };
        (reply, Then::Continue)
    }
}

fn not_allowed(fields: &'static str) -> Reply {
    Reply::plain(405).with_fields(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::demo::http::read_head;

    fn ask(request: &str, peer: &str) -> (u16, Then) {
        let head = read_head(request.as_bytes()).unwrap().unwrap();
        let ticket = Ticket::alone(1, peer.parse().ok(), None);
        let (reply, then) = answer(&head, &ticket, &Identity::of_this_process());
        (reply.status, then)
    }

    #[test]
    fn only_a_local_page_of_ours_can_crash_a_worker() {
        let bare = "POST /api/crash HTTP/1.1\r\nHost: a\r\n\r\n";
        let ours = "POST /api/crash HTTP/1.1\r\nHost: a\r\nX-Forkfront: crash\r\n\r\n";
        assert_eq!(ask(bare, "127.0.0.1:9"), (403, Then::Continue));
        assert_eq!(ask(ours, "192.0.2.1:9"), (403, Then::Continue));
        assert_eq!(ask(ours, "127.0.0.1:9"), (202, Then::Crash));
        assert_eq!(ask(ours, "[::1]:9"), (202, Then::Crash));
        let get = ours.replace("POST", "GET");
        assert_eq!(ask(&get, "[::1]:9"), (405, Then::Continue));
    }

    #[test]
    fn unknown_paths_methods_and_upgrades_get_their_status() {
        for (line, status) in [
            ("GET / HTTP/1.1", 200),
            ("HEAD /api/who HTTP/1.1", 200),
            ("DELETE / HTTP/1.1", 405),
            ("GET /etc/passwd HTTP/1.1", 404),
            ("GET /ws HTTP/1.1", 426),
        ] {
            let request = format!("{line}\r\nHost: a\r\n\r\n");
            assert_eq!(
                ask(&request, "127.0.0.1:9"),
                (status, Then::Continue),
                "{line}"
            );
        }
    }
}
