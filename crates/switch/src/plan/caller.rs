//! The caller as a connection is told: when it is called, and when the caller changes within the call.

use super::party::Party;
use super::uris::{unquoted, uri};
use super::{PlanContext, Refusal, Routing};
use crate::directory::{Connection, Directory, SYSTEM};
use crate::routing::identity::{self, Caller, Claims, Outbound, Written};
use crate::routing::translate::{Tokens, translate};
use crate::trail::Trail;
use sip::message::NameAddr;
use std::sync::Arc;

/// What dial rules said of the caller, for changes within the call: those may not undo it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CallerRules {
    /// A rule chose the number or the identity header. It stays as the rule wrote it.
    pub chosen: bool,
    /// A rule hides the caller, whoever that is.
    pub blocked: bool,
}

keep::keep!(struct CallerRules { chosen, blocked });

/// Somebody else speaks on one side of a call that is up.
pub(crate) struct Renamed<'a> {
    /// The connection of that side.
    pub(crate) source: &'a Arc<Connection>,
    /// Who speaks there now.
    pub(crate) caller: &'a Caller,
    /// The connection of the other side, which is to be told.
    pub(crate) target: &'a Connection,
    /// The interface that leads there.
    pub(crate) interface: u8,
    /// The domain of the call.
    pub(crate) domain: &'a str,
    /// User part of whom the other side stands for.
    pub(crate) called: &'a str,
    /// A dial rule hides whoever speaks.
    pub(crate) blocked: bool,
}

/// What the other side is told, by the same translations, formats and rules of privacy as in an INVITE.
pub(crate) fn rename(
    directory: &Directory,
    renamed: Renamed<'_>,
    context: PlanContext<'_>,
    trail: &mut Trail,
) -> Result<Written, Refusal> {
    let caller = party(renamed.source, renamed.domain, renamed.caller);
    let mut called = caller.clone();
    renamed.called.clone_into(&mut called.user);
    let routing = Routing {
        directory,
        source: renamed.source,
        context,
        domain: renamed.domain.to_owned(),
        number: caller.user.clone(),
        caller,
        called,
        dial_rule: None,
        extra_header: None,
        private: renamed.caller.private,
        rules: CallerRules {
            chosen: false,
            blocked: renamed.blocked,
        },
        claims: Claims::default(),
        only_one: false,
    };
    let tokens = routing.tokens(Some(renamed.interface));
    routing.write_caller(renamed.target, renamed.called, &tokens, trail)
}

/// Whether a header says who somebody is, or whether that may be known.
pub(crate) fn is_of_identity(name: &str) -> bool {
    ["P-Asserted-Identity", "Remote-Party-ID", "Privacy"]
        .iter()
        .any(|identity| identity.eq_ignore_ascii_case(name))
}

/// The caller as dial rules see it.
pub(super) fn party(source: &Connection, domain: &str, caller: &Caller) -> Party {
    let mut party = Party::of(
        &caller.id.uri,
        caller.id.display.as_deref().unwrap_or_default(),
    );
    if source.record.connection_is_carrier_trunk {
        party.drop_plus();
    }
    if domain != SYSTEM {
        // Rules see the caller as a number at its own domain, whatever host the peer wrote.
        domain.clone_into(&mut party.host);
        party.port = None;
    }
    party
}

impl Routing<'_> {
    /// From and the identity headers for a target.
    pub(super) fn write_caller(
        &self,
        target: &Connection,
        called_user: &str,
        tokens: &Tokens,
        trail: &mut Trail,
    ) -> Result<Written, Refusal> {
        let record = &target.record;
        let caller = self.shown_caller(target, trail);
        let user = translate(
            unquoted(&record.connection_translation_source_user),
            &caller.user,
            tokens,
        );
        let host = match unquoted(&record.connection_translation_source_host) {
            "" => tokens.app_ip.clone(),
            template => translate(template, &caller.host, tokens),
        };
        let written = identity::outbound(Outbound {
            target: record,
            from: &NameAddr::new(Some(&caller.name), uri(&user, &host)?),
            number: &caller.user,
            private: self.private || self.rules.blocked,
            called: called_user,
            claims: &self.claims,
            tokens,
        });
        if written.hidden || !written.headers.is_empty() {
            trail.step("identity", Some(target.label()), || {
                let hidden = written.hidden.then(|| "the caller is hidden".to_owned());
                let lines = written
                    .headers
                    .iter()
                    .map(|(name, value)| format!("{name}: {value}"));
                hidden
                    .into_iter()
                    .chain(lines)
                    .collect::<Vec<_>>()
                    .join(", ")
            });
        }
        Ok(written)
    }

    /// The caller as a connection may see it, before that connection's translations.
    fn shown_caller(&self, target: &Connection, trail: &mut Trail) -> Party {
        let mut caller = self.caller.clone();
        if caller.user != self.number {
            // A rule chose the number, and whoever wrote the rule answers for it.
            return caller;
        }
        let (source, number) = (&self.source.record, &caller.user);
        let substitute =
            identity::substitute(self.directory, source, &target.record, number, &self.claims);
        if let Some((name, number)) = substitute {
            trail.step("caller ID", Some(self.source.label()), || {
                format!(
                    "{:?} is no number of {}: {number} stands for it",
                    caller.user, source.domain
                )
            });
            number.clone_into(&mut caller.user);
            if !name.is_empty() {
                name.clone_into(&mut caller.name);
            }
        }
        caller
    }

    /// What the rules have said of the caller.
    pub(super) fn caller_rules(&self) -> CallerRules {
        let header = self.extra_header.as_ref();
        CallerRules {
            chosen: self.caller.user != self.number
                || header.is_some_and(|(name, _)| is_of_identity(name)),
            blocked: self.rules.blocked,
        }
    }
}
