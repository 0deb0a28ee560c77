//! Listeners that come and go. A listener belongs to a port of the server, and its workers learn of a port when
//! their server binds it.

use super::{Changes, Found, Live};
use crate::config::{AppConfig, Balance, Config, Listen, ListenAt};

const STOP: &str = "stop the primary and start it again";

/// What becomes of the listeners of `old` when they are to be `new`.
pub(super) fn compare(old: &AppConfig, new: &[Listen], found: &mut Found) {
    if old.listen == new {
        return;
    }
    found.rule("listen", true);
    if old.listen.is_empty() || new.is_empty() {
        // Without, the server's own binds make them: which are there, no file knows.
        found.fixed.push(format!(
            "an app that names its listeners cannot be made from one that does not, nor the other way round, while it \
             runs: {STOP}"
        ));
        return;
    }
    let closing: Vec<&Listen> = missing(&old.listen, new);
    for gone in &closing {
        close(old, gone, found);
    }
    for kept in &old.listen {
        let to = new.iter().find(|listen| listen.at == kept.at);
        if to.is_some_and(|to| port(to, new) != port(kept, &old.listen)) {
            found.fixed.push(format!(
                "the server's port behind {} cannot change while the app runs, since its workers have bound it: {STOP}",
                kept.at
            ));
        }
    }
    for listen in missing(new, &old.listen) {
        found.live("listen", true, Live::Open(listen.clone()));
        let known = |other: &Listen| port(other, &old.listen) == port(listen, new);
        // The server has asked for this port before, and was told that it is its own; or it never asked.
        found.renew("listen", !old.listen.iter().any(known));
    }
}

fn close(old: &AppConfig, gone: &Listen, found: &mut Found) {
    let at = &gone.at;
    if old.routing.balance == Balance::Kernel {
        found.fixed.push(format!(
            "{at} cannot be closed while the app runs, since with balance = \"kernel\" its workers have the listening \
             socket: {STOP}"
        ));
        return;
    }
    found.last.push(Live::Close(at.clone()));
}

/// Those of `these` whose addresses are not among `others`.
fn missing<'a>(these: &'a [Listen], others: &[Listen]) -> Vec<&'a Listen> {
    let is_missing = |listen: &&Listen| others.iter().all(|other| other.at != listen.at);
    these.iter().filter(is_missing).collect()
}

/// The port of the server that `listen` leads to: a Unix socket without one goes where the first other goes.
fn port(listen: &Listen, all: &[Listen]) -> Option<u16> {
    let first = || all.iter().find_map(Listen::shared_port);
    listen.shared_port().or_else(first)
}

/// What is to be opened while somebody else of us has it still. To pass a socket on would be to pass on those who
/// wait in it for the other server.
pub(super) fn handed_over(old: &Config, changes: &Changes) -> Vec<String> {
    let changed = changes.changed.iter().flat_map(|change| {
        let opened = change.live.iter().filter_map(|live| match live {
            Live::Open(listen) => Some(&listen.at),
            _ => None,
        });
        opened.map(|at| (change.app.as_str(), at))
    });
    let added = changes.added.iter().flat_map(|app| {
        app.listen
            .iter()
            .map(|listen| (app.name.as_str(), &listen.at))
    });
    changed
        .chain(added)
        .filter_map(|(app, at)| {
            let (holder, held) = holder(old, at)?;
            Some(format!(
                "app '{app}' cannot listen on {at} while app '{holder}' has {held}: take it away with one reload, and \
                 give it with the next"
            ))
        })
        .collect()
}

fn holder<'a>(old: &'a Config, at: &ListenAt) -> Option<(&'a str, &'a ListenAt)> {
    let mut held = old.apps.iter().flat_map(|app| {
        app.listen
            .iter()
            .map(|listen| (app.name.as_str(), &listen.at))
    });
    held.find(|(_, held)| held.overlaps(at))
}
