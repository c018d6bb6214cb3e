//! Handshakes on the ports of a relay, on simulated time, with an implementation of DTLS that is not ours.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dimpl::crypto::{SrtpProfile, rust_crypto};
use dimpl::{Config, DtlsCertificate, Output};
use media::dtls::{DtlsError, Endpoint, Fingerprint, HANDSHAKE_MAX, HashFunction, Role};
use media::relay::{
    Command, Datagram, DropReason, Event, Exchange, Opening, Protection, RelayId, RelayTable, Seal,
    Side, SocketKey, Sockets, Terms, Traffic, Verdict,
};
use media::rtp;
use media::srtp::{Context, KeySeed, MasterKey, Suite};

const RELAY: RelayId = RelayId(7);
const PHONE: &str = "198.51.100.7:40000";
const PHONE_RTCP: &str = "198.51.100.7:40001";
const BEHIND_NAT: &str = "198.51.100.200:61000";
const STRANGER: &str = "203.0.113.66:9999";
const FAR: &str = "192.0.2.9:5000";
const FAR_RTCP: &str = "192.0.2.9:5001";
const A_RTP: SocketKey = SocketKey(0);
const A_RTCP: SocketKey = SocketKey(1);
const B_RTP: SocketKey = SocketKey(2);
const B_RTCP: SocketKey = SocketKey(3);

/// A far end: somebody else's DTLS, and SRTP with what it gives.
struct Phone {
    engine: dimpl::Dtls,
    certificate: DtlsCertificate,
    active: bool,
    seals: Option<Context>,
    opens: Option<Context>,
    suite: Option<Suite>,
    shown: Option<Vec<u8>>,
    due: Instant,
    failed: bool,
}

impl Phone {
    fn new(now: Instant, active: bool) -> Self {
        Self::with(now, active, certificate())
    }

    fn with(now: Instant, active: bool, certificate: DtlsCertificate) -> Self {
        let config = Config::builder()
            .with_crypto_provider(rust_crypto::default_provider())
            .flight_start_rto(Duration::from_millis(400))
            .flight_retries(20)
            .dangerously_set_rng_seed(4)
            .build()
            .expect("sound");
        let mut engine = dimpl::Dtls::new_12(Arc::new(config), certificate.clone(), now);
        engine.set_active(active);
        Self {
            engine,
            certificate,
            active,
            seals: None,
            opens: None,
            suite: None,
            shown: None,
            due: now,
            failed: false,
        }
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(HashFunction::Sha256, &self.certificate.certificate)
    }

    /// What it sends when handed a datagram, or only the time.
    fn go_on(&mut self, now: Instant, datagram: Option<&[u8]>) -> Vec<Vec<u8>> {
        let mut taken = self.engine.handle_timeout(now);
        if let Some(datagram) = datagram {
            taken = taken.and_then(|()| self.engine.handle_packet(datagram));
        }
        if taken.is_err() {
            self.failed = true;
            self.due = now + Duration::from_secs(86_400);
            return Vec::new();
        }
        let (mut out, mut buffer) = (Vec::new(), vec![0; 4096]);
        loop {
            match self.engine.poll_output(&mut buffer) {
                Output::Packet(packet) => out.push(packet.to_vec()),
                Output::PeerCert(shown) => self.shown = Some(shown.to_vec()),
                Output::KeyingMaterial(material, profile) => self.key(&material, profile),
                Output::Timeout(at) => {
                    self.due = at;
                    return out;
                }
                _ => {}
            }
        }
    }

    fn key(&mut self, material: &[u8], profile: SrtpProfile) {
        let (suite, key, salt) = match profile {
            SrtpProfile::AES128_CM_SHA1_80 => (Suite::Aes128CmSha1_80, 16, 14),
            SrtpProfile::AEAD_AES_128_GCM => (Suite::Aes128Gcm, 16, 12),
            _ => (Suite::Aes256Gcm, 32, 12),
        };
        let master = |at: usize| {
            let salt_at = 2 * key + at * salt;
            let parts = [&material[at * key..][..key], &material[salt_at..][..salt]];
            Context::new(&MasterKey::new(suite, &parts.concat()).expect("of that length"))
        };
        let (client, server) = (master(0), master(1));
        let (seals, opens) = match self.active {
            true => (client, server),
            false => (server, client),
        };
        (self.seals, self.opens, self.suite) = (Some(seals), Some(opens), Some(suite));
    }

