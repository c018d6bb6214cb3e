//! Request methods.

use std::fmt;

use super::ByteStr;

/// A request method. Method names are case-sensitive (RFC 3261 §7.1), so `invite` is `Other`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// Begins or changes a session (RFC 3261).
    Invite,
    /// Confirms the final response to an INVITE (RFC 3261).
    Ack,
    /// Ends a session (RFC 3261).
    Bye,
    /// Withdraws a pending INVITE (RFC 3261).
    Cancel,
    /// Asks for capabilities (RFC 3261).
    Options,
    /// Binds a contact to an address of record (RFC 3261).
    Register,
    /// Acknowledges a reliable provisional response (RFC 3262).
    Prack,
    /// Changes a session without an INVITE (RFC 3311).
    Update,
    /// Carries application data within a session (RFC 6086).
    Info,
    /// Asks the receiver to contact somebody (RFC 3515).
    Refer,
    /// Reports a state change to a subscriber (RFC 6665).
    Notify,
    /// Asks for state changes (RFC 6665).
    Subscribe,
    /// Carries an instant message (RFC 3428).
    Message,
    /// Publishes state (RFC 3903).
    Publish,
    /// Any other token.
    Other(ByteStr),
}

impl keep::Keep for Method {
    fn keep(&self, out: &mut keep::Writer) {
        out.text(self.as_str());
    }

    fn kept(input: &mut keep::Reader<'_>) -> Result<Self, keep::Damaged> {
        Self::parse(&ByteStr::kept(input)?).ok_or(keep::Damaged::Value("method"))
    }
}

impl Method {
    /// The method that `text` names; `None` when it is not a token.
    pub fn parse(text: &ByteStr) -> Option<Self> {
        Self::parse_in(text, text)
    }

    /// The same for a part of `whole`.
    pub(crate) fn parse_in(whole: &ByteStr, text: &str) -> Option<Self> {
        match Self::known(text) {
            Some(method) => Some(method),
            None => super::scan::token(text).then(|| Self::Other(whole.slice_of(text))),
        }
    }

    fn known(text: &str) -> Option<Self> {
        Some(match text {
            "INVITE" => Self::Invite,
            "ACK" => Self::Ack,
            "BYE" => Self::Bye,
            "CANCEL" => Self::Cancel,
            "OPTIONS" => Self::Options,
            "REGISTER" => Self::Register,
            "PRACK" => Self::Prack,
            "UPDATE" => Self::Update,
            "INFO" => Self::Info,
            "REFER" => Self::Refer,
            "NOTIFY" => Self::Notify,
            "SUBSCRIBE" => Self::Subscribe,
            "MESSAGE" => Self::Message,
            "PUBLISH" => Self::Publish,
            _ => return None,
        })
    }

    /// The name as it stands in a request line.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Invite => "INVITE",
            Self::Ack => "ACK",
            Self::Bye => "BYE",
            Self::Cancel => "CANCEL",
            Self::Options => "OPTIONS",
            Self::Register => "REGISTER",
            Self::Prack => "PRACK",
            Self::Update => "UPDATE",
            Self::Info => "INFO",
            Self::Refer => "REFER",
            Self::Notify => "NOTIFY",
            Self::Subscribe => "SUBSCRIBE",
            Self::Message => "MESSAGE",
            Self::Publish => "PUBLISH",
            Self::Other(name) => name,
        }
    }

    /// Whether the receiver stores or later calls the contacts of a request with this method.
    pub fn needs_contact(&self) -> bool {
        matches!(
            self,
            Self::Invite
                | Self::Register
                | Self::Subscribe
                | Self::Refer
                | Self::Update
                | Self::Notify
        )
    }

    /// Whether a 2xx to this method creates a dialog, so that Record-Route is copied into it.
    pub fn forms_dialog(&self) -> bool {
        matches!(
            self,
            Self::Invite | Self::Subscribe | Self::Refer | Self::Notify
        )
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_case_sensitive_tokens() {
        let parse = |text: &'static str| Method::parse(&ByteStr::literal(text));
        assert_eq!(parse("INVITE"), Some(Method::Invite));
        assert_eq!(parse("invite"), Some(Method::Other("invite".into())));
        assert_eq!(
            parse("!interesting-Method0123456789_*+`.%indeed'~")
                .unwrap()
                .as_str()
                .len(),
            43
        );
        assert_eq!(parse(""), None);
        assert_eq!(parse("IN VITE"), None);
        assert_eq!(parse("IN\u{e9}"), None);
    }
}
