//! The header line that a dial rule adds.

use crate::routing::translate::{Tokens, translate};

/// Header names that a dial rule must not set: routing and dialogs depend on them.
const RESERVED_HEADERS: [&str; 12] = [
    "via",
    "from",
    "to",
    "call-id",
    "cseq",
    "contact",
    "route",
    "record-route",
    "max-forwards",
    "content-type",
    "content-length",
    "content-encoding",
];

/// `Name: value` of a rule's parameter with its tokens replaced, unless the name is reserved.
pub(super) fn added_header(
    parameter: &str,
    tokens: &Tokens,
    called_user: &str,
) -> Option<(String, String)> {
    let (name, value) = parameter.split_once(':')?;
    let name = name.trim();
    let is_token = !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b));
    let reserved = RESERVED_HEADERS
        .iter()
        .any(|reserved| reserved.eq_ignore_ascii_case(name));
    let value = translate(value.trim(), called_user, tokens);
    (is_token && !reserved && !value.contains(['\r', '\n', '\0'])).then(|| (name.to_owned(), value))
}
