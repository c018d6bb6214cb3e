//! Which session and which of its dialogs a request belongs to (RFC 3261 §12.2.2).

use crate::arena::Key;
use crate::dialog::sessions::Sessions;
use crate::endpoint::Inherited;
use crate::message::Message;
use crate::token;

/// Finds the session of an in-dialog request by our tag in its To, and the index of the dialog by the
/// peer's tag in its From.
///
/// The tag is a token that names the slot; tag, Call-ID and the peer's tag are compared in full, so a
/// guess leads nowhere.
pub(crate) fn find(
    sessions: &mut Sessions,
    inherited: &Inherited,
    owner: u16,
    request: &Message,
) -> Option<(Key, usize)> {
    let ours = request.to().tag()?;
    let (tag_owner, lead) = token::lead(ours)?;
    if tag_owner != owner {
        return None;
    }
    let call_id = request.call_id();
    let key = sessions.find(lead.index, ours, call_id).or_else(|| {
        // The slot is another's now, for an earlier process made the tag.
        let key = inherited.session(ours)?;
        sessions.is_called(key, ours, call_id).then_some(key)
    })?;
    let theirs = request.from().tag().unwrap_or("");
    let dialog = sessions
        .get_mut(key)?
        .dialogs
        .iter()
        .position(|dialog| *dialog.remote_tag == *theirs)?;
    Some((key, dialog))
}
