//! The records that most tests give to a world: tenant `d1`, its trunks, one plan. And phones beside them.

use model::counters::ConnectionCounters;
use model::{Connection, DialPlan, DialRule, DialRuleApplication, RuleMatching};
use simulator::network::Weather;
use simulator::phone::{PhoneConfig, WhenCalled};
use simulator::world::{SWITCH, World, WorldConfig};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use switch::{DirectoryChange, DomainPart};

/// A world of one shard where nothing is lost, and every message kept.
pub(crate) fn fair_world(seed: u64, relays: usize) -> World {
    World::new(WorldConfig {
        seed,
        weather: Weather::FAIR,
        shards: 1,
        relays,
        rest_after: Duration::ZERO,
        keep_messages: true,
    })
}

/// A connection that is found by `sip*@name`.
pub(crate) fn trunk(domain: &str, name: &str, address: &str) -> Connection {
    Connection {
        domain: domain.into(),
        connection_orig_match_pattern: format!("sip*@{name}"),
        connection_address: address.into(),
        ..Connection::default()
    }
}

/// A rule of the tenant's plan: what is dialled so goes to the connection for this host.
pub(crate) fn rule(to: &str, host: &str) -> DialRule {
    DialRule {
        domain: "d1".into(),
        dial_rule_dial_plan: "d1".into(),
        matching: RuleMatching::to(to),
        dial_rule_application: DialRuleApplication::ToConnection,
        dial_rule_translation_destination_host: host.into(),
        ..DialRule::default()
    }
}

/// Puts the tenant into the world, or in place of what it was.
pub(crate) fn put_tenant(
    world: &mut World,
    connections: Vec<Connection>,
    rules: Vec<DialRule>,
    counters: impl FnMut(&Connection) -> Arc<ConnectionCounters>,
) {
    let plan = DialPlan::new("d1", "d1", "");
    let (part, problems) = DomainPart::build("d1", None, connections, vec![plan], rules, counters);
    assert!(problems.is_empty(), "{problems:?}");
    world.change(&DirectoryChange::Swap(Arc::new(part)));
}

/// Ann's phone at this address, with its media beside it.
pub(crate) fn phone(
    sip: SocketAddr,
    domain: &str,
    rtp_port: u16,
    when_called: WhenCalled,
) -> PhoneConfig {
    PhoneConfig {
        name: "Ann".into(),
        user: "1001".into(),
        domain: domain.into(),
        sip,
        rtp: SocketAddr::new(sip.ip(), rtp_port),
        peer: SWITCH,
        tone_hz: 0.0,
        credentials: None,
        when_called,
        // Of its own at each address.
        seed: sip
            .to_string()
            .bytes()
            .fold(0, |seed: u64, byte| seed.wrapping_mul(31) + u64::from(byte)),
    }
}

/// Runs until nothing happens any more, and sees to it that the one shard has nothing left.
#[track_caller]
pub(crate) fn run_to_rest(world: &mut World, until: Duration) {
    assert!(world.run(until), "comes to rest");
    let stats = world.stats()[0];
    let left = (
        stats.calls,
        stats.relays,
        stats.sessions,
        stats.transactions,
    );
    assert_eq!(left, (0, 0, 0, 0), "{stats:?}");
}
