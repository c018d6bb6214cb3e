//! What listeners on the bus hear of the way to peers.

mod common;

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use bus::{Event, Heard, Listener};
use common::{World, connection, header, receive_until};
use driver::{DriverConfig, PortRange};
use model::{
    Connection, Reachability, ReachabilityState, Registration, RegistrationDirection,
    RegistrationEnd, RegistrationEvent,
};

fn config(first_port: u16, options_ping_seconds: u32) -> DriverConfig {
    DriverConfig {
        sip: vec!["127.0.0.1:0".parse().expect("test address")],
        options_ping_seconds,
        rtp_ports: PortRange {
            first: first_port,
            last: first_port + 99,
        },
        shards: 2,
        ..DriverConfig::default()
    }
}

/// Answers the next request of that method in a thread of its own, for the driver must not wait for it.
async fn answer(
    phone: &Arc<UdpSocket>,
    switch: std::net::SocketAddr,
    method: &'static str,
    line: &'static str,
) -> String {
    let phone = Arc::clone(phone);
    let answered = tokio::task::spawn_blocking(move || {
        let request = receive_until(&phone, method);
        let mut text = format!("SIP/2.0 {line}\r\n");
        for name in ["Via", "From", "To", "Call-ID", "CSeq", "Contact"] {
            let tag = if name == "To" { ";tag=x" } else { "" };
            text += &format!("{name}: {}{tag}\r\n", header(&request, name));
        }
        text += "Content-Length: 0\r\n\r\n";
        phone.send_to(text.as_bytes(), switch).expect("send");
        request
    });
    answered.await.expect("a request came")
}

async fn next(listener: &mut Listener) -> Event {
    let heard = tokio::time::timeout(Duration::from_secs(20), listener.next());
    match heard.await.expect("in time") {
        Some(Heard::Event(event)) => event,
        other => panic!("{other:?}"),
    }
}

async fn reached(listener: &mut Listener) -> Reachability {
    match next(listener).await {
        Event::Reachability(report) => Reachability::clone(&report),
        other => panic!("{other:?}"),
    }
}

async fn registered(listener: &mut Listener) -> Registration {
    match next(listener).await {
        Event::Registration(report) => Registration::clone(&report),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_stops_answering_options_is_told_and_counted() {
    let world = World::start_with(config(44_000, 1)).await;
    let mut listener = world.bus.listen();
    let phone = Arc::new(world.phone());
    let address = phone.local_addr().expect("local");
    world
        .insert(vec![connection("carrier", &address.to_string())])
        .await;
    let options = answer(&phone, world.address, "OPTIONS ", "200 OK").await;
    assert!(options.starts_with(&format!("OPTIONS sip:{address} SIP/2.0")));
    assert!(header(&options, "Contact").contains(&world.address.to_string()));
    let up = reached(&mut listener).await;
    assert_eq!((up.state, up.status), (ReachabilityState::Up, Some(200)));
    assert_eq!(up.connection.connection_orig_match_pattern, "sip*@carrier");
    for _ in 0..2 {
        answer(&phone, world.address, "OPTIONS ", "503 Service Unavailable").await;
    }
    let down = reached(&mut listener).await;
    assert_eq!(
        (down.state, down.status),
        (ReachabilityState::Down, Some(503))
    );

    let metric = "strowger_connections_pinged{state=\"down\"} 1";
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        let metrics = world.driver.metrics();
        if metrics.contains(metric) && metrics.contains("strowger_options_pings_missed_total 2") {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{metrics}");
        tokio::task::yield_now().await;
    }
    world.driver.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_of_a_registration_is_told() {
    let world = World::start_with(config(44_100, 0)).await;
    let mut listener = world.bus.listen();
    let phone = Arc::new(world.phone());
    let address = phone.local_addr().expect("local");
    let carrier = Connection {
        connection_sip_authenticate_as_client_enabled: true,
        connection_sip_registration_username: "trunk".into(),
        connection_sip_registration_password: "secret".into(),
        ..connection("carrier", &address.to_string())
    };
    world.insert(vec![carrier]).await;
    answer(&phone, world.address, "REGISTER ", "200 OK").await;
    let report = registered(&mut listener).await;
    assert_eq!(report.direction, RegistrationDirection::Outbound);
    assert!(
        matches!(
            report.event,
            RegistrationEvent::Registered { new: true, .. }
        ),
        "{report:?}"
    );
    assert!(!format!("{report:?}").contains("secret"));

    world.driver.drain(1).await;
    answer(&phone, world.address, "REGISTER ", "200 OK").await;
    let report = registered(&mut listener).await;
    assert_eq!(
        report.event,
        RegistrationEvent::Ended(RegistrationEnd::Record)
    );
    world.driver.stop().await;
}
