//! What can be known of the backends in a file: whether one is the proxy itself, and whether names have addresses.

use super::Marked;
use crate::config::file::Inspected;
use crate::config::proxy::{Backend, Host};
use crate::policy::backends::item::{Lead, Resolved};
use crate::primary::backends::resolve::{Own, Way, resolve_all};

/// One backend in a file.
struct Written<'a> {
    /// The place of its app among the apps.
    app: usize,
    backend: &'a Backend,
    place: usize,
}

fn written(inspected: &Inspected) -> impl Iterator<Item = Written<'_>> {
    let apps = inspected.config.apps.iter().enumerate();
    apps.flat_map(|(index, app)| {
        let backends = app.proxy.iter().flat_map(|proxy| &proxy.to);
        let places = backends.zip(&inspected.places(index).to);
        places.map(move |(backend, place)| Written {
            app: index,
            backend,
            place: *place,
        })
    })
}

fn ways(inspected: &Inspected) -> Vec<Way> {
    inspected.config.apps.iter().map(Way::of_config).collect()
}

/// The backends, written as addresses, that are a listener of their own app, or of one that leads back to it. Asks
/// nobody.
pub fn own(inspected: &Inspected) -> Marked {
    let ways = ways(inspected);
    let own: Vec<Own> = (0..ways.len()).map(|at| Own::among(&ways, at)).collect();
    let refused = |one: Written<'_>| {
        let target = one.backend.host.target()?;
        let why = own[one.app].refusal(&target)?;
        Some((one.place, why))
    };
    written(inspected).filter_map(refused).collect()
}

/// The names that have no address now, or none but such as lead back. Waits for name servers, for all of them at one
/// time.
pub fn unresolved(inspected: &Inspected) -> Marked {
    let named =
        written(inspected).filter(|one| matches!(one.backend.host, Host::Name(..) | Host::Srv(_)));
    let named: Vec<Written<'_>> = named.collect();
    let backends: Vec<Backend> = named.iter().map(|one| one.backend.clone()).collect();
    let answers = resolve_all(&backends);
    // Where they lead closes circles, too.
    let mut ways = ways(inspected);
    for (one, answer) in named.iter().zip(&answers) {
        let leads = answer.iter().flat_map(|found: &Resolved| &found.leads);
        let targets = leads.map(|lead: &Lead| lead.target.clone());
        ways[one.app].leads.extend(targets);
    }
    let judged = named.iter().zip(answers).filter_map(|(one, answer)| {
        let own = Own::among(&ways, one.app);
        let answer = answer.and_then(|found| own.strip(&one.backend.host, found));
        Some((one.place, answer.err()?))
    });
    judged.collect()
}
