//! What `status` says of an app that is a proxy; its backends tell of themselves.

use crate::backend_board::TurnedAway;
use crate::primary::app::App;
use crate::status::{ProxyStatus, TurnedAwayStatus};

/// How it leads connections on, if it does.
pub fn status(app: &App) -> Option<ProxyStatus> {
    let (proxy, backends) = (app.config.proxy.as_ref()?, app.backends.as_ref()?);
    Some(ProxyStatus {
        balance: proxy.balance,
        sticky: proxy.sticky.as_ref().map(ToString::to_string),
        waiting: backends.waiting(),
        turned_away: TurnedAwayStatus {
            no_backend: backends.turned_away(TurnedAway::Shut),
            unreachable: backends.turned_away(TurnedAway::Unreachable),
            queue_full: backends.turned_away(TurnedAway::QueueFull),
            queue_timeout: backends.turned_away(TurnedAway::QueueTimeout),
            exhausted: backends.turned_away(TurnedAway::Exhausted),
            no_port: backends.turned_away(TurnedAway::NoPort),
        },
        without_port: backends.without_port(),
    })
}
