//! What a reader asks: the head of an HTTP/1.1 request to one of the few things there are to read, or to the reason
//! why it is refused (RFC 9110, RFC 9112).
//!
//! Strict, since there is nothing to be lenient for: lines end in CRLF, no request has a body, and whatever is
//! refused is the last of its connection, so that a proxy in front and this server never disagree about where a
//! request ends. Pure: bytes in, verdict out.

use std::net::{IpAddr, Ipv6Addr};

use httparse::{EMPTY_HEADER, Error, Header, Status};
use memchr::memchr;

use super::ready::Enough;

/// The longest head of a request, bytes.
pub const HEAD_MAX: usize = 8 * 1024;
/// The most headers that a request may have.
const MOST_HEADERS: usize = 64;

/// A request that can be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is asked for.
    pub resource: Resource,
    /// By HEAD: the answer has no body.
    pub head_only: bool,
    /// The connection may ask again.
    pub keep: bool,
}

/// What there is to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// `/`
    Page,
    /// `/metrics`
    Metrics,
    /// `/status`
    Status,
    /// `/healthz`
    Health,
    /// `/readyz`
    Ready(Enough),
}

/// Why a request is not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status code.
    pub code: u16,
    /// A sentence.
    pub why: &'static str,
}

/// What has been heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Not all of it yet.
    Part,
    /// A request, and how many bytes it was.
    Request(Request, usize),
    /// Nothing that can be answered.
    Refused(Refusal),
}

/// By which names this server may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Any: it is reached from elsewhere, or by a path.
    Any,
    /// Those of loopback only. A page from anywhere can point a name of its own at 127.0.0.1 and have the browser
    /// read what is there for it (DNS rebinding); an address or `localhost` it cannot pretend to be.
    Loopback,
}

fn refused<T>(code: u16, why: &'static str) -> Result<T, Refusal> {
    Err(Refusal { code, why })
}

/// What `input` asks for.
pub fn hear(input: &[u8], names: Names) -> Heard {
    let mut headers = [EMPTY_HEADER; MOST_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let outcome = match parsed.parse(input) {
        Ok(Status::Partial) if has_bare_line_end(input) => refused(400, "lines end in CRLF"),
        Ok(Status::Partial) if input.len() >= HEAD_MAX => {
            refused(431, "the head of a request has 8 KiB at most")
        }
        Ok(Status::Partial) => return Heard::Part,
        Ok(Status::Complete(length)) if has_bare_line_end(&input[..length]) => {
            refused(400, "lines end in CRLF")
        }
        Ok(Status::Complete(length)) => understand(&parsed, names).map(|request| (request, length)),
        Err(Error::TooManyHeaders) => refused(431, "a request has 64 headers at most"),
        Err(Error::Version) => refused(505, "HTTP/1.1 and HTTP/1.0 are understood"),
        Err(_) => refused(400, "this is no HTTP request"),
    };
    match outcome {
        Ok((request, length)) => Heard::Request(request, length),
        Err(refusal) => Heard::Refused(refusal),
    }
}

/// A LF without its CR, or a CR without its LF, in front of which two servers may see different requests.
fn has_bare_line_end(input: &[u8]) -> bool {
    let mut rest = input;
    while let Some(at) = memchr(b'\n', rest) {
        let line = &rest[..at];
        if line.last() != Some(&b'\r') || memchr(b'\r', &line[..at - 1]).is_some() {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}

fn understand(parsed: &httparse::Request<'_, '_>, names: Names) -> Result<Request, Refusal> {
    let target = parsed.path.unwrap_or_default();
    let (authority, path) = match target.strip_prefix("http://") {
        Some(rest) => {
            let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
            (Some(authority), if path.is_empty() { "/" } else { path })
        }
        None => (None, target),
    };
    check_host(parsed, authority, names)?;
    let head_only = match parsed.method {
        Some("GET") => false,
        Some("HEAD") => true,
        _ => return refused(405, "this server is read only: there are GET and HEAD"),
    };
    if has_body(parsed.headers) {
        return refused(400, "no request here has a body");
    }
    Ok(Request {
        resource: resource(path)?,
        head_only,
        keep: parsed.version == Some(1) && !asks_to_close(parsed.headers),
    })
}

fn values<'a>(headers: &'a [Header<'_>], name: &str) -> impl Iterator<Item = &'a [u8]> {
    let named = headers
        .iter()
        .filter(move |one| one.name.eq_ignore_ascii_case(name));
    named.map(|one| one.value)
}

fn has_body(headers: &[Header<'_>]) -> bool {
    values(headers, "transfer-encoding").next().is_some()
        || values(headers, "content-length").any(|length| length != b"0")
}

fn asks_to_close(headers: &[Header<'_>]) -> bool {
    let wishes = values(headers, "connection").flat_map(|value| value.split(|byte| *byte == b','));
    let mut wishes = wishes.map(<[u8]>::trim_ascii);
    wishes.any(|wish| wish.eq_ignore_ascii_case(b"close"))
}

fn check_host(
    parsed: &httparse::Request<'_, '_>,
    authority: Option<&str>,
    names: Names,
) -> Result<(), Refusal> {
    let mut hosts = values(parsed.headers, "host");
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => Some(host),
        // No browser asks like that.
        (None, _) if parsed.version == Some(0) => None,
        (None, _) => return refused(400, "a request of HTTP/1.1 has a Host header"),
        (Some(_), Some(_)) => return refused(400, "a request has one Host header"),
    };
    let meant = authority.map(str::as_bytes).or(host);
    match (names, meant) {
        (Names::Loopback, Some(host)) if !is_loopback_name(host) => refused(
            421,
            "this server is called by its address or as localhost, so that no other page can read it by a name of \
             its own; a proxy in front has to set the Host header to one of these",
        ),
        _ => Ok(()),
    }
}

/// `127.0.0.1:9100`, `[::1]`, `localhost`, `web.localhost`: no name that a resolver could be asked for.
fn is_loopback_name(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else {
        return false;
    };
    if let Some((address, port)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address.parse::<Ipv6Addr>().is_ok() && is_port(port);
    }
    let (name, port) = host.split_at(host.find(':').unwrap_or(host.len()));
    let name = name.to_ascii_lowercase();
    let name = name.strip_suffix('.').unwrap_or(&name);
    let known = name == "localhost" || name.ends_with(".localhost");
    is_port(port) && (known || name.parse::<IpAddr>().is_ok())
}

/// Nothing, or a colon and digits.
fn is_port(text: &str) -> bool {
    let digits = text.strip_prefix(':').unwrap_or(text);
    text.is_empty() || (text.len() > 1 && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

fn resource(target: &str) -> Result<Resource, Refusal> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Ok(match path {
        "/" => Resource::Page,
        "/metrics" => Resource::Metrics,
        "/status" => Resource::Status,
        "/healthz" => Resource::Health,
        "/readyz" => match Enough::of_query(query) {
            Some(enough) => Resource::Ready(enough),
            None => {
                return refused(
                    400,
                    "readyz?min= takes a number of workers, or a part as in 75%",
                );
            }
        },
        _ => return refused(404, "there are /, /metrics, /status, /healthz and /readyz"),
    })
}

#[cfg(test)]
mod tests;
