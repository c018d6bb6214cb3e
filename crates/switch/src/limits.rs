//! Places taken on connections and in domains. A reservation gives its place back when it is dropped, so no way a call
//! can end may forget it.

use crate::directory::{Connection, DomainPart};
use model::counters::{CallDirection, CallLimits, DomainCounters, DomainLimits, LimitReached};
use model::datetime::Month;
use std::sync::Arc;

/// The places that one call holds.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// On the connection it came from.
    pub(crate) caller: Option<Reservation>,
    /// In the domain it belongs to; `None` where it is nobody's.
    pub(crate) domain: Option<DomainPlace>,
    /// On the connection that is called.
    pub(crate) target: Option<Reservation>,
}

/// One call's place on one connection.
#[derive(Debug)]
pub(crate) struct Reservation {
    connection: Arc<Connection>,
    direction: CallDirection,
}

impl Places {
    /// Takes the places of a call of an earlier process again, whatever the limits are now. Its caller may have left.
    pub(crate) fn resume(
        caller: Option<&Arc<Connection>>,
        domain: Option<(&DomainPart, &Connection)>,
        target: &Arc<Connection>,
        unix_ms: i64,
        emergency: bool,
    ) -> Self {
        let take = |connection, direction| {
            // Nothing limits a call for help, and so there is a place.
            Reservation::take(connection, direction, unix_ms, true).ok()
        };
        let mut domain = domain.and_then(|(part, source)| {
            let mut place = DomainPlace::take(part, source, true).ok()??;
            place.turn_to(target).ok()?;
            Some((part, place))
        });
        if let Some((part, place)) = domain.as_mut().filter(|_| !emergency) {
            // Another connection that it may turn to is limited as ever.
            place.limits = part
                .domain
                .as_ref()
                .map(|it| it.limits())
                .unwrap_or_default();
        }
        Self {
            caller: caller.and_then(|caller| take(caller, CallDirection::Orig)),
            domain: domain.map(|(_, place)| place),
            target: take(target, CallDirection::Term),
        }
    }
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

/// One call's place in its domain.
#[derive(Debug)]
pub(crate) struct DomainPlace {
    counters: Arc<DomainCounters>,
    limits: DomainLimits,
    /// The caller is outside, so the call is with the outside wherever it goes.
    from_outside: bool,
    /// It is counted as one with the outside now.
    offnet: bool,
}

impl DomainPlace {
    /// Takes a place for a call from this connection, or says which limit is full. An emergency call has a place even
    /// then. The part of `*` is no domain and limits nothing.
    pub(crate) fn take(
        part: &DomainPart,
        source: &Connection,
        emergency: bool,
    ) -> Result<Option<Self>, LimitReached> {
        let Some(domain) = &part.domain else {
            return Ok(None);
        };
        let limits = if emergency {
            DomainLimits::default()
        } else {
            domain.limits()
        };
        let from_outside = is_outside(source);
        part.counters.reserve(from_outside, limits)?;
        Ok(Some(Self {
            counters: Arc::clone(&part.counters),
            limits,
            from_outside,
            offnet: from_outside,
        }))
    }

    /// The call is about to go to this connection.
    pub(crate) fn turn_to(&mut self, target: &Connection) -> Result<(), LimitReached> {
        let offnet = self.from_outside || is_outside(target);
        match (self.offnet, offnet) {
            (false, true) => self.counters.reserve_offnet(self.limits)?,
            (true, false) => self.counters.release_offnet(),
            _ => {}
        }
        self.offnet = offnet;
        Ok(())
    }
}

impl Drop for DomainPlace {
    fn drop(&mut self) {
        self.counters.release(self.offnet);
    }
}

/// Whether calls with a connection's peer are calls with the outside: a carrier's are, a customer's PBX is part of its
/// domain.
fn is_outside(connection: &Connection) -> bool {
    connection.record.connection_is_carrier_trunk
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Domain;

    fn connection(name: &str, carrier: bool) -> Connection {
        let record = model::Connection {
            connection_orig_match_pattern: format!("sip*@{name}"),
            connection_is_carrier_trunk: carrier,
            ..model::Connection::default()
        };
        Connection::build(record, 0, Arc::default()).unwrap()
    }

    #[test]
    fn a_call_that_changes_sides_changes_what_it_counts_for() {
        let domain = Domain {
            domain: "d1".into(),
            limits_max_active_calls_total: 2,
            limits_max_active_calls_offnet: 1,
            ..Domain::default()
        };
        let (part, _) = DomainPart::build("d1", Some(domain), vec![], vec![], vec![], |_| {
            Arc::default()
        });
        let (pbx, carrier) = (connection("pbx", false), connection("carrier", true));
        let now = || (part.counters.now().total, part.counters.now().offnet);
        let take = || DomainPlace::take(&part, &pbx, false).unwrap().unwrap();
        let mut one = take();
        let mut other = take();
        assert_eq!(now(), (2, 0));
        one.turn_to(&carrier).unwrap();
        let full = other.turn_to(&carrier).unwrap_err();
        assert_eq!(full.field, "limits-max-active-calls-offnet");
        assert_eq!(now(), (2, 1));
        // The carrier failed, and the next on the list is a PBX.
        one.turn_to(&pbx).unwrap();
        other.turn_to(&carrier).unwrap();
        other.turn_to(&carrier).unwrap();
        assert_eq!(now(), (2, 1));
        drop(one);
        drop(other);
        assert_eq!(now(), (0, 0));
        // A caller outside makes every call one with the outside.
        let mut inwards = DomainPlace::take(&part, &carrier, false).unwrap().unwrap();
        inwards.turn_to(&pbx).unwrap();
        assert_eq!(now(), (1, 1));
    }
}
