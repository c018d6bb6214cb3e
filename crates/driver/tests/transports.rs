//! Streams, TLS and second addresses, as a peer sees them.

use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use driver::{DriverConfig, PortRange, StartError, TlsFiles, Transport};
use model::{Connection, DestinationFrom, SipTransport};
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use common::*;

mod common;

/// An authority, and a folder for the files it makes.
struct Authority {
    folder: PathBuf,
    certificate: rcgen::Certificate,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("strowger-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("folder");
        let mut params = rcgen::CertificateParams::new(Vec::new()).expect("params");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        let key = rcgen::KeyPair::generate().expect("key");
        let certificate = params.self_signed(&key).expect("certificate");
        let issuer = rcgen::Issuer::new(params, key);
        std::fs::write(folder.join("ca.pem"), certificate.pem()).expect("write");
        Self {
            folder,
            certificate,
            issuer,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes `name.pem` and `name.key`: a certificate for these names, addresses and SIP URIs.
    fn certify(&self, name: &str, subjects: &[&str]) {
        let (uris, subjects): (Vec<String>, Vec<String>) = subjects
            .iter()
            .map(|&name| name.to_owned())
            .partition(|name| name.starts_with("sip:"));
        let mut params = rcgen::CertificateParams::new(subjects).expect("params");
        let uris = uris.into_iter().map(|uri| uri.try_into().expect("a URI"));
        params
            .subject_alt_names
            .extend(uris.map(rcgen::SanType::URI));
        let key = rcgen::KeyPair::generate().expect("key");
        let certificate = params.signed_by(&key, &self.issuer).expect("certificate");
        std::fs::write(self.path(&format!("{name}.pem")), certificate.pem()).expect("write");
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).expect("write");
    }

    fn files(&self) -> TlsFiles {
        TlsFiles {
            certificates: vec![self.path("switch.pem")],
            keys: vec![self.path("switch.key")],
            client_ca: None,
            trust: vec![self.path("ca.pem")],
        }
    }

    /// What a peer accepts TLS with.
    fn acceptor(&self, name: &str) -> TlsAcceptor {
        let (chain, key) = self.pair(name);
        let config = rustls::ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("certificate");
        TlsAcceptor::from(Arc::new(config))
    }

    /// What a peer connects with, showing a certificate of its own if it has one.
    fn connector(&self, own: Option<&str>) -> TlsConnector {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate.der().clone()).expect("root");
        let config = rustls::ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let config = match own {
            None => config.with_no_client_auth(),
            Some(name) => {
                let (chain, key) = self.pair(name);
                config.with_client_auth_cert(chain, key).expect("own")
            }
        };
        TlsConnector::from(Arc::new(config))
    }

