//! What has to do with speed alone: how long arrivals may gather, whether those who say nothing wake anybody, and
//! whether each worker has a CPU of its own.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::duration::duration;
use super::{AppConfig, Balance, ListenAt, Misfit, Spelling};

/// The longest that connections may wait for others: beyond it people notice.
const LONGEST_GATHERING: Duration = Duration::from_millis(50);

/// The longest that the kernel is asked to wait for a client's first bytes.
const LONGEST_DEFERRAL: Duration = Duration::from_secs(120);

/// What `--defer-accept` means by itself.
pub const DEFERRAL: Duration = Duration::from_secs(1);

/// See the options of these names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Speed {
    /// How long connections that come densely may wait for others, to be accepted and dealt with them; 0: never.
    pub gather_max: Duration,
    /// How long the kernel keeps to itself a connection whose client has sent nothing yet.
    pub defer_accept: Option<Duration>,
    /// Each worker runs on one CPU.
    pub pin: bool,
}

impl Default for Speed {
    fn default() -> Self {
        Self {
            gather_max: Duration::from_micros(600),
            defer_accept: None,
            pin: false,
        }
    }
}

/// How long connections may wait for others.
///
/// # Errors
/// A sentence.
pub fn gather_max(words: &str) -> Result<Duration, String> {
    match duration(words)? {
        length if length > LONGEST_GATHERING => Err("it is longer than 50ms".into()),
        length => Ok(length),
    }
}

/// How long the kernel waits for a client's first bytes; it counts in seconds.
///
/// # Errors
/// A sentence.
pub fn defer_accept(words: &str) -> Result<Duration, String> {
    match duration(words)? {
        length if length < Duration::from_secs(1) => Err("it must be 1s at least".into()),
        length if length > LONGEST_DEFERRAL => Err("it is longer than two minutes".into()),
        length => Ok(length),
    }
}

impl AppConfig {
    /// What of its [`Speed`] does not go together with the rest. `given` says of a setting with a usual value
    /// whether it was given nevertheless.
    pub fn speed_misfits(
        &self,
        spelling: Spelling,
        given: impl Fn(&str) -> bool,
    ) -> Option<Misfit> {
        let said = |key, sentence| {
            Some(Misfit {
                key,
                sentence,
                is_contrary: true,
            })
        };
        let name = |key| spelling.name(key);
        if self.routing.balance == Balance::Kernel && given("gather-max") {
            let kernel = spelling.with("balance", "kernel");
            let sentence = format!(
                "{} means nothing with {kernel}, since there the workers accept by themselves",
                name("gather-max")
            );
            return said("gather-max", sentence);
        }
        let is_unix = |at: &ListenAt| matches!(at, ListenAt::Unix(_));
        if self.speed.defer_accept.is_some()
            && !self.listen.is_empty()
            && self.listen.iter().all(|listen| is_unix(&listen.at))
        {
            let sentence = format!(
                "{} means nothing where all that is listened on are Unix sockets: it is about TCP",
                name("defer-accept")
            );
            return said("defer-accept", sentence);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_within_their_bounds() {
        let micros = |length: Result<Duration, String>| length.map(|length| length.as_micros());
        assert_eq!(micros(gather_max("200us")), Ok(200));
        assert_eq!(micros(gather_max("0")), Ok(0));
        assert_eq!(micros(gather_max("50ms")), Ok(50_000));
        assert!(gather_max("51ms").unwrap_err().contains("50ms"));
        assert!(gather_max("1").unwrap_err().contains("50ms"));
        assert_eq!(defer_accept("1"), Ok(DEFERRAL));
        assert_eq!(defer_accept("2m"), Ok(LONGEST_DEFERRAL));
        assert!(defer_accept("999ms").unwrap_err().contains("1s at least"));
        assert!(defer_accept("3m").unwrap_err().contains("two minutes"));
    }

    #[test]
    fn what_has_nothing_to_act_on_is_said() {
        let key = |app: &AppConfig, given: &str| {
            let misfit = app.speed_misfits(Spelling::Options, |key| key == given);
            misfit.map(|misfit| misfit.key)
        };
        let mut app = AppConfig::new(vec!["server".into()]);
        app.speed.defer_accept = Some(DEFERRAL);
        assert_eq!(key(&app, "gather-max"), None);
        app.listen = vec!["unix:/a".parse().unwrap(), "80".parse().unwrap()];
        assert_eq!(key(&app, ""), None);
        app.listen.pop();
        assert_eq!(key(&app, ""), Some("defer-accept"));
        app.routing.balance = Balance::Kernel;
        assert_eq!(key(&app, "gather-max"), Some("gather-max"));
    }
}
