//! Bytes within a state that is text: each as the character of its number, so that what is text stays readable
//! and short.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// Any bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text: String = self.0.iter().copied().map(char::from).collect();
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("characters from U+0000 to U+00FF")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Bytes, E> {
                let bytes = text.chars().map(u8::try_from);
                let bytes = bytes.collect::<Result<_, _>>().map_err(E::custom)?;
                Ok(Bytes(bytes))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

impl From<&OsStr> for Bytes {
    fn from(word: &OsStr) -> Self {
        Self(word.as_bytes().to_vec())
    }
}

impl From<&Path> for Bytes {
    fn from(path: &Path) -> Self {
        path.as_os_str().into()
    }
}

impl From<Bytes> for OsString {
    fn from(bytes: Bytes) -> Self {
        Self::from_vec(bytes.0)
    }
}

impl From<Bytes> for PathBuf {
    fn from(bytes: Bytes) -> Self {
        OsString::from(bytes).into()
    }
}

/// A path, for `#[serde(with)]`.
pub mod path {
    use super::{Bytes, Deserialize, Deserializer, Path, PathBuf, Serialize, Serializer};

    /// As [`Bytes`].
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        Bytes::from(path).serialize(serializer)
    }

    /// As [`Bytes`].
    ///
    /// # Errors
    /// The deserializer's.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
        Bytes::deserialize(deserializer).map(PathBuf::from)
    }
}

/// A path that may be missing, for `#[serde(with)]`.
pub mod path_if_any {
    use super::{Bytes, Deserialize, Deserializer, PathBuf, Serialize, Serializer};

    /// As [`Bytes`].
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(
        path: &Option<PathBuf>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        path.as_deref().map(Bytes::from).serialize(serializer)
    }

    /// As [`Bytes`].
    ///
    /// # Errors
    /// The deserializer's.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<PathBuf>, D::Error> {
        let path = Option::<Bytes>::deserialize(deserializer)?;
        Ok(path.map(PathBuf::from))
    }
}

/// The words of a command, for `#[serde(with)]`.
pub mod words {
    use super::{Bytes, Deserialize, Deserializer, OsString, Serializer};

    /// As [`Bytes`].
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(words: &[OsString], serializer: S) -> Result<S::Ok, S::Error> {
        let words = words.iter().map(|word| Bytes::from(word.as_os_str()));
        serializer.collect_seq(words)
    }

    /// As [`Bytes`].
    ///
    /// # Errors
    /// The deserializer's.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<OsString>, D::Error> {
        let words = Vec::<Bytes>::deserialize(deserializer)?;
        Ok(words.into_iter().map(OsString::from).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back() {
        let bytes = Bytes((0..=255).collect());
        let text = serde_json::to_string(&bytes).unwrap();
        assert_eq!(serde_json::from_str::<Bytes>(&text).unwrap(), bytes);
        assert_eq!(
            serde_json::to_string(&Bytes(b"a line".into())).unwrap(),
            "\"a line\""
        );
        assert!(serde_json::from_str::<Bytes>("\"\\u0100\"").is_err());
    }

    #[test]
    fn names_that_are_no_text_come_back_as_well() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Named {
            #[serde(with = "path")]
            at: PathBuf,
            #[serde(with = "path_if_any", default)]
            there: Option<PathBuf>,
            #[serde(with = "words")]
            words: Vec<OsString>,
        }
        let odd = || OsString::from_vec(b"/a\xff b".to_vec());
        let named = Named {
            at: odd().into(),
            there: Some(odd().into()),
            words: vec![odd(), "plain".into()],
        };
        let text = serde_json::to_string(&named).unwrap();
        assert_eq!(serde_json::from_str::<Named>(&text).unwrap(), named);
        let named: Named = serde_json::from_str(r#"{"at":"/x","words":[]}"#).unwrap();
        assert_eq!(named.there, None);
    }
}
