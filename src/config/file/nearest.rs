//! "Did you mean": the word that a slip of the pen came from.

/// The candidate that `word` is likeliest meant to be, if any is near.
pub fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    // Whoever writes so much else meant something else, and it would cost time.
    const LONGEST: usize = 40;
    if word.len() > LONGEST {
        return None;
    }
    let word = word.to_lowercase().replace('_', "-");
    let most = (word.chars().count() / 3).max(1);
    candidates
        .iter()
        .map(|candidate| (distance(&word, candidate), *candidate))
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Letters to insert, leave out or exchange, and neighbours to swap (the optimal string alignment distance).
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut above: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for i in 0..one.len() {
        let mut next = vec![i + 1];
        for j in 0..other.len() {
            let exchange = row[j] + usize::from(one[i] != other[j]);
            let mut least = exchange.min(row[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && one[i] == other[j - 1] && one[i - 1] == other[j] {
                least = least.min(above[j - 1] + 1);
            }
            next.push(least);
        }
        above = std::mem::replace(&mut row, next);
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        let table = [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
            ("grace", "grace", 0),
            ("grcae", "grace", 1),
            ("nmae", "name", 1),
            ("ca", "abc", 3),
        ];
        for (one, other, expected) in table {
            assert_eq!(distance(one, other), expected, "{one} {other}");
        }
    }

    #[test]
    fn slips_are_found_and_strangers_are_not() {
        let keys = ["workers", "balance", "max-memory", "max-age", "env", "cwd"];
        let table = [
            ("worker", Some("workers")),
            ("Balance", Some("balance")),
            ("max_memory", Some("max-memory")),
            ("maxage", Some("max-age")),
            ("enf", Some("env")),
            ("threads", None),
            ("", None),
            (&"x".repeat(1000), None),
        ];
        for (word, expected) in table {
            assert_eq!(nearest(word, &keys), expected, "{word}");
        }
    }
}