    fn is_done(&self) -> bool {
        self.seals.is_some()
    }
}

fn certificate() -> DtlsCertificate {
    let (certificate, private_key) = pair();
    DtlsCertificate {
        certificate,
        private_key,
    }
}

fn pair() -> (Vec<u8>, Vec<u8>) {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key");
    let params = rcgen::CertificateParams::new(Vec::new()).expect("sound");
    let certificate = params.self_signed(&key).expect("signed");
    (certificate.der().to_vec(), key.serialize_der())
}

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("a literal")
}

/// A relay with a phone that shakes hands on side A and one in the clear on side B; between the first and us a wire
/// that loses what it is told to.
struct World {
    now: Instant,
    table: RelayTable,
    identity: Fingerprint,
    events: Vec<Event>,
    /// On their way: when they arrive, by which of our sockets, whether to us, and from or to whom.
    wire: VecDeque<(Instant, SocketKey, bool, SocketAddr, Vec<u8>)>,
    /// Datagrams of a hundred that are lost.
    loss: u32,
    random: u32,
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        let mut table = RelayTable::new(4, 16);
        let (certificate, key) = pair();
        let endpoint = Endpoint::new(certificate, &key).expect("sound");
        let fingerprint = endpoint.fingerprint();
        table.set_endpoint(endpoint, &KeySeed([1; 32]));
        let local = "192.0.2.1".parse().expect("a literal");
        let sockets = Sockets {
            a_rtp: A_RTP,
            a_rtcp: A_RTCP,
            b_rtp: B_RTP,
            b_rtcp: B_RTCP,
        };
        let opening = Opening {
            a: local,
            b: local,
            timeout: Duration::ZERO,
            traffic: Traffic::Rtp,
            sockets,
        };
        table.open(now, RELAY, opening).expect("opened");
        let mut world = Self {
            now,
            table,
            identity: fingerprint,
            events: Vec::new(),
            wire: VecDeque::new(),
            loss: 0,
            random: 1,
        };
        world.remote(Side::B, FAR);
        world
    }

    fn remote(&mut self, side: Side, rtp: &str) {
        self.command(Command::Remote {
            relay: RELAY,
            side,
            rtp: Some(addr(rtp)),
            rtcp: None,
            expect_media: false,
            strict: false,
        });
    }

    fn command(&mut self, command: Command) {
        let event = self.table.handle(self.now, command).expect("obeyed");
        self.events.extend(event);
    }

    fn protect(&mut self, role: Role, fingerprint: Fingerprint) {
        self.command(Command::Protect {
            relay: RELAY,
            side: Side::A,
            protection: Protection::Dtls(Box::new(Terms {
                role,
                fingerprints: vec![fingerprint],
                association: 0,
            })),
        });
    }

    fn multiplex(&mut self) {
        self.command(Command::Multiplex {
            relay: RELAY,
            side: Side::A,
            shared: true,
        });
    }

    fn hurry(&mut self) {
        let (relay, side) = (RELAY, Side::A);
        self.command(Command::Hurry { relay, side });
    }

    /// Puts a datagram on the wire, unless it is lost.
    fn carry(&mut self, key: SocketKey, to_us: bool, peer: SocketAddr, bytes: &[u8]) {
        // Xorshift (Marsaglia 2003).
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        if self.random % 100 >= self.loss {
            let arrival = self.now + Duration::from_millis(20);
            self.wire
                .push_back((arrival, key, to_us, peer, bytes.to_vec()));
        }
    }

    fn says(&mut self, key: SocketKey, from: SocketAddr, datagrams: Vec<Vec<u8>>) {
        for bytes in datagrams {
            self.carry(key, true, from, &bytes);
        }
    }

    /// Lets everything happen that happens within this time. Each phone has an address and the socket it talks to.
    fn pass(&mut self, time: Duration, phones: &mut [(&str, SocketKey, &mut Phone)]) {
        let end = self.now + time;
        while self.now < end {
            for (address, key, phone) in phones.iter_mut() {
                if phone.due <= self.now {
                    let out = phone.go_on(self.now, None);
                    self.says(*key, addr(address), out);
                }
            }
            while self.wire.front().is_some_and(|first| first.0 <= self.now) {
                let Some((_, key, to_us, peer, mut bytes)) = self.wire.pop_front() else {
                    break;
                };
                if to_us {
                    let mut datagram = Datagram::whole(&mut bytes);
                    self.table.handle_packet(self.now, key, peer, &mut datagram);
                    continue;
                }
                for (address, socket, phone) in phones.iter_mut() {
                    if peer == addr(address) && key == *socket {
                        let out = phone.go_on(self.now, Some(&bytes));
                        self.says(key, peer, out);
                    }
                }
            }
            self.shake();
            self.now += Duration::from_millis(10);
        }
    }

    fn shake(&mut self) {
        let mut sent = Vec::new();
        // The thread looks at its sockets between two of these.
        while self
            .table
            .shakes_at(self.now)
            .is_some_and(|at| at <= self.now)
        {
            let events = &mut self.events;
            self.table.shake(
                self.now,
                |key, to, bytes| sent.push((key, to, bytes.to_vec())),
                |event| events.push(event),
            );
        }
        for (key, to, bytes) in sent {
            self.carry(key, false, to, &bytes);
        }
    }

    #[track_caller]
    fn secured(&self) -> Suite {
        match self.events.as_slice() {
            [
                Event::Secured {
                    side: Side::A,
                    suite,
                    ..
                },
            ] => *suite,
            events => panic!("{events:?}"),
        }
    }

    fn decide(&mut self, key: SocketKey, from: &str, packet: &mut Vec<u8>) -> Verdict {
        let length = packet.len();
        packet.resize(length + 32, 0);
        let mut datagram = Datagram::new(packet, length);
        let verdict = self
            .table
            .handle_packet(self.now, key, addr(from), &mut datagram);
        let length = datagram.length();
        packet.truncate(length);
        verdict
    }

    /// Audio passes both ways, sealed on one side and in the clear on the other.
    #[track_caller]
    fn talks(&mut self, phone: &mut Phone, from: &str, sequence: u16) {
        let (seals, opens) = (phone.seals.as_mut(), phone.opens.as_mut());
        let (seals, opens) = (seals.expect("keys"), opens.expect("keys"));
        let mut packet = sealed(seals, sequence);
        let verdict = self.decide(A_RTP, from, &mut packet);
        let (out, to) = (B_RTP, addr(FAR));
        assert_eq!(verdict, Verdict::Forward { out, to });
        assert_eq!(packet, audio(1, sequence));

        let mut packet = audio(2, sequence);
        let verdict = self.decide(B_RTP, FAR, &mut packet);
        let (out, to) = (A_RTP, addr(from));
        assert_eq!(verdict, Verdict::Forward { out, to });
        assert_ne!(packet, audio(2, sequence));
        opens
            .open(&mut Datagram::whole(&mut packet))
            .expect("genuine");
        assert_eq!(packet[..172], audio(2, sequence));
    }
}

