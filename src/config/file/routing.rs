//! The keys of an `[[app]]` that say where its connections go, as cli/run/routing.rs has them.

use super::app::{TIME, WORD, choice, set};
use super::table::Table;
use crate::config::{self, AppConfig, Networks, Routing, Spelling};

const NUMBER: &str = "a number";
const NETWORKS: &str = "a network, as in \"10.0.0.0/8\" or \"unix\", or an array of them";

/// Reads them.
pub fn read(table: &Table<'_>, app: &mut AppConfig) {
    let refused = table.refused();
    let routing = &mut app.routing;
    set(&mut routing.balance, table.word("balance", WORD, choice));
    routing.sticky = table.word("sticky", WORD, str::parse);
    set(
        &mut routing.sticky_down,
        table.word("sticky-down", WORD, choice),
    );
    routing.sticky_bound = table.word("sticky-bound", "a number, as in 1.25", str::parse);
    routing.websocket_sticky = table.truth("websocket-sticky");
    routing.proxy_protocol = table.truth("proxy-protocol");
    routing.header_complete = table.truth("header-complete");
    routing.trusted_proxies = trusted_proxies(table);
    set(
        &mut routing.peek_timeout,
        table.word("peek-timeout", TIME, config::positive_duration),
    );
    set(
        &mut routing.max_peeked,
        table.word("max-peeked", NUMBER, config::max_peeked),
    );
    app.steal_after = app.routing.steal_after();
    set(
        &mut app.steal_after,
        table.word("steal-after", TIME, config::positive_duration),
    );
    set(
        &mut app.max_held,
        table.word("max-held", NUMBER, config::max_held),
    );
    // What cannot be read is not there for the others, and that is no fault of theirs.
    if table.refused() == refused {
        check_together(table, &app.routing);
    }
}

/// Whose word is taken for who a client is.
pub fn trusted_proxies(table: &Table<'_>) -> Networks {
    table
        .list("trusted-proxies")
        .iter()
        .filter_map(|value| table.read("trusted-proxies", value, NETWORKS, str::parse::<Networks>))
        .fold(Networks::default(), Networks::and)
}

/// What no key says by itself.
fn check_together(table: &Table<'_>, routing: &Routing) {
    for misfit in routing.misfits(Spelling::Keys, |key| table.has(key)) {
        table.refuse(table.place(misfit.key), misfit.sentence);
    }
}
