//! `--websocket-sticky`: which requests belong to one WebSocket, or to one engine.io session.
//!
//! engine.io (and socket.io on it) begins by polling: several requests, each of which must reach the process that has
//! the session. They say so in the query (`EIO=4&transport=polling`), under whatever path the server has.

use httparse::Request;

use super::Seen;
use super::http;
use super::target::parameter;

/// Whether these bytes ask for a WebSocket (RFC 6455, 4.1) or are part of an engine.io session.
pub(super) fn is_asked_for(bytes: &[u8]) -> Seen<bool> {
    let by_line = http::line(bytes, |line| {
        let polls = is_engine_io(line.target);
        // An upgrade is asked for by GET only.
        (polls || line.method != "GET").then_some(polls)
    });
    match by_line {
        Seen::More => Seen::More,
        Seen::Unreadable => Seen::Unreadable,
        Seen::Read(Some(certain)) => Seen::Read(certain),
        Seen::Read(None) => http::head(bytes, upgrades),
    }
}

fn is_engine_io(target: &str) -> bool {
    parameter(target, "EIO").is_some() && parameter(target, "transport").is_some()
}

fn upgrades(head: &Request<'_, '_>) -> bool {
    lists(head, "upgrade", "websocket") && lists(head, "connection", "upgrade")
}

/// Whether a header that is a list has this word, in any case, with or without a version behind it.
fn lists(head: &Request<'_, '_>, name: &str, word: &str) -> bool {
    http::values(head, name)
        .flat_map(|value| value.split(|&byte| byte == b','))
        .filter_map(|item| item.split(|&byte| byte == b'/').next())
        .any(|item| item.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
}
