//! Closed sets of words: a Rust enum outside, one of a few words on the wire.
//!
//! One table per set feeds printing, parsing, serde and the list of allowed words in an error message.

/// A set of words of the contract.
pub trait Words: Sized + Copy + 'static {
    /// The words a client may write, in the order they are listed to people.
    const WORDS: &'static [&'static str];

    /// The word of this value, as it is stored and shown.
    fn as_str(self) -> &'static str;

    /// The value of a word, compared without case; `None` when the word is not in the set.
    ///
    /// Spellings of old clients that are accepted but never shown belong here too.
    fn from_word(word: &str) -> Option<Self>;
}

/// Declares an enum with its word table.
///
/// `Variant = "word" | "old spelling" | …`: the first word is the one shown, the others are accepted.
macro_rules! words {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident {
            $( $(#[$variant_meta:meta])* $variant:ident = $word:literal $(| $alias:literal)* , )+
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        $vis enum $name {
            $( $(#[$variant_meta])* $variant, )+
        }

        impl $crate::words::Words for $name {
            const WORDS: &'static [&'static str] = &[$($word),+];

            fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $word, )+ }
            }

            fn from_word(word: &str) -> Option<Self> {
                $(
                    if word.eq_ignore_ascii_case($word) $(|| word.eq_ignore_ascii_case($alias))* {
                        return Some(Self::$variant);
                    }
                )+
                None
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str($crate::words::Words::as_str(*self))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str($crate::words::Words::as_str(*self))
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::words::deserialize(deserializer)
            }
        }
    };
}
pub(crate) use words;

/// Reads a word, also where a client wrote a yes/no word as a boolean or 0/1.
pub(crate) fn deserialize<'de, D, W>(deserializer: D) -> Result<W, D::Error>
where
    D: serde::Deserializer<'de>,
    W: Words,
{
    use serde::de::Error as _;
    let word = crate::wire::text::deserialize(deserializer)?;
    let found = W::from_word(&word).or_else(|| match word.as_str() {
        "true" | "1" => W::from_word("yes"),
        "false" | "0" => W::from_word("no"),
        _ => None,
    });
    found.ok_or_else(|| D::Error::custom(format!("`{word}` is not one of {}", W::WORDS.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    words! {
        /// For these tests.
        enum Sample {
            /// Shown as `yes`.
            Yes = "yes" | "on",
            /// Shown as `no`.
            No = "no",
            /// Shown as `system-default`.
            System = "system-default",
        }
    }

    #[test]
    fn words_and_aliases() {
        assert_eq!(Sample::WORDS, ["yes", "no", "system-default"]);
        for word in Sample::WORDS {
            assert_eq!(Sample::from_word(word).map(Sample::as_str), Some(*word));
        }
        assert_eq!(Sample::from_word("ON"), Some(Sample::Yes));
        assert_eq!(Sample::from_word(""), None);
        assert_eq!(Sample::System.to_string(), "system-default");
    }

    #[test]
    fn json_forms() {
        let read = |json: &str| serde_json::from_str::<Sample>(json).ok();
        assert_eq!(read("\"No\""), Some(Sample::No));
        assert_eq!(read("true"), Some(Sample::Yes));
        assert_eq!(read("0"), Some(Sample::No));
        assert_eq!(read("2"), None);
        assert_eq!(read("[]"), None);
        assert_eq!(serde_json::to_string(&Sample::Yes).unwrap(), "\"yes\"");
    }
}
