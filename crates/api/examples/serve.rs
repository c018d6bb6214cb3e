//! The API alone, on a store in memory: to look at `/docs`, or to write a client without a switch.
//!
//! `cargo run -p api --example serve` prints the address and a Super User key.

use std::net::SocketAddr;

use api::{ApiConfig, ApiState, keys};
use model::{Actor, ApiKey, Scope};
use store::Store;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = Store::open_in_memory()?;
    let new = keys::generate(Scope::SuperUser);
    let record = ApiKey {
        key_id: new.key_id,
        description: "key of the example".into(),
        domain: "*".into(),
        user_scope: Scope::SuperUser,
        can_create_keys: true,
        ..ApiKey::default()
    };
    let hash = new.hash;
    store
        .write(move |writer| writer.insert_api_key(&Actor::system("example", 0), record, &hash))
        .await?;
    let state = ApiState::new(store, bus::Bus::local(), ApiConfig::new("localhost"));
    let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    println!("http://{}/docs", listener.local_addr()?);
    println!("{}", new.key);
    let service = api::router(state).into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).await?;
    Ok(())
}
