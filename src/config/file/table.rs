//! One table of the file, read key by key. Which keys it has is known by what it is asked for: what is left
//! in the end is refused.

use std::borrow::Cow;
use std::cell::RefCell;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::finding::Marks;
use super::nearest::nearest;

/// A value with its place.
pub type Value<'a> = &'a Spanned<DeValue<'a>>;

/// A table that is being read.
#[derive(Debug)]
pub struct Table<'a> {
    entries: &'a DeTable<'a>,
    /// Where it begins.
    pub start: usize,
    asked: RefCell<Vec<&'static str>>,
    marks: &'a RefCell<Marks>,
}

impl<'a> Table<'a> {
    /// A table of these entries, which begins at `start`.
    pub fn new(entries: &'a DeTable<'a>, start: usize, marks: &'a RefCell<Marks>) -> Self {
        Self {
            entries,
            start,
            asked: RefCell::default(),
            marks,
        }
    }

    /// The value of a key that this table may have.
    pub fn get(&self, key: &'static str) -> Option<Value<'a>> {
        self.asked.borrow_mut().push(key);
        self.entries.get(key)
    }

    /// Where the value of `key` is; without it, where the table begins.
    pub fn place(&self, key: &str) -> usize {
        let value = self.entries.get(key);
        value.map_or(self.start, |value| value.span().start)
    }

    /// Where the key itself is; without it, where the table begins.
    pub fn key_place(&self, key: &str) -> usize {
        let entry = self.entries.get_key_value(key);
        entry.map_or(self.start, |(key, _)| key.span().start)
    }

    /// Something is wrong there.
    pub fn refuse(&self, offset: usize, sentence: impl Into<String>) {
        self.marks.borrow_mut().add(offset, sentence);
    }

    /// The same, of what may be otherwise when the file is read again.
    pub fn refuse_for_now(&self, offset: usize, sentence: impl Into<String>) {
        self.marks.borrow_mut().add_for_now(offset, sentence);
    }

    /// How many things are wrong so far, here and elsewhere.
    pub fn refused(&self) -> usize {
        self.marks.borrow().count()
    }

    /// Whether the file has this key.
    pub fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// A value that is one word: a string or a number.
    pub fn word<T>(
        &self,
        key: &'static str,
        takes: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.get(key)?;
        self.read(key, value, takes, read)
    }

    /// The same, of a value that was found already.
    pub fn read<T>(
        &self,
        key: &str,
        value: Value<'_>,
        takes: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let Some(words) = words(value.get_ref()) else {
            self.refuse_kind(key, value, takes);
            return None;
        };
        match read(&words) {
            Ok(read) => Some(read),
            Err(sentence) => {
                let shown = shown(value.get_ref());
                self.refuse(
                    value.span().start,
                    format!("'{key}' cannot be {shown}: {sentence}"),
                );
                None
            }
        }
    }

    /// A value that is a string, and not empty.
    pub fn text(&self, key: &'static str, takes: &str) -> Option<&'a str> {
        let value = self.get(key)?;
        let DeValue::String(text) = value.get_ref() else {
            self.refuse_kind(key, value, takes);
            return None;
        };
        if text.is_empty() || text.contains('\0') {
            let what = if text.is_empty() {
                "empty"
            } else {
                "a string with a zero byte"
            };
            self.refuse(
                value.span().start,
                format!("'{key}' cannot be {what}: it takes {takes}"),
            );
            return None;
        }
        Some(text)
    }

    /// Whether this is so; without the key it is not.
    pub fn truth(&self, key: &'static str) -> bool {
        let Some(value) = self.get(key) else {
            return false;
        };
        let DeValue::Boolean(truth) = value.get_ref() else {
            self.refuse_kind(key, value, "true or false");
            return false;
        };
        *truth
    }

    /// One value, or an array of them.
    pub fn list(&self, key: &'static str) -> &'a [Spanned<DeValue<'a>>] {
        match self.get(key) {
            None => &[],
            Some(value) => match value.get_ref() {
                DeValue::Array(values) => values,
                _ => std::slice::from_ref(value),
            },
        }
    }

    /// A value of the wrong kind.
    pub fn refuse_kind(&self, key: &str, value: Value<'_>, takes: &str) {
        let kind = kind(value.get_ref());
        self.refuse(
            value.span().start,
            format!("'{key}' cannot be {kind}: it takes {takes}"),
        );
    }

    /// The keys that it was asked for.
    pub fn asked(&self) -> Vec<&'static str> {
        self.asked.borrow().clone()
    }

    /// The keys that it was never asked for are refused; `elsewhere` says of those that have their place
    /// in another table where that is, and `all` how to learn which there are.
    pub fn finish(&self, elsewhere: impl Fn(&str) -> Option<&'static str>, all: &str) {
        let asked = self.asked();
        for (key, _) in self.entries.iter() {
            let name = key.get_ref().as_ref();
            if asked.contains(&name) {
                continue;
            }
            let sentence = match (elsewhere(name), nearest(name, &asked)) {
                (Some(place), _) => format!("'{name}' has no place here; it goes {place}"),
                (None, Some(near)) => format!(
                    "there is no key '{}'; did you mean '{near}'?",
                    shortened(name)
                ),
                (None, None) => format!("there is no key '{}'; {all}", shortened(name)),
            };
            self.refuse(key.span().start, sentence);
        }
    }
}

/// A value as it would be written on a command line, if it is one word.
pub fn words<'v>(value: &'v DeValue<'_>) -> Option<Cow<'v, str>> {
    match value {
        DeValue::String(text) => Some(Cow::Borrowed(text)),
        DeValue::Integer(number) => Some(
            match i128::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Cow::Owned(number.to_string()),
                Err(_) => Cow::Owned(number.to_string()),
            },
        ),
        DeValue::Float(number) => Some(Cow::Borrowed(number.as_str())),
        _ => None,
    }
}

/// The kind of a value, with its article.
pub fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(true) => "true",
        DeValue::Boolean(false) => "false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// A value as the file has it.
fn shown(value: &DeValue<'_>) -> String {
    match (value, words(value)) {
        (DeValue::String(text), _) => format!("\"{}\"", shortened(text)),
        (_, Some(words)) => shortened(&words),
        (other, None) => kind(other).to_owned(),
    }
}

/// Text from the file that is fit for a line: without control characters, and no longer than it must be.
fn shortened(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut short: String = text
        .chars()
        .take(LONGEST)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        short.push_str("...");
    }
    short
}
