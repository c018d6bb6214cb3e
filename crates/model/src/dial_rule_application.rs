//! Who delivers a call that a dial rule took.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

macro_rules! applications {
    ( $( $(#[$meta:meta])* $variant:ident = $word:literal $(| $alias:literal)* , )+ ) => {
        /// The application of a dial rule: one of the contract's words, a chain to another plan, or
        /// text that is kept although nothing here acts on it.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
        pub enum DialRuleApplication {
            $( $(#[$meta])* $variant, )+
            /// Go on in the plan of this name, with what this rule wrote. On the wire `<Name>`.
            Chain(String),
            /// A word without a meaning here; a call that lands on it is refused.
            Other(String),
        }

        impl DialRuleApplication {
            /// The contract's words.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// The word of a fixed application.
            fn word(&self) -> Option<&'static str> {
                match self {
                    $( Self::$variant => Some($word), )+
                    Self::Chain(_) | Self::Other(_) => None,
                }
            }

            /// Reads a word, an old responder name or `<Plan>`. Nothing is refused.
            pub fn parse(text: &str) -> Self {
                $(
                    if text.eq_ignore_ascii_case($word) $(|| text.eq_ignore_ascii_case($alias))* {
                        return Self::$variant;
                    }
                )+
                match text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')) {
                    Some(plan) if !plan.is_empty() => Self::Chain(plan.to_owned()),
                    _ => Self::Other(text.to_owned()),
                }
            }
        }
    };
}

applications! {
    /// A number nobody uses yet.
    AvailableNumber = "available-number" | "AvailableDID",
    /// A mailbox, without the system's phrase.
    ToVoicemailResidential = "to-voicemail-residential" | "Residential VMail",
    /// A call queue.
    ToCallqueue = "to-callqueue" | "sip:start@call-queuing",
    /// A call queue, after saying how many wait.
    ToCallqueueAnnounceCountCallersAhead = "to-callqueue-announce-count-callers-ahead",
    /// A call queue, after saying how long it may take.
    ToCallqueueAnnounceExpectedWaitTime = "to-callqueue-announce-expected-wait-time",
    /// A connection.
    ToConnection = "to-connection" | "sip:start@to-connection",
    /// A connection, else a user; no second route.
    ToConnectionOrUserNoFailover = "to-connection-or-user-no-failover",
    /// One device, past the answer rules.
    ToSingleDevice = "to-single-device" | "sip:start@to-owned-device",
    /// A user.
    #[default]
    ToUser = "to-user" | "sip:start@to-user",
    /// A user, without answering before the user does.
    ToUserResidential = "to-user-residential" | "sip:start@to-user-resi",
    /// A mailbox.
    ToVoicemail = "to-voicemail",
    /// A user, after the caller was checked.
    SpamScreening = "spam-screening",
    /// A connection, with the caller hidden.
    ToConnectionBlockCallerId = "to-connection-block-caller-id",
    /// A connection, ringing without limit.
    ToConnectionNoTimeout = "to-connection-no-timeout" | "sip:no-rna@to-connection",
    /// A connection, with a header; the rule's source number is forced.
    ToConnectionAddHeaderForceCallerId = "to-connection-add-header-force-caller-id",
    /// A connection, with a header, ringing without limit.
    ToConnectionAddHeaderNoTimeout = "to-connection-add-header-no-timeout",
    /// A connection, with a header; the called number's owner pays.
    ToConnectionAddHeader = "to-connection-add-header" | "To-Conn-For-DNIS-Add-Header",
    /// One device, with a header, then the owner's mailbox.
    ToSingleDeviceAddHeaderAllowVoicemail = "to-single-device-add-header-allow-voicemail",
    /// The same without the system's phrase.
    ToSingleDeviceAddHeaderAllowVoicemailResidential =
        "to-single-device-add-header-allow-voicemail-residential",
    /// One device, with a header.
    ToSingleDeviceAddHeader = "to-single-device-add-header",
    /// A user, with a header.
    ToUserAddHeader = "to-user-add-header",
    /// A user, with a header, without answering before the user does.
    ToUserResidentialAddHeader = "to-user-residential-add-header",
    /// A user, after telling the caller that the call is recorded.
    ToUserNotifyOfRecording = "to-user-notify-of-recording",
    /// Refuse, or hang up.
    Hangup = "hangup",
    /// Answer at once, play ringing, then a user.
    ToUserAnswerAndFakeRingback = "to-user-answer-and-fake-ringback",
    /// Flip a timeframe by hand.
    ToggleTimeframe = "toggle-timeframe",
}

impl DialRuleApplication {
    /// A chain to the plan of that name.
    pub fn chain(plan: impl Into<String>) -> Self {
        Self::Chain(plan.into())
    }

    /// Whether the parameter is a header line.
    pub fn adds_header(&self) -> bool {
        self.word().is_some_and(|word| word.contains("add-header"))
    }
}

impl fmt::Display for DialRuleApplication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chain(plan) => write!(f, "<{plan}>"),
            Self::Other(text) => f.write_str(text),
            fixed => f.write_str(fixed.word().unwrap_or_default()),
        }
    }
}

impl Serialize for DialRuleApplication {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DialRuleApplication {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::wire::text::deserialize(deserializer).map(|text| Self::parse(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_comes_back() {
        assert_eq!(DialRuleApplication::WORDS.len(), 26);
        for word in DialRuleApplication::WORDS {
            let application = DialRuleApplication::parse(word);
            assert!(
                !matches!(application, DialRuleApplication::Other(_)),
                "{word}"
            );
            assert_eq!(application.to_string(), *word);
        }
    }

    #[test]
    fn old_names_chains_and_unknown_text() {
        let check = |text: &str, shown: &str| {
            assert_eq!(DialRuleApplication::parse(text).to_string(), shown);
        };
        check("sip:start@call-queuing", "to-callqueue");
        check("AvailableDID", "available-number");
        check("<Cloud PBX Features>", "<Cloud PBX Features>");
        check("sip:0@Web-Main", "sip:0@Web-Main");
        check("<>", "<>");
        assert_eq!(
            DialRuleApplication::parse("<DID Table>"),
            DialRuleApplication::chain("DID Table")
        );
        assert!(DialRuleApplication::ToUserAddHeader.adds_header());
        assert!(!DialRuleApplication::ToUser.adds_header());
    }
}