fn audio(ssrc: u32, sequence: u16) -> Vec<u8> {
    let header = rtp::Header {
        marker: false,
        payload_type: 0,
        sequence,
        timestamp: u32::from(sequence) * 160,
        ssrc,
    };
    header.packet(&[0x55; 160])
}

fn sealed(seals: &mut Context, sequence: u16) -> Vec<u8> {
    let mut packet = audio(1, sequence);
    let length = packet.len();
    packet.resize(length + 32, 0);
    let mut datagram = Datagram::new(&mut packet, length);
    seals.seal(&mut datagram).expect("sealed");
    let length = datagram.length();
    packet.truncate(length);
    packet
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_phone_that_begins_gets_keys_and_audio_passes() {
    let mut world = World::new();
    let mut phone = Phone::new(world.now, true);
    world.protect(Role::Server, phone.fingerprint());
    world.remote(Side::A, PHONE);
    world.multiplex();

    // Nothing passes before there are keys, in neither direction.
    let no_keys = Verdict::Drop(DropReason::NoKeys);
    assert_eq!(world.decide(A_RTP, PHONE, &mut audio(1, 1)), no_keys);
    assert_eq!(world.decide(B_RTP, FAR, &mut audio(2, 1)), no_keys);

    world.pass(SECOND, &mut [(PHONE, A_RTP, &mut phone)]);
    let suite = world.secured();
    assert_eq!(Some(suite), phone.suite);
    let ours = phone.shown.clone().expect("our certificate");
    assert_eq!(Fingerprint::of(HashFunction::Sha256, &ours), world.identity);
    for sequence in 2..50 {
        world.talks(&mut phone, PHONE, sequence);
    }
    assert_eq!(world.table.shakes_at(world.now), None, "all is said");
    let seal = world.table.stats(RELAY).expect("open").a_seal;
    let exchange = Exchange::Dtls;
    assert_eq!(seal, Some(Seal { exchange, suite }));
}

#[test]
fn a_phone_that_waits_is_begun_with() {
    let mut world = World::new();
    let mut phone = Phone::new(world.now, false);
    world.protect(Role::Client, phone.fingerprint());
    world.remote(Side::A, PHONE);
    world.multiplex();
    world.pass(SECOND, &mut [(PHONE, A_RTP, &mut phone)]);
    assert_eq!(Some(world.secured()), phone.suite);
    world.talks(&mut phone, PHONE, 1);
}

#[test]
fn lost_datagrams_cost_time_and_nothing_else() {
    for (seed, active) in (1..=12_u32).flat_map(|seed| [(seed, true), (seed, false)]) {
        let mut world = World::new();
        (world.loss, world.random) = (30, seed.wrapping_mul(0x9e37_79b9));
        let mut phone = Phone::new(world.now, active);
        let role = if active { Role::Server } else { Role::Client };
        world.protect(role, phone.fingerprint());
        world.remote(Side::A, PHONE);
        world.multiplex();
        world.hurry();
        world.pass(HANDSHAKE_MAX, &mut [(PHONE, A_RTP, &mut phone)]);
        // Its waits double without end, and our last word may have been lost.
        if !phone.is_done() {
            world.pass(2 * HANDSHAKE_MAX, &mut [(PHONE, A_RTP, &mut phone)]);
        }
        let events = &world.events;
        assert!(
            phone.is_done() && events.len() == 1,
            "seed {seed}, active {active}: {events:?}"
        );
        world.secured();
        world.talks(&mut phone, PHONE, 1);
    }
}

#[test]
fn another_certificate_than_the_described_one_gets_no_keys() {
    for active in [true, false] {
        let mut world = World::new();
        let mut phone = Phone::new(world.now, active);
        let described = Phone::new(world.now, active);
        let role = if active { Role::Server } else { Role::Client };
        world.protect(role, described.fingerprint());
        world.remote(Side::A, PHONE);
        world.pass(5 * SECOND, &mut [(PHONE, A_RTP, &mut phone)]);
        let (relay, side, why) = (RELAY, Side::A, DtlsError::Fingerprint);
        assert_eq!(world.events, [Event::HandshakeFailed { relay, side, why }]);
        let no_keys = Verdict::Drop(DropReason::NoKeys);
        assert_eq!(world.decide(B_RTP, FAR, &mut audio(2, 1)), no_keys);
        assert_eq!(world.table.shakes_at(world.now), None);
    }
}

#[test]
fn who_never_shakes_hands_is_waited_for_as_long_as_was_said() {
    for role in [Role::Server, Role::Client] {
        let mut world = World::new();
        world.protect(role, Phone::new(world.now, true).fingerprint());
        world.remote(Side::A, PHONE);
        // As long as it rings, nothing is held against anybody.
        world.pass(3 * HANDSHAKE_MAX, &mut []);
        assert_eq!(world.events, []);
        world.hurry();
        world.pass(HANDSHAKE_MAX - SECOND, &mut []);
        assert_eq!(world.events, []);
        world.pass(2 * SECOND, &mut []);
        let (relay, side, why) = (RELAY, Side::A, DtlsError::TimedOut);
        assert_eq!(world.events, [Event::HandshakeFailed { relay, side, why }]);
    }
}

#[test]
fn a_phone_behind_a_nat_is_found_where_its_handshake_comes_from() {
    let mut world = World::new();
    let mut phone = Phone::new(world.now, true);
    world.protect(Role::Server, phone.fingerprint());
    world.remote(Side::A, PHONE);
    world.pass(SECOND, &mut [(BEHIND_NAT, A_RTP, &mut phone)]);
    world.secured();
    world.talks(&mut phone, BEHIND_NAT, 1);
}

#[test]
fn who_races_the_phone_is_forgotten_for_want_of_its_certificate() {
    let mut world = World::new();
    let mut phone = Phone::new(world.now, true);
    let mut stranger = Phone::new(world.now, true);
    world.protect(Role::Server, phone.fingerprint());
    world.remote(Side::A, PHONE);
    world.hurry();
    world.pass(SECOND, &mut [(STRANGER, A_RTP, &mut stranger)]);
    assert_eq!(world.events, [], "a stranger's certificate ends nothing");
    world.pass(SECOND, &mut [(PHONE, A_RTP, &mut phone)]);
    world.secured();
    world.talks(&mut phone, PHONE, 1);
    // Afterwards nobody else is even listened to.
    let mut late = Phone::new(world.now, true);
    let hello = late.go_on(world.now, None).remove(0);
    let stranger = Verdict::Drop(DropReason::Stranger);
    assert_eq!(world.decide(A_RTP, STRANGER, &mut hello.clone()), stranger);
}

#[test]
fn the_announced_address_takes_the_place_of_one_further_away() {
    let mut world = World::new();
    let mut phone = Phone::new(world.now, true);
    world.protect(Role::Server, phone.fingerprint());
    world.remote(Side::A, PHONE);
    // Somebody begins and says no more.
    let hello = Phone::new(world.now, true).go_on(world.now, None).remove(0);
    let taken = world.decide(A_RTP, STRANGER, &mut hello.clone());
    assert_eq!(taken, Verdict::Taken);
    let other = Phone::new(world.now, true).go_on(world.now, None).remove(0);
    let refused = world.decide(A_RTP, BEHIND_NAT, &mut other.clone());
    assert_eq!(refused, Verdict::Drop(DropReason::Stranger));
    world.pass(SECOND, &mut [(PHONE, A_RTP, &mut phone)]);
    world.secured();
}

#[test]
fn the_same_terms_again_keep_the_keys_and_others_mean_a_new_handshake() {
    let mut world = World::new();
    let mut phone = Phone::new(world.now, true);
    world.protect(Role::Server, phone.fingerprint());
    world.remote(Side::A, PHONE);
    world.pass(SECOND, &mut [(PHONE, A_RTP, &mut phone)]);
    world.talks(&mut phone, PHONE, 1);

    world.protect(Role::Server, phone.fingerprint());
    world.remote(Side::A, PHONE);
    world.talks(&mut phone, PHONE, 2);

    // Another device takes over: until its handshake is done, the first one is still heard.
    let mut second = Phone::new(world.now, true);
    world.protect(Role::Server, second.fingerprint());
    world.hurry();
    world.talks(&mut phone, PHONE, 3);
    world.pass(SECOND, &mut [(PHONE, A_RTP, &mut second)]);
    assert_eq!(world.events.len(), 2, "{:?}", world.events);
    world.talks(&mut second, PHONE, 1);
    let mut packet = sealed(phone.seals.as_mut().expect("keys"), 4);
    let verdict = world.decide(A_RTP, PHONE, &mut packet);
    assert!(matches!(verdict, Verdict::Drop(DropReason::Protection(_))));
}

#[test]
fn a_phone_that_forgot_us_may_begin_again() {
    let mut world = World::new();
    let keys = certificate();
    let mut phone = Phone::with(world.now, true, keys.clone());
    world.protect(Role::Server, phone.fingerprint());
    world.remote(Side::A, PHONE);
    world.pass(SECOND, &mut [(PHONE, A_RTP, &mut phone)]);
    world.talks(&mut phone, PHONE, 1);
    let mut again = Phone::with(world.now, true, keys);
    world.pass(SECOND, &mut [(PHONE, A_RTP, &mut again)]);
    assert!(again.is_done());
    world.talks(&mut again, PHONE, 1);
}

#[test]
fn reports_have_a_handshake_of_their_own_unless_they_share_the_port() {
    let report = |seals: &mut Context| {
        let mut packet = vec![0x80, 201, 0, 1, 0, 0, 0, 1];
        packet.resize(64, 0);
        let mut datagram = Datagram::new(&mut packet, 8);
        seals.seal_report(&mut datagram).expect("sealed");
        let length = datagram.length();
        packet.truncate(length);
        packet
    };
    let forwarded = Verdict::Forward {
        out: B_RTCP,
        to: addr(FAR_RTCP),
    };

    let mut world = World::new();
    let keys = certificate();
    let mut phone = Phone::with(world.now, true, keys.clone());
    let mut reporter = Phone::with(world.now, true, keys);
    world.protect(Role::Server, phone.fingerprint());
    world.remote(Side::A, PHONE);
    let ports: &mut [_] = &mut [
        (PHONE, A_RTP, &mut phone),
        (PHONE_RTCP, A_RTCP, &mut reporter),
    ];
    world.pass(SECOND, ports);
    world.secured();
    let mut packet = report(reporter.seals.as_mut().expect("keys"));
    assert_eq!(world.decide(A_RTCP, PHONE_RTCP, &mut packet), forwarded);
    assert_eq!(packet, [0x80, 201, 0, 1, 0, 0, 0, 1]);

    let mut world = World::new();
    let mut phone = Phone::new(world.now, true);
    world.protect(Role::Server, phone.fingerprint());
    world.multiplex();
    world.remote(Side::A, PHONE);
    world.pass(SECOND, &mut [(PHONE, A_RTP, &mut phone)]);
    let mut packet = report(phone.seals.as_mut().expect("keys"));
    assert_eq!(world.decide(A_RTP, PHONE, &mut packet), forwarded);
    let mut packet = vec![0x80, 201, 0, 1, 0, 0, 0, 2];
    let back = world.decide(B_RTCP, FAR_RTCP, &mut packet);
    let (out, to) = (A_RTP, addr(PHONE));
    assert_eq!(back, Verdict::Forward { out, to });
    let opens = phone.opens.as_mut().expect("keys");
    opens
        .open_report(&mut Datagram::whole(&mut packet))
        .expect("genuine");
}

#[test]
fn pending_keys_let_nothing_pass() {
    let mut world = World::new();
    world.command(Command::Protect {
        relay: RELAY,
        side: Side::A,
        protection: Protection::Pending,
    });
    world.remote(Side::A, PHONE);
    let no_keys = Verdict::Drop(DropReason::NoKeys);
    assert_eq!(world.decide(A_RTP, PHONE, &mut audio(1, 1)), no_keys);
    assert_eq!(world.decide(B_RTP, FAR, &mut audio(2, 1)), no_keys);
}

#[test]
fn a_table_without_a_certificate_says_so() {
    let mut table = RelayTable::new(1, 4);
    let local = "192.0.2.1".parse().expect("a literal");
    let sockets = Sockets {
        a_rtp: A_RTP,
        a_rtcp: A_RTCP,
        b_rtp: B_RTP,
        b_rtcp: B_RTCP,
    };
    let now = Instant::now();
    let opening = Opening {
        a: local,
        b: local,
        timeout: Duration::ZERO,
        traffic: Traffic::Rtp,
        sockets,
    };
    table.open(now, RELAY, opening).expect("opened");
    let terms = Terms {
        role: Role::Server,
        fingerprints: vec![Fingerprint::of(HashFunction::Sha256, b"x")],
        association: 0,
    };
    let protect = Command::Protect {
        relay: RELAY,
        side: Side::A,
        protection: Protection::Dtls(Box::new(terms)),
    };
    assert!(table.handle(now, protect).is_err());
}
