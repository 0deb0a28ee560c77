//! Whether there are enough ready workers, and behind a proxy any backend, for a load balancer in front to send
//! clients here: `/readyz`.

use crate::status::{BackendState, BackendStatus, SlotState, SlotStatus, Status};

/// So many reasons of each kind are told.
const REASONS: usize = 8;

/// How many ready workers of each app are enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enough {
    /// So many, or all if there are fewer.
    Workers(usize),
    /// So many of a hundred.
    Percent(usize),
}

impl Enough {
    /// What `min=` says in a query; without it one is enough. `None` if that cannot be read.
    pub fn of_query(query: &str) -> Option<Self> {
        let mut pairs = query.split('&');
        let Some(words) = pairs.find_map(|pair| pair.strip_prefix("min=")) else {
            return Some(Self::Workers(1));
        };
        let digits = words
            .strip_suffix("%25")
            .or_else(|| words.strip_suffix('%'));
        let number = |digits: &str| {
            let plain = digits.len() <= 4 && digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse::<usize>().ok().filter(|_| plain)
        };
        match digits {
            Some(digits) => number(digits)
                .filter(|part| *part <= 100)
                .map(Self::Percent),
            None => number(words).map(Self::Workers),
        }
    }

    /// Of so many workers.
    fn of(self, workers: usize) -> usize {
        match self {
            Self::Workers(least) => least.min(workers),
            Self::Percent(part) => (workers * part).div_ceil(100),
        }
    }
}

/// How many are ready, or why that is not enough; in a line each.
pub fn readiness(status: &Status, enough: Enough) -> Result<String, String> {
    if status.stopping {
        return Err("stopping: nothing new is taken".to_owned());
    }
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for app in &status.apps {
        let slots = status.slots.iter().filter(|slot| slot.app == app.name);
        let (ready, others): (Vec<_>, Vec<_>) =
            slots.partition(|slot| slot.state == SlotState::Ready);
        let needed = enough.of(app.workers);
        let count = format!(
            "{}: {} of {} workers ready",
            app.name,
            ready.len(),
            app.workers
        );
        if ready.len() >= needed {
            good.push(count);
        } else {
            let reasons: String = others.into_iter().take(REASONS).map(reason).collect();
            bad.push(format!("{count}, {needed} needed{reasons}"));
        }
        if app.proxy.is_some() {
            let all = status.backends.iter().filter(|one| one.app == app.name);
            match backends(&all.collect::<Vec<_>>()) {
                Ok(count) => good.push(format!("{}: {count}", app.name)),
                Err(why) => bad.push(format!("{}: {why}", app.name)),
            }
        }
    }
    match bad.is_empty() {
        true => Ok(good.join("\n")),
        false => Err(bad.join("\n")),
    }
}

/// How many backends are up, or why none is. That sessions may be tried at all of them then does not count.
fn backends(all: &[&BackendStatus]) -> Result<String, String> {
    let up = all.iter().filter(|one| one.state == BackendState::Up);
    let up = up.count();
    if up > 0 {
        return Ok(format!("{up} of {} backends up", all.len()));
    }
    let reasons = all.iter().take(REASONS).map(|one| {
        let why = one.why.as_deref().unwrap_or_default();
        let colon = if why.is_empty() { "" } else { ": " };
        format!("\n  {} is {}{colon}{why}", one.backend, one.state)
    });
    Err(format!("no backend is up{}", reasons.collect::<String>()))
}

fn reason(slot: &SlotStatus) -> String {
    let why = slot.why.as_deref().unwrap_or_default();
    let colon = if why.is_empty() { "" } else { ": " };
    format!("\n  slot {} is {}{colon}{why}", slot.slot, slot.state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_many_are_enough() {
        let table = [
            ("", Some(Enough::Workers(1))),
            ("a=b", Some(Enough::Workers(1))),
            ("min=0", Some(Enough::Workers(0))),
            ("a=b&min=4", Some(Enough::Workers(4))),
            ("min=50%", Some(Enough::Percent(50))),
            ("min=100%25", Some(Enough::Percent(100))),
            ("min=101%", None),
            ("min=", None),
            ("min=%", None),
            ("min=-1", None),
            ("min=+1", None),
            ("min=99999999999999999999", None),
        ];
        for (query, expected) in table {
            assert_eq!(Enough::of_query(query), expected, "{query:?}");
        }
        assert_eq!(Enough::Workers(3).of(2), 2);
        let parts: Vec<_> = [0, 1, 50, 51, 100]
            .map(|part| Enough::Percent(part).of(4))
            .into();
        assert_eq!(parts, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn one_backend_is_enough() {
        let one = |state, why: Option<&str>| BackendStatus {
            why: why.map(str::to_owned),
            ..BackendStatus::unused("db:5432", "10.0.0.1:5432", state)
        };
        let (up, down) = (
            one(BackendState::Up, None),
            one(BackendState::Down, Some("refused")),
        );
        assert_eq!(backends(&[&down, &up]), Ok("1 of 2 backends up".into()));
        let why = "no backend is up\n  db:5432 is down: refused\n  db:5432 is drained";
        let none = backends(&[&down, &one(BackendState::Drained, None)]);
        assert_eq!(none, Err(why.into()));
        assert_eq!(backends(&[]), Err("no backend is up".into()));
    }
}
