//! The figures of a proxy's bytes, full size: ignored by `cargo test`, run and printed by `scripts/figures`. Small
//! versions are in tests/proxy_bytes.rs.

mod common;

use std::time::Instant;

use common::*;

/// Sessions, each summed at both ends.
const SESSIONS: u64 = 10_000;
/// So many at a time.
const AT_A_TIME: u64 = 64;

#[test]
#[ignore = "a figure: about a minute"]
fn sums_of_ten_thousand_sessions() {
    for splice in ["auto", "on", "off"] {
        let site = Site::new();
        let sums = Sums::start(&site, 3);
        let (listen, to) = (site.bind(), sums.to());
        let words = [
            "proxy", "-n", "2", "-l", &listen, "--to", &to, "--splice", splice,
        ];
        let balancer = Balancer::start(&site, &words);
        let begun = Instant::now();
        let failed = sums.run(site.to(), SESSIONS, AT_A_TIME);
        let seconds = begun.elapsed().as_secs_f64();
        let status = balancer.until("no session is open", |status| {
            status.backends.iter().all(|one| one.open == 0)
        });
        let bytes: u64 = status
            .backends
            .iter()
            .map(|one| one.bytes_in + one.bytes_out)
            .sum();
        println!(
            "--splice {splice}: {SESSIONS} sessions, {AT_A_TIME} at a time, {:.1} MiB both ways in {seconds:.1} s, \
             SHA-256 at both ends: {} failed {failed:?}",
            bytes as f64 / f64::from(1 << 20),
            failed.values().sum::<u64>(),
        );
        assert!(failed.is_empty());
        balancer.finish();
    }
}
