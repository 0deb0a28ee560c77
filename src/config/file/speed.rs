//! The keys of an `[[app]]` that have to do with speed alone, as cli/run/speed.rs has them.

use std::time::Duration;

use toml::de::DeValue;

use super::app::set;
use super::table::Table;
use crate::config::speed::{self, DEFERRAL};
use crate::config::{AppConfig, Spelling};

const SHORT: &str = "a time, as in \"200us\", or 0";
const SECONDS: &str = "true, or a time, as in \"3s\"";

/// Reads them, once all others have been read.
pub fn read(table: &Table<'_>, app: &mut AppConfig) {
    let refused = table.refused();
    let gather_max = table.word("gather-max", SHORT, speed::gather_max);
    set(&mut app.speed.gather_max, gather_max);
    app.speed.defer_accept = defer_accept(table);
    app.speed.pin = table.truth("pin");
    if table.refused() == refused
        && let Some(misfit) = app.speed_misfits(Spelling::Keys, |key| table.has(key))
    {
        table.refuse(table.place(misfit.key), misfit.sentence);
    }
}

fn defer_accept(table: &Table<'_>) -> Option<Duration> {
    let value = table.get("defer-accept")?;
    match value.get_ref() {
        DeValue::Boolean(truth) => truth.then_some(DEFERRAL),
        _ => table.read("defer-accept", value, SECONDS, speed::defer_accept),
    }
}
