//! Whose a leg is: the user that call records are booked to.

use crate::wire::{PBX, Wire};
use model::{Connection, RuleMatching};

/// Whom the two legs of a call are booked to.
fn booked(change: impl FnOnce(&mut Connection, &mut Connection)) -> [String; 2] {
    let mut wire = Wire::new(change);
    wire.invite("2000", "");
    let invite = wire.at_carrier();
    wire.answer(&invite, 486, "", false);
    wire.wait(6_000);
    let cdr = wire.cdr();
    let term = cdr.term.as_ref().unwrap();
    [&cdr.orig, term].map(|leg| leg.billing_user.clone().unwrap_or_default())
}

#[test]
fn legs_are_booked_to_the_linked_user_of_their_connection() {
    assert_eq!(booked(|_, _| ()), ["domain@d1", "domain@d1"]);
    let named = booked(|pbx, carrier| {
        pbx.connection_linked_billing_user = "1000".into();
        carrier.connection_linked_billing_user = "1001@d1".into();
    });
    assert_eq!(named, ["1000@d1", "1001@d1"]);
}

#[test]
fn the_leg_of_a_shared_carrier_is_booked_to_the_tenant_whose_call_it_is() {
    let shared = |user: &'static str| {
        move |_: &mut Connection, carrier: &mut Connection| {
            carrier.domain = "*".into();
            carrier.connection_linked_billing_user = user.into();
        }
    };
    assert_eq!(booked(shared(""))[1], "domain@d1");
    assert_eq!(booked(shared("domain"))[1], "domain@d1");
    assert_eq!(booked(shared("domain@house"))[1], "domain@house");
}

#[test]
fn a_call_that_is_refused_is_booked_too() {
    let mut wire = Wire::with(
        |pbx, _| pbx.connection_linked_billing_user = "1000".into(),
        |_, rule| rule.matching = RuleMatching::to("sip:9*@*"),
    );
    wire.invite("2000", "");
    assert_eq!(wire.got(PBX, "404").len(), 1);
    let booked = wire.cdr().orig.billing_user.as_deref();
    assert_eq!(booked, Some("1000@d1"));
}
