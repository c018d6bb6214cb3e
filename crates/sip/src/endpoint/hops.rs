//! Where a request goes: look-ups (RFC 3263), and the interface that reaches each hop.

use std::collections::VecDeque;
use std::time::Instant;

use crate::arena::Key;
use crate::endpoint::{Endpoint, Flow, Interface, Outcome, Output, Transport};
use crate::resolve::{Hop, LookupError, Question, Record, Step};
use crate::transaction::timers::Due;

impl Endpoint {
    pub(super) fn on_resolution(&mut self, now: Instant, id: Key, step: Step) {
        match step {
            Step::Lookup(question) => {
                let Some(exchange) = self.exchanges.get_mut(id) else {
                    return;
                };
                self.timers.cancel(&mut exchange.lookup_timer);
                exchange.lookup_timer = Some(
                    self.timers
                        .set(now + self.config.timers.lookup, Due::Lookup(id)),
                );
                let waiting = self.lookups.entry(question.clone()).or_default();
                if waiting.is_empty() {
                    self.out.push_back(Output::Lookup(question));
                }
                waiting.push(id);
            }
            Step::Done(hops) => {
                let Some(exchange) = self.exchanges.get(id) else {
                    return;
                };
                let prefer = exchange.interface;
                let flows: VecDeque<Flow> = hops
                    .iter()
                    .filter_map(|hop| self.flow_to(hop, prefer))
                    .collect();
                if let Some(exchange) = self.exchanges.get_mut(id) {
                    self.timers.cancel(&mut exchange.lookup_timer);
                    exchange.resolution = None;
                    exchange.flows = flows;
                }
                self.try_next_hop(now, id);
            }
            Step::Failed(_) => self.finish(now, id, Outcome::Resolve),
        }
    }

    /// A flow whose stream has closed is still a good address.
    pub(crate) fn live_flow(&self, mut flow: Flow) -> Flow {
        if flow
            .stream
            .is_some_and(|stream| !self.streams.contains(&stream))
        {
            flow.stream = None;
        }
        flow
    }

    /// The way to a hop: over the preferred interface if it fits, else over the first that does.
    fn flow_to(&self, hop: &Hop, prefer: Option<u8>) -> Option<Flow> {
        let interface = self.interface_for(hop.transport, hop.addr.is_ipv4(), prefer)?;
        Some(Flow {
            interface,
            remote: hop.addr,
            stream: None,
        })
    }

    /// The interface `prefer` if it fits, else the first that does; what prefers an alternate interface stays on
    /// alternate ones as long as one fits, and nothing else gets there.
    pub(crate) fn interface_for(
        &self,
        transport: Transport,
        ipv4: bool,
        prefer: Option<u8>,
    ) -> Option<u8> {
        let interfaces = &self.config.interfaces;
        let preferred = prefer.and_then(|index| interfaces.get(usize::from(index)));
        let fits = |it: &Interface| it.transport == transport && it.local.is_ipv4() == ipv4;
        if preferred.is_some_and(fits) {
            return prefer;
        }
        let first = |alternate: bool| {
            interfaces
                .iter()
                .position(|it| it.alternate == alternate && fits(it))
        };
        let alternate = preferred.is_some_and(|it| it.alternate);
        let own = if alternate { first(true) } else { None };
        own.or_else(|| first(false)).map(|index| index as u8)
    }

    pub(crate) fn handle_answer(
        &mut self,
        now: Instant,
        question: Question,
        result: Result<Vec<Record>, LookupError>,
    ) {
        for id in self.lookups.remove(&question).unwrap_or_default() {
            let Some(exchange) = self.exchanges.get_mut(id) else {
                continue;
            };
            let Some(resolution) = &mut exchange.resolution else {
                continue;
            };
            let step = resolution.answer(&question, result.clone());
            self.on_resolution(now, id, step);
        }
    }

    pub(crate) fn on_lookup_timeout(&mut self, now: Instant, id: Key) {
        self.forget_lookups(id);
        self.finish(now, id, Outcome::Resolve);
    }

    pub(super) fn forget_lookups(&mut self, id: Key) {
        self.lookups.retain(|_, waiting| {
            waiting.retain(|other| *other != id);
            !waiting.is_empty()
        });
    }
}
