//! The little HTTP/1.1 that the demo speaks: a request's head out of bytes, a reply into bytes. Pure; total
//! over any input. Syntax is RFC 9112, read by `httparse`; what is not understood is refused, never guessed.

use std::borrow::Cow;

/// Longest request head, bytes.
pub const MAX_HEAD: usize = 16 * 1024;
/// Longest request body, bytes: nothing here needs one, so it is only skipped.
pub const MAX_BODY: u64 = 64 * 1024;
/// Most header fields of a request.
const MAX_FIELDS: usize = 64;

/// What a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// HEAD: a GET whose answer is sent without its body.
    Head,
    /// POST.
    Post,
    /// Any other.
    Other,
}

/// The head of one request, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    /// Its length in the input, bytes.
    pub length: usize,
    /// The method.
    pub method: Method,
    /// Path of the target, without the query.
    pub path: String,
    /// The client wants to use the connection again.
    pub keep_alive: bool,
    /// Bytes of body that follow the head.
    pub body: u64,
    /// Version of a WebSocket that is asked for (13 is the only one there is), and its key.
    pub websocket: Option<(String, String)>,
    /// Our own header `X-Forkfront` is there: no other site's page can make a browser send it.
    pub from_our_page: bool,
}

/// Reads a request's head from the start of `input`; `None` if it is not all there yet.
///
/// # Errors
/// The status with which to refuse: 400, 413, 431 or 501. The connection cannot be used further, since the
/// end of the request is not known.
pub fn read_head(input: &[u8]) -> Result<Option<Head>, u16> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let visible = &input[..input.len().min(MAX_HEAD)];
    let length = match request.parse(visible) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if input.len() >= MAX_HEAD => return Err(431),
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(431),
        Err(_) => return Err(400),
    };
    let (Some(method), Some(target), Some(version)) =
        (request.method, request.path, request.version)
    else {
        return Err(400);
    };
    let fields = Fields(request.headers);
    if fields.all("transfer-encoding").next().is_some() {
        return Err(501);
    }
    if version == 1 && fields.all("host").count() != 1 {
        return Err(400);
    }
    Ok(Some(Head {
        length,
        method: match method {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "POST" => Method::Post,
            _ => Method::Other,
        },
        path: path_of(target).to_owned(),
        keep_alive: if version == 1 {
            !fields.has_token("connection", "close")
        } else {
            fields.has_token("connection", "keep-alive")
        },
        body: fields.content_length()?,
        websocket: (version == 1).then(|| fields.websocket()).flatten(),
        from_our_page: fields.all("x-forkfront").next().is_some(),
    }))
}

/// The path of an origin-form or absolute-form target (RFC 9112 §3.2), without its query.
fn path_of(target: &str) -> &str {
    let path = match target.split_once("://") {
        Some((_, rest)) if !target.starts_with('/') => rest.find('/').map_or("/", |at| &rest[at..]),
        _ => target,
    };
    path.split(['?', '#']).next().unwrap_or(path)
}

