//! Amounts of memory as people write them: `512M`, `2G`, or a plain number of bytes.

/// Below this no program lives: a number without its unit is likelier than a wish.
const LEAST: u64 = 1 << 20;

/// Reads an amount of memory, in bytes; K, M, G and T are 1024 times each other.
///
/// # Errors
/// A sentence that says how it is written.
///
/// ```
/// assert_eq!(forkfront::config::size("512M"), Ok(512 * 1024 * 1024));
/// ```
pub fn size(words: &str) -> Result<u64, String> {
    let wrong = || "a size is written as 512M, 2G or a number of bytes".to_owned();
    let end = words
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(words.len());
    let (number, unit) = words.split_at(end);
    let shift = match unit {
        "" | "B" => 0,
        "K" | "k" | "KB" | "kB" | "KiB" => 10,
        "M" | "MB" | "MiB" => 20,
        "G" | "GB" | "GiB" => 30,
        "T" | "TB" | "TiB" => 40,
        _ => return Err(wrong()),
    };
    let whole = !number.contains('.');
    // Half a byte is nothing that anybody means.
    if number.is_empty() || (shift == 0 && !whole) {
        return Err(wrong());
    }
    let bytes = if whole {
        number
            .parse()
            .ok()
            .and_then(|n: u64| n.checked_mul(1 << shift))
    } else {
        let number: f64 = number.parse().map_err(|_| wrong())?;
        fraction(number, 1 << shift)
    };
    match bytes {
        Some(bytes) if bytes < LEAST => {
            Err("it must be 1M at least: a number without a unit is bytes".into())
        }
        Some(bytes) => Ok(bytes),
        None => Err("it is more than any machine has".into()),
    }
}

fn fraction(number: f64, unit: u64) -> Option<u64> {
    let bytes = number * unit as f64;
    (bytes < u64::MAX as f64).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        let table = [
            ("1048576", 1 << 20),
            ("1048576B", 1 << 20),
            ("1M", 1 << 20),
            ("1MB", 1 << 20),
            ("1MiB", 1 << 20),
            ("2048K", 2 << 20),
            ("2048k", 2 << 20),
            ("1.5G", 3 << 29),
            ("2G", 2 << 30),
            ("1T", 1 << 40),
        ];
        for (words, bytes) in table {
            assert_eq!(size(words), Ok(bytes), "{words}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for words in [
            "",
            "M",
            ".",
            "1..5G",
            "-1",
            "+5M",
            "5 M",
            "5m",
            "5X",
            "1e9",
            "5MM",
            "5iB",
            "1048576.5",
            "inf",
            "512MiB ",
        ] {
            assert!(
                size(words).unwrap_err().contains("written as"),
                "{words:?}: {:?}",
                size(words)
            );
        }
        for words in ["0", "512", "1023K", "0.5M"] {
            assert!(size(words).unwrap_err().contains("1M at least"), "{words}");
        }
        for words in [
            "99999999999999999999",
            "18446744073709551615T",
            "99999999999999999999.0T",
        ] {
            assert!(size(words).unwrap_err().contains("any machine"), "{words}");
        }
    }
}
