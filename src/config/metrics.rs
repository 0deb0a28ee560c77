//! `--metrics`: where the state can be read over HTTP.
//!
//! A port alone is one of loopback, unlike `-l`: what is read there names commands and addresses, and it asks nobody
//! for a password.

use std::net::{Ipv4Addr, SocketAddr};

use super::{Listen, ListenAt};

/// Where metrics are served.
///
/// # Errors
/// A sentence that says what is wrong and how it is written.
pub fn metrics(words: &str) -> Result<ListenAt, String> {
    if let Some(port) = words.strip_prefix(':') {
        return Err(format!(
            "write {port} for this machine only, or 0.0.0.0{words} for all addresses, where nobody is asked for a password"
        ));
    }
    let listen: Listen = words.parse().map_err(|why: String| {
        why.replace(
            "port 0 cannot be shared, since every bind of it is another port; name one",
            "port 0 is another port each time: name one",
        )
    })?;
    match (listen.at, listen.app_port) {
        (_, Some(port)) => Err(format!(
            "metrics have no port of a server behind them: leave '={port}' out"
        )),
        (ListenAt::AnyAddress(port), None) => Ok(ListenAt::Tcp(SocketAddr::new(
            Ipv4Addr::LOCALHOST.into(),
            port,
        ))),
        (at, None) => Ok(at),
    }
}

/// What is wrong with metrics at an address where connections for the server are taken too.
pub fn metrics_misfit<'a>(
    at: &ListenAt,
    listen: impl IntoIterator<Item = &'a Listen>,
) -> Option<String> {
    let mut listen = listen.into_iter();
    let same = listen.find(|one| one.at.overlaps(at))?;
    Some(format!(
        "metrics at {at} and clients of the server at {} would need the same address: give metrics another port",
        same.at
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_of_this_machine() {
        let at = |words| metrics(words).map(|at| at.to_string());
        assert_eq!(at("9100").as_deref(), Ok("127.0.0.1:9100"));
        for given in [
            "0.0.0.0:9100",
            "[::1]:9100",
            "192.0.2.1:80",
            "unix:/run/m.sock",
        ] {
            assert_eq!(at(given).as_deref(), Ok(given));
        }
    }

    #[test]
    fn what_cannot_be_meant() {
        let table = [
            (":9100", "0.0.0.0:9100 for all addresses"),
            ("9100=80", "leave '=80' out"),
            ("unix:/m=80", "leave '=80' out"),
            ("0", "port 0 is another port each time"),
            ("localhost:9100", "names are not looked up"),
            ("", "written as"),
            ("unix:", "needs a path"),
        ];
        for (words, part) in table {
            let sentence = metrics(words).unwrap_err();
            assert!(sentence.contains(part), "{words:?} gave {sentence:?}");
        }
    }

    #[test]
    fn not_where_clients_of_the_server_connect() {
        let misfit = |at, listen: &str| {
            let listen: Listen = listen.parse().unwrap();
            metrics_misfit(&metrics(at).unwrap(), [&listen])
        };
        let sentence = misfit("9100", "9100=80").unwrap();
        assert!(sentence.contains("metrics at 127.0.0.1:9100"), "{sentence}");
        assert!(misfit("9100", "192.0.2.1:9100").is_none());
        assert!(misfit("unix:/a", "unix:/a").is_some());
    }
}
