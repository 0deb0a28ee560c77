//! What the apps of one file must be to each other.

use super::app::App;
use super::finding::Marks;
use crate::config::{ListenAt, MAX_WORKERS};

/// Marks what cannot be of these apps together.
pub fn check(apps: &[App], marks: &mut Marks) {
    for (index, app) in apps.iter().enumerate() {
        let before = &apps[..index];
        match &app.name {
            None if apps.len() > 1 => marks.add(
                app.places.name,
                "this app has no 'name', and each needs one where several run",
            ),
            Some(name) if before.iter().any(|other| other.name.as_ref() == Some(name)) => marks
                .add(
                    app.places.name,
                    format!("two apps are called '{name}': give each a name of its own"),
                ),
            _ => {}
        }
        for (listen, place) in app.config.listen.iter().zip(&app.places.listen) {
            if let Some((other, at)) = taken(before, &listen.at) {
                marks.add(
                    *place,
                    format!(
                        "app '{}' listens on {at} already: no two apps can listen on one address",
                        other.config.name
                    ),
                );
            }
        }
    }
    let workers: usize = apps.iter().map(|app| app.config.workers).sum();
    if let (true, Some(last)) = (workers > MAX_WORKERS, apps.last()) {
        marks.add(
            last.places.workers,
            format!(
                "all apps together have {workers} workers, and a primary runs {MAX_WORKERS} at most"
            ),
        );
    }
}

fn taken<'a>(apps: &'a [App], at: &ListenAt) -> Option<(&'a App, &'a ListenAt)> {
    let mut listeners = apps.iter().flat_map(|app| {
        app.config
            .listen
            .iter()
            .map(move |listen| (app, &listen.at))
    });
    listeners.find(|(_, other)| other.overlaps(at))
}
