//! What a credential may do, from nothing to everything.

use crate::words::words;

words! {
    /// A user scope. Compare with [`Scope::rank`]: several scopes share a level.
    pub enum Scope {
        /// Nothing at all.
        NoPortal = "No Portal",
        /// Provisioning objects only.
        Ndp = "NDP",
        /// Own agent actions.
        CallCenterAgent = "Call Center Agent",
        /// Oneself, with few settings.
        SimpleUser = "Simple User",
        /// Oneself.
        BasicUser = "Basic User",
        /// Oneself, with all settings.
        AdvancedUser = "Advanced User",
        /// Queues and agents of the domain.
        CallCenterSupervisor = "Call Center Supervisor",
        /// Users of one's own site.
        SiteManager = "Site Manager",
        /// One domain.
        OfficeManager = "Office Manager",
        /// All domains of one reseller.
        Reseller = "Reseller",
        /// Everything.
        SuperUser = "Super User",
    }
}

impl Scope {
    /// The level of the scope: a higher one may do all that a lower one may.
    pub fn rank(self) -> u8 {
        match self {
            Self::NoPortal | Self::Ndp => 0,
            Self::CallCenterAgent | Self::SimpleUser | Self::BasicUser | Self::AdvancedUser => 1,
            Self::CallCenterSupervisor => 2,
            Self::SiteManager => 3,
            Self::OfficeManager => 4,
            Self::Reseller => 5,
            Self::SuperUser => 6,
        }
    }

    /// Whether this scope stands above the other: only then may it hand the other out.
    pub fn outranks(self, other: Self) -> bool {
        self.rank() > other.rank()
    }

    /// First four characters of a key of this scope.
    pub fn key_prefix(self) -> &'static str {
        match self {
            Self::SuperUser => "nss_",
            Self::Reseller => "nsr_",
            Self::OfficeManager => "nsd_",
            _ => "nsu_",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::Words;

    #[test]
    fn levels_follow_the_declared_order() {
        let all: Vec<Scope> = Scope::WORDS
            .iter()
            .filter_map(|w| Scope::from_word(w))
            .collect();
        assert_eq!(all.len(), Scope::WORDS.len());
        assert!(all.is_sorted_by_key(|scope| scope.rank()));
        assert!(Scope::SuperUser.outranks(Scope::Reseller));
        assert!(!Scope::BasicUser.outranks(Scope::SimpleUser));
    }
}
