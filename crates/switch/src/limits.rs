//! Places taken on connections. A reservation gives its place back when it is dropped, so no way a call can
//! end may forget it.

use crate::directory::Connection;
use model::counters::{CallDirection, CallLimits, LimitReached};
use model::datetime::Month;
use std::sync::Arc;

/// One call's place on one connection.
#[derive(Debug)]
pub(crate) struct Reservation {
    connection: Arc<Connection>,
    direction: CallDirection,
}

impl Reservation {
    /// Takes a place at this moment, or says which limit is full. An emergency call has a place even then.
    pub(crate) fn take(
        connection: &Arc<Connection>,
        direction: CallDirection,
        unix_ms: i64,
        emergency: bool,
    ) -> Result<Self, LimitReached> {
        let limits = if emergency {
            CallLimits::default()
        } else {
            connection.record.limits()
        };
        connection
            .counters
            .reserve(direction, limits, Month::of(unix_ms))?;
        Ok(Self {
            connection: Arc::clone(connection),
            direction,
        })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.connection.counters.release(self.direction);
    }
}
