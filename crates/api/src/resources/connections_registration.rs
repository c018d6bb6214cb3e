//! The two dates of a connection's registration: shown as the switch keeps them, and the end set by a write.

use model::{Connection, KeptRegistration, RegistrationDirection, datetime};
use store::{Reader, Writer};

use crate::call::Call;
use crate::errors::ApiError;

const ENDS: &str = "connection-sip-registration-expires-datetime";

/// Puts in when the last registration succeeded and when it ends, in either direction. Where both are in force, the
/// end of the peer's is shown, for it is the one that can be written.
pub(super) async fn fill_in(call: &Call, connections: &mut [Connection]) -> Result<(), ApiError> {
    let keys: Vec<_> = connections.iter().map(Connection::key).collect();
    let kept = call
        .state
        .read(move |reader| {
            keys.iter()
                .map(|key| reader.registrations_of(key))
                .collect::<store::Result<Vec<_>>>()
        })
        .await?;
    for (connection, kept) in connections.iter_mut().zip(kept) {
        let text = |moment: Option<i64>| moment.map(datetime::format_utc).unwrap_or_default();
        connection.connection_sip_registration_datetime =
            text(kept.iter().map(|one| one.registered_ms).max());
        connection.connection_sip_registration_expires_datetime = text(end(&kept));
    }
    Ok(())
}

fn end(kept: &[KeptRegistration]) -> Option<i64> {
    [
        RegistrationDirection::Inbound,
        RegistrationDirection::Outbound,
    ]
    .into_iter()
    .find_map(|direction| {
        kept.iter()
            .find(|one| one.direction == direction)
            .and_then(|one| one.expires_ms)
    })
}

/// Ends the peer's registration, or moves its end, when the body says another moment than was shown: who reads a
/// record and writes it back means the rest of it.
pub(super) fn write(
    call: &Call,
    writer: &mut Writer<'_>,
    connection: &Connection,
) -> Result<(), ApiError> {
    let written = call.body.text(ENDS);
    let Some(unix_ms) = datetime::parse_utc(written) else {
        return Ok(());
    };
    let key = connection.key();
    let reader: &Reader<'_> = writer;
    let kept = reader.registrations_of(&key)?;
    if end(&kept).map(datetime::format_utc).as_deref() != Some(written) {
        writer.end_registration(&call.actor(), &key, unix_ms)?;
    }
    Ok(())
}
