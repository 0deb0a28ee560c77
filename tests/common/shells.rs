//! Workers that are a line of the shell, which does something else than to serve, or something before it.

use std::path::Path;

use super::{Balancer, Site, server};

impl<'a> Balancer<'a> {
    /// Starts `n` workers of a line that sees `HTTP` as the node server, and waits for nothing.
    #[track_caller]
    pub fn shells(site: &'a Site, n: u16, flags: &[&str], line: &str) -> Self {
        let (n, line) = (n.to_string(), line.replace("HTTP", &server("http.js")));
        let mut words = vec!["run", "-n", &n];
        words.extend(flags);
        words.extend(["--", "sh", "-c", &line]);
        Self::spawn(site, &words)
    }
}

/// Such a line: until there is a file `mended`, slot 1 does `what` in place of the server.
pub fn slot_1_until(mended: &Path, what: &str) -> String {
    let mended = mended.display();
    format!("[ $FORKFRONT_SLOT = 1 ] && [ ! -e {mended} ] && {what}; exec node HTTP")
}
