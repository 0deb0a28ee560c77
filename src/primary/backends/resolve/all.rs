//! Many names at one time, for whoever waits until all are answered: a start, and `forkfront check`.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::resolve;
use crate::config::proxy::Backend;
use crate::policy::backends::item::Resolved;

/// So many are asked for at one time, if there may be so many threads.
const AT_ONCE: usize = 32;

/// Where all of these lead, in their order. Blocks for as long as name servers take.
pub fn resolve_all(backends: &[Backend]) -> Vec<Result<Resolved, String>> {
    let (next, answers) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        let mine = std::iter::repeat_with(|| next.fetch_add(1, Relaxed));
        for at in mine.take_while(|at| *at < backends.len()) {
            let answer = resolve(&backends[at]);
            let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
            answers.push((at, answer));
        }
    };
    thread::scope(|scope| {
        for _ in 1..backends.len().min(AT_ONCE) {
            // Where there are no more threads, those that there are do it, this one at least.
            if thread::Builder::new().spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        work();
    });
    let mut answers = answers.into_inner().unwrap_or_else(PoisonError::into_inner);
    answers.sort_by_key(|(at, _)| *at);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_answer_in_the_order_of_the_questions() {
        let all: Vec<Backend> = (1..=100)
            .map(|port| format!("127.0.0.1:{port}").parse().unwrap())
            .collect();
        let answers = resolve_all(&all);
        assert_eq!(answers.len(), all.len());
        for (answer, backend) in answers.into_iter().zip(&all) {
            let lead = answer.unwrap().leads.remove(0);
            assert_eq!(lead.target.to_string(), backend.host.to_string());
        }
        assert!(resolve_all(&[]).is_empty());
    }
}
