//! Stickiness in words: by what connections were dealt, and how even the slots are for it.

use super::Section;
use super::text::wrapped;
use crate::status::{Keys, KeysFound, KeysMissing};

/// A line or two where anything is sticky or read; nothing before the first connection.
pub fn lines(out: &mut String, section: &Section) {
    let Some(keys) = section.keys else { return };
    let mut said = by_key(keys);
    if keys.balanced > 0 {
        said.push(format!("{} by {}", keys.balanced, section.balance));
    }
    for (count, what) in [
        (keys.reading, "being read"),
        (keys.refused, "refused"),
        (keys.proxied, "with a PROXY header"),
    ] {
        if count > 0 {
            said.push(format!("{count} {what}"));
        }
    }
    if said.is_empty() {
        return;
    }
    out.push('\n');
    let what = match section.sticky {
        Some(_) => "keys",
        None => "first bytes",
    };
    wrapped(out, "", &format!("{what}: {}", said.join(", ")));
    if let (Some(evenness), Some(_), true) =
        (section.evenness, section.sticky, section.slots.len() > 1)
    {
        let mut words = format!("busiest slot: {evenness:.2} of its share");
        let dealt = section.slots.iter().map(|slot| slot.dealt);
        let dealt = dealt.fold(0, u64::saturating_add);
        let lately = section.evenness_of;
        if (1..dealt).contains(&lately) {
            words.push_str(&format!(" of {lately} since slots last came or went"));
        }
        wrapped(out, "", &words);
    }
}

fn by_key(keys: &Keys) -> Vec<String> {
    // All fields by name: a new kind has to be given its word here.
    let KeysFound {
        ip,
        proxy,
        header,
        cookie,
        query,
        path,
        sni,
        alpn,
        route,
    } = keys.found;
    let found = [
        (ip, "ip"),
        (proxy, "proxy"),
        (header, "header"),
        (cookie, "cookie"),
        (query, "query"),
        (path, "path"),
        (sni, "sni"),
        (alpn, "alpn"),
        (route, "route"),
    ];
    let found = found.iter().filter(|(count, _)| *count > 0);
    let mut said: Vec<String> = found
        .map(|(count, kind)| format!("{count} by {kind}"))
        .collect();
    let KeysMissing {
        absent,
        unreadable,
        timed_out,
        crowded,
    } = keys.fallback;
    let missing = [
        (absent, "had none"),
        (unreadable, "unreadable"),
        (timed_out, "timed out"),
        (crowded, "crowded out"),
    ];
    let all = missing
        .iter()
        .fold(0u64, |sum, (n, _)| sum.saturating_add(*n));
    let missing = missing.iter().filter(|(count, _)| *count > 0);
    let why: Vec<String> = missing
        .map(|(count, why)| format!("{count} {why}"))
        .collect();
    if all > 0 {
        said.push(format!("{all} by ip instead ({})", why.join(", ")));
    }
    said
}
