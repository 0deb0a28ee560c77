//! What a request's target names (RFC 9112, 3.2). Nothing is decoded or made uniform: two spellings are two keys.

/// The value of the first parameter of this name.
pub(super) fn parameter<'a>(target: &'a str, name: &str) -> Option<&'a [u8]> {
    let (_, query) = target.split_once('?')?;
    query.split('&').find_map(|pair| {
        let (own, value) = pair.split_once('=').unwrap_or((pair, ""));
        (own == name).then_some(value.as_bytes())
    })
}

/// The path's beginning up to so many segments, or all of it if it has fewer; `None` if they are empty, as that of `/`.
pub(super) fn segments(target: &str, count: u8) -> Option<&[u8]> {
    let path = path(target).as_bytes();
    let next = memchr::memchr_iter(b'/', path).nth(usize::from(count));
    let wanted = &path[..next.unwrap_or(path.len())];
    wanted.iter().any(|&byte| byte != b'/').then_some(wanted)
}

/// The path without the query: from the first slash on, of an absolute target the first one behind the authority.
/// Empty in the forms that have none (`*`, and `host:port` of CONNECT).
fn path(target: &str) -> &str {
    let (before, _) = target.split_once('?').unwrap_or((target, ""));
    if before.starts_with('/') {
        return before;
    }
    let authority = before.split_once("://").map_or("", |(_, rest)| rest);
    authority.find('/').map_or("", |slash| &authority[slash..])
}