/// The header fields of a request.
struct Fields<'a>(&'a [httparse::Header<'a>]);

impl<'a> Fields<'a> {
    /// Values of all fields of this name.
    fn all(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.0
            .iter()
            .filter(move |field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value.trim_ascii())
    }

    /// Whether the comma-separated list `name` has `token`.
    fn has_token(&self, name: &str, token: &str) -> bool {
        self.all(name)
            .flat_map(|value| value.split(|byte| *byte == b','))
            .any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    }

    /// The one text of this name.
    fn text(&self, name: &str) -> Option<String> {
        let value = self.all(name).next()?;
        std::str::from_utf8(value).ok().map(str::to_owned)
    }

    fn content_length(&self) -> Result<u64, u16> {
        let mut length = None;
        for value in self.all("content-length") {
            // `parse` would take a sign, which RFC 9110 §8.6 does not.
            let digits = std::str::from_utf8(value)
                .ok()
                .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            let this = digits
                .and_then(|digits| digits.parse::<u64>().ok())
                .ok_or(400u16)?;
            if length.is_some_and(|other| other != this) {
                return Err(400);
            }
            length = Some(this);
        }
        match length.unwrap_or(0) {
            too_long if too_long > MAX_BODY => Err(413),
            length => Ok(length),
        }
    }

    fn websocket(&self) -> Option<(String, String)> {
        let asked =
            self.has_token("connection", "upgrade") && self.has_token("upgrade", "websocket");
        if !asked {
            return None;
        }
        // RFC 6455 §4.2.1: the key is 16 bytes in base64, so 24 characters.
        let key = self
            .text("sec-websocket-key")
            .filter(|key| key.len() == 24)?;
        Some((self.text("sec-websocket-version").unwrap_or_default(), key))
    }
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// Media type of the body.
    pub content_type: &'static str,
    /// Further fields, each ending in CR LF.
    pub fields: Cow<'static, str>,
    /// The body.
    pub body: Cow<'static, [u8]>,
    /// The connection ends with this answer, whatever the client asked.
    pub close: bool,
}

impl Reply {
    /// A status and what it means.
    pub fn plain(status: u16) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=utf-8",
            fields: Cow::Borrowed(""),
            body: Cow::Owned(format!("{status} {}\n", reason(status)).into_bytes()),
            close: false,
        }
    }

    /// An object.
    pub fn json(status: u16, value: &serde_json::Value) -> Self {
        Self {
            content_type: "application/json",
            body: Cow::Owned(format!("{value}\n").into_bytes()),
            ..Self::plain(status)
        }
    }

    /// Adds further fields, each ending in CR LF.
    #[must_use]
    pub fn with_fields(mut self, fields: impl Into<Cow<'static, str>>) -> Self {
        self.fields = fields.into();
        self
    }

    /// Ends the connection with this answer.
    #[must_use]
    pub fn and_close(mut self) -> Self {
        self.close = true;
        self
    }

    /// Appends the answer's bytes to `output`, without its body for a HEAD.
    pub fn write_to(&self, output: &mut Vec<u8>, keep_alive: bool, with_body: bool) {
        use std::io::Write;
        let connection = match (self.status, keep_alive) {
            (101, _) => "Upgrade",
            (_, true) => "keep-alive",
            (_, false) => "close",
        };
        // Writing into a Vec cannot fail.
        let _ = write!(
            output,
            "HTTP/1.1 {} {}\r\nConnection: {connection}\r\n{}",
            self.status,
            reason(self.status),
            self.fields,
        );
        if self.status == 101 {
            output.extend_from_slice(b"\r\n");
            return;
        }
        let _ = write!(
            output,
            "Content-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
             X-Content-Type-Options: nosniff\r\n\r\n",
            self.content_type,
            self.body.len(),
        );
        if with_body {
            output.extend_from_slice(&self.body);
        }
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        202 => "Accepted",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        426 => "Upgrade Required",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        _ => "Unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Result<Option<Head>, u16> {
        read_head(text.as_bytes())
    }

    #[test]
    fn reads_what_a_browser_sends() {
        let text = "GET /api/who?n=1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nrest";
        let read = head(text).unwrap().unwrap();
        assert_eq!((read.method, read.path.as_str()), (Method::Get, "/api/who"));
        assert_eq!((read.length, read.body), (text.len() - 4, 0));
        assert!(!read.keep_alive && read.websocket.is_none() && !read.from_our_page);
        for cut in 0..text.len() - 4 {
            assert_eq!(head(&text[..cut]), Ok(None), "cut at {cut}");
        }
    }

    #[test]
    fn keep_alive_is_the_default_of_1_1_and_the_exception_of_1_0() {
        for (text, keep) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", true),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n",
                false,
            ),
            ("GET / HTTP/1.0\r\n\r\n", false),
            ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true),
        ] {
            assert_eq!(head(text).unwrap().unwrap().keep_alive, keep, "{text}");
        }
    }

    #[test]
    fn refuses_what_it_cannot_delimit() {
        let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(MAX_HEAD));
        let many = format!(
            "GET / HTTP/1.1\r\n{}\r\n",
            "A: b\r\n".repeat(MAX_FIELDS + 1)
        );
        let post = |field: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n");
        for (text, status) in [
            ("\u{16}\u{3}\u{1}\u{2}".to_owned(), 400),
            ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
            ("GET / HTTP/2.0\r\n\r\n".to_owned(), 400),
            (long, 431),
            (many, 431),
            (post("Content-Length: 99999999"), 413),
            (post("Content-Length: +5"), 400),
            (post("Content-Length: 99999999999999999999999"), 400),
            (post("Content-Length: 1\r\nContent-Length: 2"), 400),
            (post("Transfer-Encoding: chunked"), 501),
        ] {
            assert_eq!(head(&text), Err(status), "{:.60}", text);
        }
    }

    #[test]
    fn sees_a_websocket_only_with_all_that_belongs_to_it() {
        let text = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
                    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        let asked = head(text).unwrap().unwrap().websocket;
        assert_eq!(
            asked,
            Some(("13".into(), "dGhlIHNhbXBsZSBub25jZQ==".into()))
        );
        let without_key = text.replace("Sec-WebSocket-Key", "X-Key");
        assert_eq!(head(&without_key).unwrap().unwrap().websocket, None);
    }

    #[test]
    fn paths_of_all_target_forms() {
        for (target, path) in [
            ("/", "/"),
            ("/a?b=/c", "/a"),
            ("http://host:80/a?b", "/a"),
            ("http://host", "/"),
            ("/a?u=http://b/c", "/a"),
            ("*", "*"),
        ] {
            assert_eq!(path_of(target), path, "{target}");
        }
    }
}
