//! One party of a call on its way through the rules.

use model::pattern::Subject;
use sip::message::Uri;

/// One party on its way through the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Party {
    pub(super) name: String,
    pub(super) scheme: String,
    pub(super) user: String,
    pub(super) host: String,
    pub(super) port: Option<u16>,
}

impl Party {
    pub(super) fn of(uri: &Uri, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            scheme: uri.scheme().to_owned(),
            user: uri.user().unwrap_or("").to_owned(),
            host: uri.host().to_ascii_lowercase(),
            port: uri.port(),
        }
    }

    pub(super) fn subject(&self) -> Subject {
        Subject::new(&self.scheme, Some(&self.user), &self.host, self.port)
    }

    pub(super) fn show(&self) -> String {
        let scheme = if self.scheme.is_empty() { "" } else { ":" };
        format!("{}{scheme}{}@{}", self.scheme, self.user, self.host)
    }

    pub(super) fn drop_plus(&mut self) {
        if let Some(number) = self.user.strip_prefix('+')
            && !number.is_empty()
            && number.bytes().all(|b| b.is_ascii_digit())
        {
            self.user = number.to_owned();
        }
    }
}
