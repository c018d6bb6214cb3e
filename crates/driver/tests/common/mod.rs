//! A whole driver on loopback sockets, and the words its peers say.
#![allow(dead_code, reason = "each test program uses its own part")]

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use bus::Bus;
use driver::{Driver, DriverConfig, PortRange};
use model::{Actor, Connection, DialPlan, DialRule, DialRuleApplication, RuleMatching};
use store::{CdrFilter, Page, Store};

pub(crate) struct World {
    pub(crate) driver: Driver,
    pub(crate) store: Store,
    pub(crate) bus: Bus,
    pub(crate) address: SocketAddr,
}

impl World {
    pub(crate) async fn start(shards: usize, first_port: u16) -> Self {
        Self::start_on("127.0.0.1:0", shards, first_port).await
    }

    pub(crate) async fn start_on(local: &str, shards: usize, first_port: u16) -> Self {
        let config = DriverConfig {
            sip: vec![local.parse().expect("test address")],
            rtp_ports: PortRange {
                first: first_port,
                last: first_port + 199,
            },
            shards,
            ..DriverConfig::default()
        };
        Self::start_with(config).await
    }

    pub(crate) async fn start_with(config: DriverConfig) -> Self {
        let store = Store::open_in_memory().expect("store");
        let bus = Bus::local();
        let driver = Driver::start(config, store.clone(), bus.clone())
            .await
            .expect("start");
        let address = driver.interfaces()[0].local;
        Self {
            driver,
            store,
            bus,
            address,
        }
    }

    /// A far end of the family we listen on.
    pub(crate) fn phone(&self) -> UdpSocket {
        let socket = UdpSocket::bind((self.address.ip(), 0)).expect("bind");
        socket
            .set_read_timeout(Some(Duration::from_secs(10)))
            .expect("timeout");
        socket
    }

    pub(crate) async fn records(&self) -> Vec<model::Cdr> {
        let read = |reader: &store::Reader<'_>| reader.cdrs(&CdrFilter::default(), Page::all());
        self.store.read(read).await.expect("read")
    }

    /// Stores connections, and a dial plan that leads to them, as the API would; waits until they are in force.
    pub(crate) async fn insert(&self, connections: Vec<Connection>) {
        let work = move |writer: &mut store::Writer<'_>| {
            let actor = Actor::system("test", 0);
            let plan = DialPlan {
                domain: "*".into(),
                dial_rule_dial_plan: "by host".into(),
                ..DialPlan::default()
            };
            writer.insert(&actor, plan)?;
            let rule = DialRule {
                domain: "*".into(),
                dial_rule_dial_plan: "by host".into(),
                matching: RuleMatching::to("*"),
                dial_rule_application: DialRuleApplication::ToConnection,
                ..DialRule::default()
            };
            writer.insert(&actor, rule)?;
            Ok::<(), store::StoreError>(())
        };
        self.write(work).await;
        self.insert_more(connections).await;
    }

    /// Stores connections alone.
    pub(crate) async fn insert_more(&self, connections: Vec<Connection>) {
        let work = move |writer: &mut store::Writer<'_>| {
            let actor = Actor::system("test", 0);
            for connection in connections {
                writer.insert(&actor, connection)?;
            }
            Ok::<(), store::StoreError>(())
        };
        self.write(work).await;
    }

    async fn write(
        &self,
        work: impl FnOnce(&mut store::Writer<'_>) -> Result<(), store::StoreError> + Send + 'static,
    ) {
        let written = self.store.transact(work).await.expect("write");
        for change in written.changes {
            self.bus.publish(change).await.expect("applied");
        }
    }
}

pub(crate) fn receive(socket: &UdpSocket) -> String {
    let mut buffer = [0; 65_535];
    let (count, _) = socket.recv_from(&mut buffer).expect("a message");
    String::from_utf8_lossy(&buffer[..count]).into_owned()
}

/// The next message that begins so; others, such as provisional responses, are passed over.
pub(crate) fn receive_until(socket: &UdpSocket, start: &str) -> String {
    for _ in 0..20 {
        let message = receive(socket);
        if message.starts_with(start) {
            return message;
        }
    }
    panic!("no {start} among twenty messages");
}

pub(crate) fn header<'a>(message: &'a str, name: &str) -> &'a str {
    let lines = message.lines();
    let mut values = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    values
        .next()
        .unwrap_or_else(|| panic!("no {name} in\n{message}"))
}

pub(crate) fn request(
    method: &str,
    uri: &str,
    from: SocketAddr,
    transport: &str,
    extra: &str,
    body: &str,
) -> String {
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/{transport} {from};branch=z9hG4bK{method}{port};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:12125550111@acme-pbx>;tag=f\r\nTo: <{uri}>\r\nCall-ID: {method}-{port}\r\n\
         CSeq: 1 {method}\r\nContact: <sip:12125550111@{from}>\r\n{extra}Content-Length: {length}\r\n\r\n{body}",
        port = from.port(),
        length = body.len(),
    )
}

pub(crate) fn sdp(address: SocketAddr) -> String {
    let (family, ip, port) = (
        if address.is_ipv6() { "IP6" } else { "IP4" },
        address.ip(),
        address.port(),
    );
    format!(
        "v=0\r\no=- 1 1 IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n\
         a=rtpmap:0 PCMU/8000\r\n"
    )
}

pub(crate) fn connection(name: &str, address: &str) -> Connection {
    Connection {
        domain: "*".into(),
        connection_orig_match_pattern: format!("sip*@{name}"),
        connection_term_match_pattern: format!("sip*@{name}"),
        connection_address: address.into(),
        dial_plan: "by host".into(),
        ..Connection::default()
    }
}
