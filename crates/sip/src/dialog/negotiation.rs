//! Whose turn it is in the exchange of offers and answers (RFC 3264, RFC 6337).

/// The state of offer and answer in one dialog. Only what is sent reliably counts: INVITE, 2xx, ACK,
/// reliable provisionals, PRACK and UPDATE.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Negotiation {
    /// Our INVITE or theirs had no offer, and none has been made since.
    Fresh,
    /// We have offered and wait for the answer.
    Ours,
    /// The peer has offered and waits for ours.
    Theirs,
    /// Nothing is open.
    Settled,
}

keep::keep!(enum Negotiation { 0 = Fresh, 1 = Ours, 2 = Theirs, 3 = Settled });

impl Negotiation {
    /// The state after an INVITE of ours.
    pub(crate) fn after_our_invite(with_offer: bool) -> Self {
        if with_offer { Self::Ours } else { Self::Fresh }
    }

    /// The state after an INVITE of the peer.
    pub(crate) fn after_their_invite(with_offer: bool) -> Self {
        if with_offer {
            Self::Theirs
        } else {
            Self::Fresh
        }
    }

    /// A description of ours goes out reliably.
    pub(crate) fn send(&mut self) {
        *self = match self {
            Self::Theirs => Self::Settled,
            Self::Fresh | Self::Settled | Self::Ours => Self::Ours,
        };
    }

    /// A description of the peer came reliably. True when it is an offer that we now have to answer.
    pub(crate) fn receive(&mut self) -> bool {
        match self {
            Self::Ours => {
                *self = Self::Settled;
                false
            }
            Self::Fresh | Self::Settled | Self::Theirs => {
                *self = Self::Theirs;
                true
            }
        }
    }

    /// Nothing is open: what was has been answered, refused or given up.
    pub(crate) fn settle(&mut self) {
        *self = Self::Settled;
    }

    pub(crate) fn is_settled(self) -> bool {
        self == Self::Settled
    }
}
