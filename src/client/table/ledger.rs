//! What became of all connections, and what was lost of anything else.

use super::text::{line, wrapped};
use crate::config::Balance;
use crate::status::Status;

/// The law that no connection is lost, with the figures of now.
pub fn lines(out: &mut String, status: &Status) {
    line(out, "");
    let kernel: Vec<&str> = match status.apps.as_slice() {
        [] if status.balance == Balance::Kernel => vec![""],
        apps => {
            let kernel = apps.iter().filter(|app| app.balance == Balance::Kernel);
            kernel.map(|app| app.name.as_str()).collect()
        }
    };
    let counted = status.apps.len().max(1) - kernel.len();
    if counted > 0 {
        let terms = format!(
            "accepted {} = dealt {} + held {} + closed by policy {} + client gone {}",
            status.accepted, status.dealt, status.held, status.closed_by_policy, status.client_gone
        );
        wrapped(out, "", &terms);
    }
    if !kernel.is_empty() {
        let whose = match counted {
            0 => String::new(),
            _ => format!(" to {}", kernel.join(", ")),
        };
        let words = format!("the kernel deals{whose}: only what the workers took is counted");
        wrapped(out, "", &words);
    }
    let read_back: u64 = status.slots.iter().map(|slot| slot.read_back).sum();
    if read_back > 0 {
        line(
            out,
            &format!("read back from workers that did not take them: {read_back}"),
        );
    }
    let overflows = status.listeners.iter().map(|l| l.overflows).max();
    if let Some(overflows) = overflows.filter(|&overflows| overflows > 0) {
        line(
            out,
            &format!("turned away by the kernel, backlog full (whole host): {overflows}"),
        );
    }
    if status.lines_dropped > 0 {
        let dropped = status.lines_dropped;
        let words = format!("lines of output dropped, since nobody read them in time: {dropped}");
        wrapped(out, "", &words);
    }
}
