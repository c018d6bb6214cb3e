//! The transports that carry SIP.

/// How a message travels.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Transport {
    /// Datagrams: may be lost, repeated, reordered.
    Udp,
    /// A byte stream.
    Tcp,
    /// A byte stream inside TLS.
    Tls,
}

keep::keep!(enum Transport { 0 = Udp, 1 = Tcp, 2 = Tls });

impl Transport {
    /// As it stands in a Via.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
        }
    }

    /// Whether the transport repeats what is lost by itself.
    pub fn is_reliable(self) -> bool {
        self != Self::Udp
    }

    /// The port when none is written (RFC 3261 §19.1.2).
    pub fn default_port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 5060,
            Self::Tls => 5061,
        }
    }
}
