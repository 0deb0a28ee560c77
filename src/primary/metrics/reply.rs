//! What a reader gets: a status code, a body that several of them may share, and the headers that go with it.

use std::rc::Rc;
use std::time::SystemTime;

use super::http::Refusal;

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status code.
    pub code: u16,
    /// What the body is.
    pub kind: &'static str,
    /// The body.
    pub body: Rc<Vec<u8>>,
    /// Further headers, each a line with its end.
    pub headers: String,
}

/// Text for people.
const PLAIN: &str = "text/plain; charset=utf-8";

/// Nothing read here is worth keeping, to be guessed at, shown in a frame, or read by other pages.
const EVERYWHERE: &str = "Cache-Control: no-store\r\n\
     X-Content-Type-Options: nosniff\r\n\
     Cross-Origin-Resource-Policy: same-origin\r\n\
     Referrer-Policy: no-referrer\r\n";

impl Reply {
    /// All is well, with this body.
    pub fn of(kind: &'static str, body: Rc<Vec<u8>>) -> Self {
        Self {
            code: 200,
            kind,
            body,
            headers: String::new(),
        }
    }

    /// A line or several for people.
    pub fn plain(code: u16, text: &str) -> Self {
        Self {
            code,
            ..Self::of(PLAIN, Rc::new(format!("{text}\n").into_bytes()))
        }
    }

    /// Status line and headers, with the empty line behind them.
    pub fn head(&self, keep: bool) -> Vec<u8> {
        let Self {
            code,
            kind,
            body,
            headers,
        } = self;
        let (reason, length) = (reason(*code), body.len());
        let date = httpdate::fmt_http_date(SystemTime::now());
        let connection = if keep { "keep-alive" } else { "close" };
        format!(
            "HTTP/1.1 {code} {reason}\r\nDate: {date}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
             {EVERYWHERE}{headers}Connection: {connection}\r\n\r\n"
        )
        .into_bytes()
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        let allow = if refusal.code == 405 {
            "Allow: GET, HEAD\r\n"
        } else {
            ""
        };
        Self {
            headers: allow.to_owned(),
            ..Self::plain(refusal.code, refusal.why)
        }
    }
}

fn reason(code: u16) -> &'static str {
    match code {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        421 => "Misdirected Request",
        431 => "Request Header Fields Too Large",
        505 => "HTTP Version Not Supported",
        _ => "Service Unavailable",
    }
}
