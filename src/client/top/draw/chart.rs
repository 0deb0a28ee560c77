//! Charts out of characters: one column a value, the newest at the right.

/// Blocks of one to eight eighths.
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// The same for terminals without.
const SIGNS: [char; 8] = ['_', '.', ':', '-', '=', '+', '*', '#'];

/// Lines from top to bottom, each `width` wide. Nothing at all is the thinnest block: there was nothing to see,
/// which is something else than an empty place, where nobody looked.
pub fn chart(values: &[f64], peak: f64, width: usize, rows: usize, blocks: bool) -> Vec<String> {
    let signs = if blocks { BLOCKS } else { SIGNS };
    let shown = &values[values.len().saturating_sub(width)..];
    let steps = (rows * signs.len()) as f64;
    let level = |value: f64| match value {
        value if value <= 0.0 || peak <= 0.0 => 1,
        value => ((value / peak * steps).round() as usize).clamp(2, rows * signs.len()),
    };
    let empty = width - shown.len();
    let row = |row: usize| {
        let below = (rows - 1 - row) * signs.len();
        let sign = |value: &f64| match level(*value).saturating_sub(below) {
            0 => ' ',
            part => signs[part.min(signs.len()) - 1],
        };
        let blank = std::iter::repeat_n(' ', empty);
        blank.chain(shown.iter().map(sign)).collect()
    };
    (0..rows).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_value_is_at_the_right_and_the_peak_is_full() {
        let values = [100.0, 0.0, 1.0, 4.0, 8.0];
        assert_eq!(chart(&values, 8.0, 4, 1, true), ["▁▂▄█"]);
        assert_eq!(chart(&values[1..], 8.0, 6, 1, true), ["  ▁▂▄█"]);
        assert_eq!(chart(&values[1..], 8.0, 4, 2, true), ["   █", "▁▂██"]);
        assert_eq!(chart(&values[1..], 8.0, 4, 1, false), ["_.-#"]);
        assert_eq!(chart(&[0.0, 0.0], 0.0, 3, 2, true), ["   ", " ▁▁"]);
        assert_eq!(chart(&[], 0.0, 2, 1, true), ["  "]);
    }
}
