//! What can be known of the backends in a file: whether one is the proxy itself, and whether names have addresses.

use std::thread;

use super::Marked;
use crate::config::AppConfig;
use crate::config::file::{Inspected, Places};
use crate::config::proxy::{Host, Target};
use crate::primary::backends::resolve::{Own, resolve};

/// The backends, written as addresses, that are a listener of their own app. Asks nobody.
pub fn own<'a>(
    app: &'a AppConfig,
    places: &'a Places,
) -> impl Iterator<Item = (usize, String)> + 'a {
    let own = Own::of_config(&app.listen);
    let backends = app.proxy.iter().flat_map(|proxy| &proxy.to);
    backends
        .zip(&places.to)
        .filter_map(move |(backend, place)| {
            let target = match &backend.host {
                Host::Address(address) => Target::Tcp(*address),
                Host::Unix(path) => Target::Unix(path.clone()),
                Host::Name(..) | Host::Srv(_) => return None,
            };
            own.is(&target).map(|why| (*place, why))
        })
}

/// The names that have no address now, or none but our own. Waits for name servers, for all of them at one time.
pub fn unresolved(inspected: &Inspected) -> Marked {
    let apps = inspected.config.apps.iter().enumerate();
    let named = apps.flat_map(|(index, app)| {
        let places = inspected.places(index);
        let backends = app.proxy.iter().flat_map(|proxy| &proxy.to);
        let named = backends.zip(&places.to);
        named
            .filter(|(backend, _)| matches!(backend.host, Host::Name(..) | Host::Srv(_)))
            .map(move |(backend, place)| (backend, *place, Own::of_config(&app.listen)))
    });
    thread::scope(|scope| {
        let asked: Vec<_> = named
            .map(|(backend, place, own)| {
                let found =
                    scope.spawn(move || resolve(backend).and_then(|leads| own.strip(leads)));
                (backend, place, found)
            })
            .collect();
        let answers = asked.into_iter().filter_map(|(backend, place, found)| {
            let why = found.join().ok()?.err()?;
            Some((place, format!("cannot resolve {}: {why}", backend.host)))
        });
        answers.collect()
    })
}
