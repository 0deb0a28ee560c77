//! What is different between two apps, key by key, where nobody needs a new worker for it.

use super::{Found, Live};
use crate::config::{AppConfig, Balance, Routing, Speed};

/// What is looked at whenever it is needed: it is enough that it is there.
pub fn rules(old: &AppConfig, to: &AppConfig, found: &mut Found) {
    for (key, differs) in [
        ("name", to.name != old.name),
        ("ready-timeout", to.ready_timeout != old.ready_timeout),
        ("drain-timeout", to.drain_timeout != old.drain_timeout),
        ("grace", to.grace != old.grace),
        ("reload-parallel", to.reload_parallel != old.reload_parallel),
        ("max-old", to.max_old != old.max_old),
        ("restart", to.restart != old.restart),
        ("limits", to.limits != old.limits),
        ("health", to.health != old.health),
    ] {
        found.rule(key, differs);
    }
}

/// What the dispatcher and the listeners go by.
pub fn choice(old: &AppConfig, to: &AppConfig, found: &mut Found) {
    let kernel = |app: &AppConfig| app.routing.balance == Balance::Kernel;
    if kernel(to) != kernel(old) {
        // With it workers hold the listening sockets themselves, without it channels in their place.
        found.fixed.push(
            "'balance' cannot change to or from \"kernel\" while the app runs: stop the primary and start it again"
                .to_owned(),
        );
    }
    routing(&old.routing, &to.routing, found);
    speed(&old.speed, &to.speed, found);
    let bounds = Live::Bounds {
        max_held: to.max_held,
        steal_after: to.steal_after,
    };
    found.live("max-held", to.max_held != old.max_held, bounds.clone());
    found.live("steal-after", to.steal_after != old.steal_after, bounds);
}

fn routing(old: &Routing, to: &Routing, found: &mut Found) {
    // All fields by name: a new one has to be given its key here.
    let Routing {
        balance,
        sticky,
        sticky_down,
        sticky_bound,
        websocket_sticky,
        proxy_protocol,
        header_complete,
        trusted_proxies,
        peek_timeout,
        max_peeked,
    } = to;
    let differs = [
        ("balance", *balance != old.balance),
        ("sticky", *sticky != old.sticky),
        ("sticky-down", *sticky_down != old.sticky_down),
        ("sticky-bound", *sticky_bound != old.sticky_bound),
        (
            "websocket-sticky",
            *websocket_sticky != old.websocket_sticky,
        ),
        ("proxy-protocol", *proxy_protocol != old.proxy_protocol),
        ("header-complete", *header_complete != old.header_complete),
        ("trusted-proxies", *trusted_proxies != old.trusted_proxies),
        ("peek-timeout", *peek_timeout != old.peek_timeout),
        ("max-peeked", *max_peeked != old.max_peeked),
    ];
    for (key, differs) in differs {
        let (from, to) = (old.clone(), to.clone());
        found.live(key, differs, Live::Routing { from, to });
    }
}

fn speed(old: &Speed, to: &Speed, found: &mut Found) {
    let Speed {
        gather_max,
        defer_accept,
        pin,
    } = to;
    let gather = Live::Gather(*gather_max);
    found.live("gather-max", *gather_max != old.gather_max, gather);
    let defer = Live::DeferAccept(*defer_accept);
    found.live("defer-accept", *defer_accept != old.defer_accept, defer);
    // Threads that a worker has started are bound with it only before it starts them.
    found.renew("pin", *pin != old.pin);
}