    fn pair(
        &self,
        name: &str,
    ) -> (
        Vec<rustls::pki_types::CertificateDer<'static>>,
        rustls::pki_types::PrivateKeyDer<'static>,
    ) {
        let chain =
            rustls::pki_types::CertificateDer::pem_file_iter(self.path(&format!("{name}.pem")));
        let chain = chain.expect("read").collect::<Result<_, _>>().expect("pem");
        let key =
            rustls::pki_types::PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key")));
        (chain, key.expect("key"))
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        // A folder that stays behind harms nobody.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn local() -> SocketAddr {
    "127.0.0.1:0".parse().expect("test address")
}

fn config(first_port: u16) -> DriverConfig {
    DriverConfig {
        sip: vec![local()],
        rtp_ports: PortRange {
            first: first_port,
            last: first_port + 99,
        },
        shards: 2,
        ..DriverConfig::default()
    }
}

fn secure(authority: &Authority, first_port: u16) -> DriverConfig {
    DriverConfig {
        sip_tls: vec![local()],
        tls: Some(authority.files()),
        ..config(first_port)
    }
}

fn tls_address(world: &World) -> SocketAddr {
    let mut interfaces = world.driver.interfaces().iter();
    let tls = interfaces.find(|interface| interface.transport == Transport::Tls);
    tls.expect("an interface for TLS").local
}

/// Reads until the text `end` has come.
async fn read_until(stream: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut text = String::new();
    let reading = async {
        while !text.contains(end) {
            let mut bytes = [0; 4096];
            match stream.read(&mut bytes).await.expect("read") {
                0 => panic!("closed after {text}"),
                count => text.push_str(&String::from_utf8_lossy(&bytes[..count])),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), reading)
        .await
        .unwrap_or_else(|_| panic!("no {end:?} came"));
    text
}

async fn ask_options(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    peer: SocketAddr,
    call_id: &str,
) {
    let options = request("OPTIONS", "sip:switch", peer, "TLS", "", "");
    let options = options.replace("Call-ID: ", &format!("Call-ID: {call_id}"));
    let options = options.replace("z9hG4bK", &format!("z9hG4bK{call_id}"));
    stream.write_all(options.as_bytes()).await.expect("write");
    assert!(
        read_until(stream, "\r\n\r\n")
            .await
            .starts_with("SIP/2.0 200 ")
    );
}

async fn connect(
    connector: &TlsConnector,
    address: SocketAddr,
    name: &str,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await.expect("connect");
    let name = ServerName::try_from(name.to_owned()).expect("name");
    connector.connect(name, stream).await
}

fn caller() -> Connection {
    Connection {
        connection_source_ip_checking_enabled: false,
        ..connection("acme-pbx", "")
    }
}

fn callee(address: SocketAddr, transport: SipTransport) -> Connection {
    Connection {
        connection_sip_transport_protocol: transport,
        connection_translation_request_host: "carrier".into(),
        ..connection("carrier", &address.to_string())
    }
}

/// Calls the connection "carrier" from a phone.
fn call(world: &World, phone: &UdpSocket, extra: &str) {
    let own = phone.local_addr().expect("local");
    let invite = request(
        "INVITE",
        "sip:13105550100@carrier",
        own,
        "UDP",
        &format!("Content-Type: application/sdp\r\n{extra}"),
        &sdp(own),
    );
    phone
        .send_to(invite.as_bytes(), world.address)
        .expect("send");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_is_served_over_tls_and_open_streams_outlive_new_certificates() {
    let authority = Authority::new("reload");
    authority.certify("switch", &["old.example"]);
    let world = World::start_with(secure(&authority, 43_000)).await;
    let address = tls_address(&world);
    let connector = authority.connector(None);
    let mut old = connect(&connector, address, "old.example")
        .await
        .expect("TLS");
    let peer = old.get_ref().0.local_addr().expect("local");
    ask_options(&mut old, peer, "one").await;
    old.write_all(b"\r\n\r\n").await.expect("ping");
    assert_eq!(read_until(&mut old, "\r\n").await, "\r\n", "a pong");

    authority.certify("switch", &["new.example"]);
    assert!(world.driver.reload_certificates().expect("reload"));
    connect(&connector, address, "new.example")
        .await
        .expect("the new certificate");
    assert!(connect(&connector, address, "old.example").await.is_err());
    ask_options(&mut old, peer, "two").await;

    std::fs::write(authority.path("switch.pem"), "nonsense").expect("write");
    let error = world.driver.reload_certificates().expect_err("broken file");
    assert!(error.to_string().contains("switch.pem"), "{error}");
    connect(&connector, address, "new.example")
        .await
        .expect("still the last good one");
    let metrics = world.driver.metrics();
    for line in [
        "strowger_tls_handshakes_total{by=\"peer\",outcome=\"done\"} ",
        "strowger_tls_reloads_total{outcome=\"done\"} 1",
        "strowger_tls_reloads_total{outcome=\"failed\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} is missing in {metrics}");
    }
    world.driver.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_mutual_tls_a_peer_without_a_certificate_gets_nowhere() {
    let authority = Authority::new("mutual");
    authority.certify("switch", &["sip.example"]);
    authority.certify("pbx", &["pbx.example"]);
    let mut config = secure(&authority, 43_100);
    config.tls = Some(TlsFiles {
        client_ca: Some(authority.path("ca.pem")),
        ..authority.files()
    });
    let world = World::start_with(config).await;
    let address = tls_address(&world);
    let mut known = connect(&authority.connector(Some("pbx")), address, "sip.example")
        .await
        .expect("TLS");
    let peer = known.get_ref().0.local_addr().expect("local");
    ask_options(&mut known, peer, "known").await;

    // In TLS 1.3 the client is through before the server has looked at it: the refusal comes with the first read.
    if let Ok(mut stranger) = connect(&authority.connector(None), address, "sip.example").await {
        let mut byte = [0];
        assert!(!matches!(stranger.read(&mut byte).await, Ok(1)), "served");
    }
    world.driver.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_carrier_that_proves_its_address_is_called_over_tls() {
    let authority = Authority::new("proves");
    authority.certify("switch", &["sip.example"]);
    authority.certify("carrier", &["127.0.0.1"]);
    let carrier = TcpListener::bind(local()).await.expect("bind");
    let world = World::start_with(secure(&authority, 43_200)).await;
    let address = carrier.local_addr().expect("local");
    let target = callee(address, SipTransport::Tls);
    world.insert(vec![caller(), target]).await;
    call(&world, &world.phone(), "");

    let (stream, _) = carrier.accept().await.expect("accept");
    let mut stream = authority
        .acceptor("carrier")
        .accept(stream)
        .await
        .expect("TLS");
    let invite = read_until(&mut stream, "a=rtpmap:0").await;
    assert!(
        invite.starts_with("INVITE sip:13105550100@carrier"),
        "{invite}"
    );
    assert!(
        header(&invite, "Via").starts_with("SIP/2.0/TLS "),
        "{invite}"
    );
    let own = format!("{};transport=tls>", tls_address(&world));
    assert!(header(&invite, "Contact").ends_with(&own), "{invite}");
    world.driver.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_carrier_that_cannot_prove_its_address_is_not_called() {
    let authority = Authority::new("lies");
    authority.certify("switch", &["sip.example"]);
    authority.certify("carrier", &["127.0.0.9", "carrier"]);
    let carrier = TcpListener::bind(local()).await.expect("bind");
    let world = World::start_with(secure(&authority, 43_300)).await;
    let address = carrier.local_addr().expect("local");
    let target = callee(address, SipTransport::Tls);
    world.insert(vec![caller(), target]).await;
    let phone = world.phone();
    call(&world, &phone, "");

    let (stream, _) = carrier.accept().await.expect("accept");
    assert!(authority.acceptor("carrier").accept(stream).await.is_err());
    let final_response = tokio::task::spawn_blocking(move || receive_until(&phone, "SIP/2.0 503"));
    final_response.await.expect("503");
    let metrics = world.driver.metrics();
    let failed = "strowger_tls_handshakes_total{by=\"switch\",outcome=\"failed\"} 1";
    assert!(metrics.contains(failed), "{metrics}");
    world.driver.stop().await;
}

/// The carrier that the switch calls over TLS by the name `localhost`; how the handshake ended, and for whom it was.
async fn called_by_name(authority: &Authority, first_port: u16) -> (bool, Option<String>) {
    let carrier = TcpListener::bind(local()).await.expect("bind");
    let world = World::start_with(secure(authority, first_port)).await;
    let port = carrier.local_addr().expect("local").port();
    let target = Connection {
        connection_address: format!("localhost:{port}"),
        ..callee(carrier.local_addr().expect("local"), SipTransport::Tls)
    };
    world.insert(vec![caller(), target]).await;
    call(&world, &world.phone(), "");
    let (stream, _) = carrier.accept().await.expect("accept");
    let acceptor = authority.acceptor("carrier");
    let outcome = match acceptor.accept(stream).await {
        Ok(mut stream) => {
            let name = stream.get_ref().1.server_name().map(str::to_owned);
            let invite = read_until(&mut stream, "a=rtpmap:0").await;
            assert!(invite.starts_with("INVITE "), "{invite}");
            (true, name)
        }
        Err(_) => (false, None),
    };
    world.driver.stop().await;
    outcome
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_asked_for_and_proven_by_a_sip_uri_or_a_dns_name() {
    let authority = Authority::new("names");
    authority.certify("switch", &["sip.example"]);
    for (index, (names, proven)) in [
        (["localhost"].as_slice(), true),
        (&["sip:localhost", "other.example"], true),
        (&["sip:bob@localhost", "other.example"], false),
        (&["sip:other.example"], false),
    ]
    .into_iter()
    .enumerate()
    {
        authority.certify("carrier", names);
        let first_port = 43_800 + 100 * index as u16;
        let (done, asked_for) = called_by_name(&authority, first_port).await;
        assert_eq!(done, proven, "{names:?}");
        assert_eq!(asked_for.as_deref(), proven.then_some("localhost"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_is_shown_the_certificate_of_the_name_it_asks_for() {
    let authority = Authority::new("sni");
    authority.certify("switch", &["sip.example"]);
    authority.certify("second", &["*.tenant.example"]);
    let mut config = secure(&authority, 44_200);
    config.tls = Some(TlsFiles {
        certificates: vec![authority.path("switch.pem"), authority.path("second.pem")],
        keys: vec![authority.path("switch.key"), authority.path("second.key")],
        ..authority.files()
    });
    let world = World::start_with(config).await;
    let address = tls_address(&world);
    let connector = authority.connector(None);
    for name in ["sip.example", "acme.tenant.example"] {
        let mut stream = connect(&connector, address, name).await.expect("TLS");
        let peer = stream.get_ref().0.local_addr().expect("local");
        ask_options(&mut stream, peer, &format!("of-{}", name.len())).await;
    }
    assert!(connect(&connector, address, "other.example").await.is_err());
    world.driver.stop().await;

    let mut config = secure(&authority, 44_300);
    config.tls = Some(TlsFiles {
        keys: vec![authority.path("switch.key"), authority.path("second.key")],
        ..authority.files()
    });
    let store = store::Store::open_in_memory().expect("store");
    let error = driver::Driver::start(config, store, bus::Bus::local()).await;
    let error = error.err().expect("one key too many").to_string();
    assert!(error.contains("second.key"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_without_a_certificate_does_not_start() {
    let mut config = config(43_400);
    config.sip_tls = vec![local()];
    let store = store::Store::open_in_memory().expect("store");
    let started = driver::Driver::start(config, store, bus::Bus::local()).await;
    assert!(matches!(started, Err(StartError::NoCertificate)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invite_too_large_for_a_datagram_goes_by_tcp() {
    let carrier = TcpListener::bind(local()).await.expect("bind");
    let world = World::start_with(config(43_500)).await;
    let address = carrier.local_addr().expect("local");
    let target = callee(address, SipTransport::Udp);
    world.insert(vec![caller(), target]).await;
    let long = format!("Subject: {}\r\n", "long ".repeat(300));
    call(&world, &world.phone(), &long);

    let (mut stream, _) = carrier.accept().await.expect("accept");
    let invite = read_until(&mut stream, "a=rtpmap:0").await;
    assert!(invite.len() > 1300, "{}", invite.len());
    assert!(
        header(&invite, "Via").starts_with("SIP/2.0/TCP "),
        "{invite}"
    );
    world.driver.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_on_the_second_address_sees_that_one_alone() {
    let mut config = config(43_600);
    config.alternate_sip = vec!["127.0.0.2:0".parse().expect("test address")];
    let world = World::start_with(config).await;
    let carrier = world.phone();
    let target = Connection {
        connection_bind_to_alternate_interface_enabled: true,
        ..callee(carrier.local_addr().expect("local"), SipTransport::Udp)
    };
    world.insert(vec![caller(), target]).await;
    call(&world, &world.phone(), "");

    let mut bytes = [0; 4096];
    let (count, source) = carrier.recv_from(&mut bytes).expect("INVITE");
    let invite = String::from_utf8_lossy(&bytes[..count]).into_owned();
    assert_eq!(source.ip().to_string(), "127.0.0.2");
    for name in ["Via", "Contact", "From"] {
        assert!(header(&invite, name).contains("127.0.0.2"), "{invite}");
    }
    assert!(invite.contains("\r\nc=IN IP4 127.0.0.2\r\n"), "{invite}");
    world.driver.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_go_where_the_connection_wants_them() {
    let world = World::start_with(config(43_700)).await;
    let named = world.phone();
    let elsewhere = named.local_addr().expect("local");
    for (from, part) in [
        (DestinationFrom::ViaHeader, "Via"),
        (DestinationFrom::ContactHeader, "Contact"),
    ] {
        let name = format!("by-{}", part.to_lowercase());
        let connection = Connection {
            connection_sip_get_response_destination_from: from,
            connection_source_ip_checking_enabled: false,
            ..connection(&name, "")
        };
        if part == "Via" {
            world.insert(vec![connection]).await;
        } else {
            world.insert_more(vec![connection]).await;
        }
        let phone = world.phone();
        let own = phone.local_addr().expect("local");
        let invite = request("INVITE", "sip:nobody@nowhere", own, "UDP", "", "");
        let invite = match part {
            "Via" => invite.replace(&format!("UDP {own};"), &format!("UDP {elsewhere};")),
            _ => invite.replace(
                &format!("12125550111@{own}"),
                &format!("12125550111@{elsewhere}"),
            ),
        };
        let invite = invite.replace("acme-pbx", &name);
        phone
            .send_to(invite.as_bytes(), world.address)
            .expect("send");
        let refusal = receive_until(&named, "SIP/2.0 404");
        assert!(header(&refusal, "From").contains(&name), "{refusal}");
        assert!(
            receive(&phone).starts_with("SIP/2.0 100 "),
            "sent before anybody is known"
        );
    }
    world.driver.stop().await;
}
