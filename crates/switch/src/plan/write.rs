//! The INVITE as a target wants it: its translations applied to what the rules left.

use super::targets::Target;
use super::uris::{host_and_port, unquoted, uri, with_user};
use super::{Candidate, Plan, Refusal, Routing};
use crate::routing::identity::Written;
use crate::routing::next_hop::{self, Way};
use crate::routing::permissions;
use crate::routing::translate::translate;
use crate::trail::Trail;
use model::datetime::format_utc;
use sip::message::NameAddr;

impl Routing<'_> {
    /// Writes the INVITE for each target. One that cannot be written is left out while there are others.
    pub(super) fn write_all(
        &self,
        targets: Vec<Target>,
        trail: &mut Trail,
    ) -> Result<Plan, Refusal> {
        let mut candidates = Vec::with_capacity(targets.len());
        let mut refusal = None;
        for target in targets {
            let label = target.connection.label();
            match self.write(target, trail) {
                Ok(candidate) => candidates.push(candidate),
                Err(why) => {
                    trail.step("candidate", Some(label), || {
                        format!("is left out: {}", why.text)
                    });
                    refusal.get_or_insert(why);
                }
            }
        }
        match refusal {
            Some(refusal) if candidates.is_empty() => Err(refusal),
            _ => Ok(Plan { candidates }),
        }
    }

    /// The INVITE as the target wants it: its translations applied to what the rules left.
    fn write(&self, target: Target, trail: &mut Trail) -> Result<Candidate, Refusal> {
        let Target {
            connection: target,
            called,
            by_route,
        } = target;
        let record = &target.record;
        let way = next_hop::find(self.directory, &target, self.context.interfaces)
            .map_err(|why| Refusal::new(503, why))?;
        if let Some(binding) = self.directory.binding(&target) {
            trail.step("registration", Some(target.label()), || {
                let what = if way.registered {
                    "used"
                } else {
                    "not used, for there is an address"
                };
                let until = format_utc(binding.expires_ms);
                format!(
                    "{} registered from {} until {until}: {what}",
                    binding.contact, binding.received
                )
            });
        }
        let Way {
            address,
            transport,
            interface,
            flow,
            contact,
            ..
        } = way;
        let tokens = self.tokens(Some(interface));
        let part =
            |template: &str, previous: &str| translate(unquoted(template), previous, &tokens);
        let or = |template: &str, previous: &str, fallback: &str| match unquoted(template) {
            "" => fallback.to_owned(),
            template => translate(template, previous, &tokens),
        };

        let own_host = match &contact {
            Some(contact) => host_and_port(contact.host(), contact.port()),
            None => host_and_port(&address.host, address.port),
        };
        let request_user = part(&record.connection_translation_request_user, &called.user);
        let request_host = or(
            &record.connection_translation_request_host,
            &called.host,
            &own_host,
        );
        let to_user = part(
            &record.connection_translation_destination_user,
            &called.user,
        );
        let to_host = or(
            &record.connection_translation_destination_host,
            &called.host,
            &request_host,
        );
        let request_uri = match &contact {
            Some(contact) if unquoted(&record.connection_translation_request_host).is_empty() => {
                // What the peer registered is called as a whole: it may know its lines by the Contact's user
                // or parameters alone. A translation of the user still counts.
                match unquoted(&record.connection_translation_request_user) {
                    "" => contact.clone(),
                    _ => with_user(contact, &request_user),
                }
            }
            _ => uri(&request_user, &request_host)?,
        };
        let to = NameAddr::new(None, uri(&to_user, &to_host)?);
        let Written {
            from,
            mut headers,
            hidden,
        } = self.write_caller(&target, &called.user, &tokens, trail)?;
        let trusted = record.connection_is_carrier_trunk;
        let forwarded = self.claims.forwarded().headers(trusted, &request_uri);
        if !forwarded.is_empty() {
            trail.step("forwarded", Some(target.label()), || {
                let lines = forwarded
                    .iter()
                    .map(|(name, value)| format!("{name}: {value}"));
                lines.collect::<Vec<_>>().join(", ")
            });
        }
        headers.extend(forwarded);
        if let Some((name, value)) = self.extra_header.clone() {
            // What a rule writes stands in place of what would be written anyway.
            headers.retain(|(other, _)| !other.eq_ignore_ascii_case(&name));
            headers.push((name, value));
        }
        trail.step("write", Some(target.label()), || {
            format!("INVITE {request_uri}, To {to}, From {from}")
        });
        Ok(Candidate {
            target,
            by_route,
            request_uri,
            to,
            from,
            headers,
            rules: self.caller_rules(),
            hidden,
            emergency: permissions::is_emergency(&self.called.user),
            next_hop: address,
            flow,
            transport,
            interface,
        })
    }
}
