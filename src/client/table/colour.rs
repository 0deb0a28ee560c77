//! Colours over the finished text: what a slot, a backend or an old worker is doing, and the heads. So the text fits with and
//! without them, and nothing that a primary says can be an order to the terminal.

use super::backends::LABEL;

/// SGR (ECMA-48 8.3.117).
const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const OFF: &str = "\x1b[0m";

/// The text with colours.
pub fn paint(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 1024);
    let mut backends = false;
    for (number, line) in text.lines().enumerate() {
        let head = ["LISTENER ", "BACKEND ", "SLOT ", " OLD "];
        backends = line.starts_with("BACKEND ") || (backends && !line.is_empty());
        if number == 0 || head.iter().any(|head| line.starts_with(head)) {
            out.extend([BOLD, line, OFF]);
        } else if line.starts_with("under way: ") || line.starts_with("starting: ") {
            out.extend([YELLOW, line, OFF]);
        } else if let Some((before, state, after)) = match backends {
            true => state_of_backend(line),
            false => state_in(line),
        } {
            out.extend([before, colour_of(state), state, OFF, after]);
        } else {
            out.push_str(line);
        }
        out.push('\n');
    }
    out
}

/// The third word of a row that begins with a slot and a pid.
fn state_in(line: &str) -> Option<(&str, &str, &str)> {
    let mut words = line.split_ascii_whitespace();
    let is_number = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit());
    words.next().filter(|slot| is_number(slot))?;
    words.next().filter(|pid| *pid == "-" || is_number(pid))?;
    let state = words.next()?;
    let (before, rest) = line.split_once(state)?;
    Some((before, state, rest)).filter(|_| !colour_of(state).is_empty())
}

/// What stands behind the label of a backend.
fn state_of_backend(line: &str) -> Option<(&str, &str, &str)> {
    let (at, _) = line.char_indices().nth(LABEL + 1)?;
    let (before, rest) = line.split_at(at);
    let state = rest.split(' ').next()?;
    let after = &rest[state.len()..];
    Some((before, state, after)).filter(|_| !colour_of(state).is_empty())
}

fn colour_of(state: &str) -> &'static str {
    match state {
        "ready" | "up" => GREEN,
        "starting" | "waiting" | "draining" | "drained" | "paused" | "leaving" => YELLOW,
        "failed" | "killing" | "down" | "ejected" | "unresolved" => RED,
        "stopped" => DIM,
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_painted_and_nothing_else() {
        let text = "8080: node x\npid 1, 1 of 2 workers ready\n\nSLOT PID\n   0  123 ready  1s\n   1    - failed  -\n\
                    slot 1: 7 of 9 ready things\n";
        let painted = paint(text);
        let lines: Vec<&str> = painted.lines().collect();
        assert_eq!(lines[0], "\x1b[1m8080: node x\x1b[0m");
        assert_eq!(lines[1], "pid 1, 1 of 2 workers ready");
        assert_eq!(lines[4], "   0  123 \x1b[32mready\x1b[0m  1s");
        assert_eq!(lines[5], "   1    - \x1b[31mfailed\x1b[0m  -");
        assert_eq!(lines[6], "slot 1: 7 of 9 ready things");
        let row = format!("{:<LABEL$} up         1", "10.0.0.1:5432");
        let text = format!("x\nBACKEND STATE\n{row}\n\n{row}\n");
        let painted = paint(&text);
        let lines: Vec<&str> = painted.lines().collect();
        assert!(lines[2].contains("\x1b[32mup\x1b[0m  "), "{painted}");
        assert!(!lines[4].contains('\x1b'), "{painted}");
    }
}
