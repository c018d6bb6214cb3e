//! One stream carries everything between two ends, in both directions, for as long as it is open (RFC 5923).

mod common;

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use driver::{DriverConfig, PortRange};
use model::{Connection, SipTransport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use common::*;

/// A carrier with a stream, and a phone whose calls go there.
struct Line {
    world: World,
    carrier: TcpListener,
    phone: UdpSocket,
    calls: u32,
}

impl Line {
    async fn new(first_port: u16, transport: SipTransport) -> Self {
        let config = DriverConfig {
            sip: vec!["127.0.0.1:0".parse().expect("test address")],
            rtp_ports: PortRange {
                first: first_port,
                last: first_port + 99,
            },
            shards: 2,
            ..DriverConfig::default()
        };
        let world = World::start_with(config).await;
        let carrier = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = carrier.local_addr().expect("local").to_string();
        let caller = Connection {
            connection_source_ip_checking_enabled: false,
            ..connection("acme-pbx", "")
        };
        let carrier_record = Connection {
            connection_sip_transport_protocol: transport,
            ..connection("carrier", &address)
        };
        world.insert(vec![caller, carrier_record]).await;
        let phone = world.phone();
        Self {
            world,
            carrier,
            phone,
            calls: 0,
        }
    }

    fn own(&self) -> SocketAddr {
        self.phone.local_addr().expect("local")
    }

    /// The phone calls; its INVITE.
    fn call(&mut self, extra: &str) -> String {
        self.calls += 1;
        let own = self.own();
        let extra = format!("Content-Type: application/sdp\r\n{extra}");
        let invite = request("INVITE", "sip:2000@carrier", own, "UDP", &extra, &sdp(own));
        let number = self.calls;
        let invite = invite
            .replace("branch=z9hG4bK", &format!("branch=z9hG4bK{number}-"))
            .replace("Call-ID: ", &format!("Call-ID: {number}-"));
        self.say(&invite);
        invite
    }

    fn say(&self, message: &str) {
        self.phone
            .send_to(message.as_bytes(), self.world.address)
            .expect("send");
    }

    async fn heard(&self, start: &'static str) -> String {
        let phone = self.phone.try_clone().expect("clone");
        let heard = tokio::task::spawn_blocking(move || receive_until(&phone, start));
        heard.await.expect("came")
    }

    async fn accept(&self) -> Wire {
        let accepted = tokio::time::timeout(Duration::from_secs(10), self.carrier.accept());
        let (stream, _) = accepted.await.expect("in time").expect("a stream");
        Wire {
            stream,
            text: String::new(),
        }
    }
}

/// The carrier's end of a stream.
struct Wire {
    stream: TcpStream,
    text: String,
}

impl Wire {
    /// The next message that begins so; others before it are passed over.
    async fn next(&mut self, start: &str) -> String {
        let reading = async {
            loop {
                while let Some(message) = self.cut() {
                    if message.starts_with(start) {
                        return message;
                    }
                }
                let mut bytes = [0; 4096];
                match self.stream.read(&mut bytes).await.expect("read") {
                    0 => panic!("closed before {start}"),
                    count => self.text += &String::from_utf8_lossy(&bytes[..count]),
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), reading)
            .await
            .unwrap_or_else(|_| panic!("no {start} on this stream"))
    }

    fn cut(&mut self) -> Option<String> {
        let head = self.text.find("\r\n\r\n")? + 4;
        let length: usize = header(&self.text[..head], "Content-Length")
            .parse()
            .expect("a length");
        if self.text.len() < head + length {
            return None;
        }
        let rest = self.text.split_off(head + length);
        Some(std::mem::replace(&mut self.text, rest))
    }

    async fn answer(&mut self, request: &str, line: &str, extra: &str, body: &str) {
        let mut text = format!("SIP/2.0 {line}\r\n");
        for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
            let tag = if name == "To" && !header(request, "To").contains("tag=") {
                ";tag=c"
            } else {
                ""
            };
            text += &format!("{name}: {}{tag}\r\n", header(request, name));
        }
        text += &format!("{extra}Content-Length: {}\r\n\r\n{body}", body.len());
        self.stream.write_all(text.as_bytes()).await.expect("write");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_share_a_stream_and_the_peer_may_use_it_too() {
    let mut line = Line::new(45_000, SipTransport::Tcp).await;
    line.call("");
    let mut wire = line.accept().await;
    for _ in 0..3 {
        let invite = wire.next("INVITE ").await;
        wire.answer(&invite, "486 Busy Here", "", "").await;
        wire.next("ACK ").await;
        line.heard("SIP/2.0 486").await;
        line.call("");
    }
    // The carrier calls us by the stream that we opened.
    let peer = wire.stream.local_addr().expect("local");
    let invite = request("INVITE", "sip:nobody@nowhere", peer, "TCP", "", "");
    let invite = invite.replace("acme-pbx", "carrier");
    wire.stream
        .write_all(invite.as_bytes())
        .await
        .expect("write");
    wire.next("SIP/2.0 404 ").await;
    let metrics = line.world.driver.metrics();
    let opened = "strowger_tcp_flows_total{by=\"switch\"} 1\n";
    assert!(metrics.contains(opened), "{metrics}");
    line.world.driver.stop().await;
}

/// A call that is answered: ACK and BYE stay on the stream that the INVITE took, although the Contact of the carrier
/// leads elsewhere.
async fn stays_on_its_stream(first_port: u16, transport: SipTransport, extra: &str) {
    let mut line = Line::new(first_port, transport).await;
    let own = line.own();
    let invite_of_phone = line.call(extra);
    let mut wire = line.accept().await;
    let invite = wire.next("INVITE ").await;
    assert!(header(&invite, "Via").starts_with("SIP/2.0/TCP "));
    assert!(header(&invite, "Contact").contains(";transport=tcp"));
    let answer = "Contact: <sip:bob@127.0.0.1:9>\r\nContent-Type: application/sdp\r\n";
    wire.answer(&invite, "200 OK", answer, &sdp(own)).await;
    wire.next("ACK ").await;
    let ok = line.heard("SIP/2.0 200 ").await;
    for (method, cseq) in [("ACK", 1), ("BYE", 2)] {
        let mut text = request(method, "sip:2000@carrier", own, "UDP", "", "");
        for name in ["To", "Call-ID"] {
            let old = format!("{name}: {}\r\n", header(&text, name));
            text = text.replace(&old, &format!("{name}: {}\r\n", header(&ok, name)));
        }
        line.say(&text.replace("CSeq: 1 ", &format!("CSeq: {cseq} ")));
    }
    let bye = wire.next("BYE ").await;
    assert!(header(&bye, "Via").starts_with("SIP/2.0/TCP "));
    wire.answer(&bye, "200 OK", "", "").await;
    assert!(invite_of_phone.contains("sip:2000@carrier"));
    line.world.driver.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ack_and_bye_follow_the_invite_on_its_stream() {
    stays_on_its_stream(45_100, SipTransport::Tcp, "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ack_and_bye_follow_an_invite_that_was_too_large_for_a_datagram() {
    let long = format!("Subject: {}\r\n", "long ".repeat(300));
    stays_on_its_stream(45_200, SipTransport::Udp, &long).await;
}
