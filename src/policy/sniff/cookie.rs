//! Cookies as clients send them (RFC 6265, 5.4): `name=value` pairs with semicolons between them, over one header or,
//! from what was HTTP/2 before, several.

use httparse::Request;

use super::http::values;

/// The value of the first cookie of this name, without the quotes around it.
pub(super) fn value<'a>(head: &Request<'_, 'a>, name: &str) -> Option<&'a [u8]> {
    values(head, "cookie")
        .flat_map(|value| value.split(|&byte| byte == b';'))
        .find_map(|pair| of_pair(pair, name))
}

fn of_pair<'a>(pair: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let equals = memchr::memchr(b'=', pair)?;
    let (own, value) = (pair[..equals].trim_ascii(), pair[equals + 1..].trim_ascii());
    (own == name.as_bytes()).then(|| unquoted(value))
}

/// What is inside a pair of quotes, or all of it.
pub(super) fn unquoted(value: &[u8]) -> &[u8] {
    match value {
        [b'"', inside @ .., b'"'] => inside,
        _ => value,
    }
}
