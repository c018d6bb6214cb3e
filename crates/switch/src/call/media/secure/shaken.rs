//! The handshake of one line of one side: who begins, and when a description asks for another one.

use ::media::dtls::Role;
use ::media::relay::{Protection, Terms};
use ::media::sdp::{Dtls, Setup};
use ::media::srtp::KeySource;

/// What was agreed on, if anything.
#[derive(Debug, Clone, Default)]
pub(super) struct Shaken {
    association: Option<Association>,
    /// How many there have been.
    count: u32,
    /// What the description that is being written says: who begins, and the name of the association.
    pub(super) described: Option<(Setup, Option<u128>)>,
}

#[derive(Debug, Clone)]
struct Association {
    terms: Terms,
    /// Its names: theirs, and ours for those who have one.
    theirs: Option<String>,
    ours: Option<u128>,
    multiplexed: bool,
}

impl Shaken {
    /// Whether a handshake was agreed on or described at any time.
    pub(super) fn has_begun(&self) -> bool {
        self.association.is_some() || self.count > 0 || self.described.is_some()
    }

    /// A description of the far end that we take up. The association stays when the description changes neither the
    /// fingerprints nor the roles nor its name (RFC 8842 §4); otherwise there is a new one.
    pub(super) fn agree(&mut self, source: &mut KeySource, theirs: &Dtls, multiplexed: bool) {
        let role = self.role(theirs.setup);
        if let Some(association) = &mut self.association {
            let same_name = match (&association.theirs, &theirs.tls_id) {
                (Some(before), Some(now)) => before == now,
                _ => true,
            };
            let same = association.terms.role == role
                && association.terms.fingerprints == theirs.fingerprints;
            if same && same_name {
                association.multiplexed = multiplexed;
                return;
            }
        }
        self.count += 1;
        self.association = Some(Association {
            terms: Terms {
                role,
                fingerprints: theirs.fingerprints.clone(),
                association: self.count,
            },
            theirs: theirs.tls_id.clone(),
            ours: theirs
                .tls_id
                .as_ref()
                .map(|_| u128::from_be_bytes(source.bytes())),
            multiplexed,
        });
    }

    /// Nothing is sealed by a handshake any more.
    pub(super) fn end(&mut self) {
        self.association = None;
    }

    /// The description that is being written says what was agreed on. An offer that keeps an association repeats the
    /// role it has, so that nobody changes it by mistake (RFC 8842 §5.5).
    pub(super) fn describe_again(&mut self) {
        let association = self.association.as_ref();
        self.described =
            association.map(|association| (Setup::of(association.terms.role), association.ours));
    }

    /// What the relay has to do.
    pub(super) fn protection(&self) -> Option<Protection> {
        let association = self.association.as_ref()?;
        Some(Protection::Dtls(Box::new(association.terms.clone())))
    }

    /// Whether reports share the port of the media.
    pub(super) fn multiplexed(&self) -> bool {
        let association = self.association.as_ref();
        association.is_some_and(|association| association.multiplexed)
    }

    /// Which end we are, by what the far end says it is.
    ///
    /// Where it leaves the choice to us, we wait. RFC 5763 §5 would rather have us begin, which saves a round trip; but
    /// telephones sit behind NATs, through which only they can begin, and who waits for the far end cannot begin before
    /// it has our answer, and with it our fingerprint.
    fn role(&self, theirs: Setup) -> Role {
        let present = self.association.as_ref().map(|present| present.terms.role);
        match theirs {
            Setup::Active => Role::Server,
            Setup::Passive => Role::Client,
            Setup::ActPass | Setup::HoldConn => present.unwrap_or(Role::Server),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::media::dtls::{Fingerprint, HashFunction};
    use ::media::srtp::KeySeed;

    fn dtls(setup: Setup, of: &str, tls_id: Option<&str>) -> Dtls {
        Dtls {
            fingerprints: vec![Fingerprint::of(HashFunction::Sha256, of.as_bytes())],
            setup,
            tls_id: tls_id.map(str::to_owned),
        }
    }

    /// What becomes of one description after another: our role and the number of the association.
    #[track_caller]
    fn check(descriptions: &[(Dtls, Role, u32)]) {
        let mut source = KeySource::new(&KeySeed([1; 32]));
        let mut shaken = Shaken::default();
        for (theirs, role, number) in descriptions {
            shaken.agree(&mut source, theirs, true);
            let Some(Protection::Dtls(terms)) = shaken.protection() else {
                panic!("no handshake for {theirs:?}");
            };
            let said = (terms.role, terms.association);
            assert_eq!(said, (*role, *number), "{theirs:?}");
        }
    }

    #[test]
    fn who_begins_is_the_far_end_unless_it_waits() {
        check(&[(dtls(Setup::ActPass, "a", None), Role::Server, 1)]);
        check(&[(dtls(Setup::Active, "a", None), Role::Server, 1)]);
        check(&[(dtls(Setup::Passive, "a", None), Role::Client, 1)]);
    }

    #[test]
    fn the_same_again_keeps_the_association() {
        check(&[
            (dtls(Setup::Passive, "a", Some("x")), Role::Client, 1),
            (dtls(Setup::Passive, "a", Some("x")), Role::Client, 1),
            (dtls(Setup::ActPass, "a", Some("x")), Role::Client, 1),
            (dtls(Setup::ActPass, "a", None), Role::Client, 1),
        ]);
    }

    #[test]
    fn another_certificate_role_or_name_is_another_association() {
        check(&[
            (dtls(Setup::ActPass, "a", Some("x")), Role::Server, 1),
            (dtls(Setup::ActPass, "b", Some("x")), Role::Server, 2),
            (dtls(Setup::Passive, "b", Some("x")), Role::Client, 3),
            (dtls(Setup::Passive, "b", Some("y")), Role::Client, 4),
        ]);
    }

    #[test]
    fn only_who_names_the_association_hears_a_name() {
        let mut source = KeySource::new(&KeySeed([1; 32]));
        let mut shaken = Shaken::default();
        shaken.agree(&mut source, &dtls(Setup::Active, "a", None), false);
        shaken.describe_again();
        assert_eq!(shaken.described, Some((Setup::Passive, None)));
        shaken.agree(&mut source, &dtls(Setup::Passive, "a", Some("x")), false);
        shaken.describe_again();
        assert!(matches!(shaken.described, Some((Setup::Active, Some(_)))));
    }
}
