//! The page: one document with its style and its script in it, which shows `/status` live.
//!
//! Nothing is loaded from anywhere, and nothing but what is in the document may run: each answer has a word of its
//! own (a nonce), which the two elements bear and the policy names (Content Security Policy Level 3).

use std::rc::Rc;

use super::reply::Reply;

const PAGE: &str = include_str!("page.html");
/// Stands for the word in the document.
const NONCE: &str = "NONCE";

/// The page; `word` is not used twice.
pub fn page(word: u128) -> Reply {
    let word = format!("{word:032x}");
    let policy = format!(
        "Content-Security-Policy: default-src 'none'; style-src 'nonce-{word}'; script-src 'nonce-{word}'; \
         connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"
    );
    Reply {
        headers: policy,
        ..Reply::of(
            "text/html; charset=utf-8",
            Rc::new(PAGE.replace(NONCE, &word).into_bytes()),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_bears_the_word_may_run() {
        let page = page(7);
        let text = String::from_utf8(page.body.to_vec()).unwrap();
        let word = format!("nonce=\"{:032x}\"", 7);
        assert_eq!(text.matches(&word).count(), 2, "a style and a script");
        assert!(!text.contains(NONCE));
        assert_eq!(
            text.matches("<script").count() + text.matches("<style").count(),
            2
        );
        for outside in [
            "http://",
            "https://",
            "//cdn",
            " style=",
            " onclick=",
            "@import",
            "innerHTML",
        ] {
            assert!(
                !text
                    .replace("http://www.w3.org/2000/svg", "")
                    .contains(outside),
                "{outside}"
            );
        }
    }
}
