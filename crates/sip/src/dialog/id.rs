//! Which session and which of its dialogs a request belongs to (RFC 3261 §12.2.2).

use crate::arena::{Arena, Key};
use crate::dialog::session::Session;
use crate::message::Message;
use crate::token;

/// Finds the session of an in-dialog request by our tag in its To, and the index of the dialog by the
/// peer's tag in its From.
///
/// The tag is a token that names the slot; tag, Call-ID and the peer's tag are compared in full, so a
/// guess leads nowhere.
pub(crate) fn find(
    sessions: &Arena<Session>,
    owner: u16,
    request: &Message,
) -> Option<(Key, usize)> {
    let ours = request.to().tag()?;
    let (tag_owner, lead) = token::lead(ours)?;
    if tag_owner != owner {
        return None;
    }
    let (key, session) = sessions.at(lead.index)?;
    if *session.tag != *ours || session.call_id != *request.call_id() {
        return None;
    }
    let theirs = request.from().tag().unwrap_or("");
    let dialog = session
        .dialogs
        .iter()
        .position(|dialog| *dialog.remote_tag == *theirs)?;
    Some((key, dialog))
}
