//! One side of a call as the relay sees it.

use super::policy::Policy;
use crate::core::Core;
use crate::directory::Connection;
use crate::plan::pick_interface;
use crate::routing::next_hop;
use ::media::sdp::anchor::OriginState;
use sip::endpoint::Flow;
use sip::transport::Transport;
use std::net::{IpAddr, Ipv4Addr};

/// One side as the relay sees it.
#[derive(Debug)]
pub(super) struct Face {
    /// Local address to bind.
    pub(super) bind: IpAddr,
    /// Address in the descriptions we give to this side.
    pub(super) advertise: IpAddr,
    pub(super) origin: OriginState,
    pub(super) policy: Policy,
    /// Where this side's signalling comes from, against which a private media address is weighed.
    pub(super) signalling: Option<IpAddr>,
}

keep::keep!(struct Face { bind, advertise, origin, policy, signalling });

impl Face {
    /// Whether relays opened for one side serve the other as well.
    pub(super) fn serves_like(&self, other: &Self) -> bool {
        (self.bind, self.advertise, self.policy) == (other.bind, other.advertise, other.policy)
    }

    pub(super) fn new(
        core: &mut Core,
        interface: u8,
        signalling: Option<IpAddr>,
        policy: Policy,
    ) -> Self {
        let interface = core.config.sip.interfaces.get(usize::from(interface));
        let bind = interface.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |interface| {
            interface.local.ip()
        });
        let advertised = interface.and_then(|interface| {
            let host: &str = &interface.advertise;
            host.trim_start_matches('[')
                .trim_end_matches(']')
                .parse::<IpAddr>()
                .ok()
        });
        let advertise = advertised
            .filter(|ip| ip.is_ipv6() == bind.is_ipv6())
            .unwrap_or(bind);
        // RFC 8866 §5.2 wants a number that no other session of ours has.
        let session_id = core.random.next_u64() >> 2;
        Self {
            bind,
            advertise,
            origin: OriginState::new(session_id, advertise),
            policy,
            signalling,
        }
    }
}

/// The interface whose address a caller's media uses: the one it called, or an alternate one of the same family.
pub(super) fn media_interface(core: &Core, source: &Connection, flow: Flow) -> u8 {
    if !next_hop::alternate(source) {
        return flow.interface;
    }
    let interfaces = &core.config.sip.interfaces;
    let came_by = interfaces.get(usize::from(flow.interface));
    let better = came_by
        .filter(|interface| !interface.alternate)
        .and_then(|_| pick_interface(interfaces, Transport::Udp, flow.remote.is_ipv6(), true));
    better.unwrap_or(flow.interface)
}
