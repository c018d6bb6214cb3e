//! URIs out of the parts that rules and connections write.

use super::Refusal;
use sip::message::{ByteStr, Uri};

/// The contract writes the empty default of some fields as two quotes.
pub(crate) fn unquoted(template: &str) -> &str {
    if template == "''" { "" } else { template }
}

pub(crate) fn host_and_port(host: &str, port: Option<u16>) -> String {
    match port {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

pub(crate) fn split_port(host: &str) -> (&str, Option<u16>) {
    match host.rsplit_once(':') {
        Some((name, port)) if name.ends_with(']') || !name.contains(':') => match port.parse() {
            Ok(port) => (name, Some(port)),
            Err(_) => (host, None),
        },
        _ => (host, None),
    }
}

pub(super) fn uri(user: &str, host: &str) -> Result<Uri, Refusal> {
    let (name, port) = split_port(host);
    let user = (!user.is_empty()).then_some(user);
    if name.is_empty() {
        return Err(Refusal::new(
            404,
            format!("translation gives no usable address: {user:?} at {host:?}"),
        ));
    }
    Ok(Uri::build("sip", user, name, port))
}

/// A Contact with another user: host, port and parameters stay.
pub(super) fn with_user(contact: &Uri, user: &str) -> Uri {
    let bare = Uri::build(
        contact.scheme(),
        Some(user).filter(|user| !user.is_empty()),
        contact.host(),
        contact.port(),
    );
    let whole = format!("{}{}", bare.as_str(), contact.params());
    Uri::parse(&ByteStr::from(whole)).unwrap_or(bare)
}
