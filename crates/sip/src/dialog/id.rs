//! Which session and which of its dialogs a request belongs to (RFC 3261 §12.2.2).

use crate::arena::{Arena, Key};
use crate::dialog::session::Session;
use crate::endpoint::Inherited;
use crate::message::Message;
use crate::token;

/// Finds the session of an in-dialog request by our tag in its To, and the index of the dialog by the
/// peer's tag in its From.
///
/// The tag is a token that names the slot; tag, Call-ID and the peer's tag are compared in full, so a
/// guess leads nowhere.
pub(crate) fn find(
    sessions: &Arena<Session>,
    inherited: &Inherited,
    owner: u16,
    request: &Message,
) -> Option<(Key, usize)> {
    let ours = request.to().tag()?;
    let (tag_owner, lead) = token::lead(ours)?;
    if tag_owner != owner {
        return None;
    }
    let (key, session) = match sessions.at(lead.index) {
        Some((key, session)) if *session.tag == *ours => (key, session),
        // The slot is another's now, for an earlier process made the tag.
        _ => {
            let key = inherited.session(ours)?;
            (key, sessions.get(key)?)
        }
    };
    if session.call_id != *request.call_id() {
        return None;
    }
    let theirs = request.from().tag().unwrap_or("");
    let dialog = session
        .dialogs
        .iter()
        .position(|dialog| *dialog.remote_tag == *theirs)?;
    Some((key, dialog))
}
