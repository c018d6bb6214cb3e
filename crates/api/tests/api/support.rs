//! A small world: two resellers, three tenants, and a key for each kind of caller.
//!
//! Every answer that a test gets is held against the OpenAPI document first: a status or a body that is not
//! documented fails the test, whatever the test was about.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex};

use api::{ApiConfig, ApiState, keys};
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use bus::Bus;
use http_body_util::BodyExt;
use jsonschema::Validator;
use model::{Actor, AllowedModels, ApiKey, Domain, Scope};
use serde_json::{Value, json};
use store::Store;
use tower::ServiceExt;

pub(crate) const PREFIX: &str = "/ns-api/v2";
/// 2026-01-02 03:04:05 UTC.
pub(crate) const NOW_MS: i64 = 1_767_323_045_000;

static DOCUMENT: LazyLock<Value> = LazyLock::new(api::openapi::document);
static VALIDATORS: Mutex<BTreeMap<String, Arc<Validator>>> = Mutex::new(BTreeMap::new());

pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) bus: Bus,
    pub(crate) router: Router,
    /// Super User who may make keys.
    pub(crate) root: String,
    /// Reseller `r1`: owns `a.example` and `b.example`.
    pub(crate) reseller: String,
    /// Reseller `r2`: owns `c.example`.
    pub(crate) other_reseller: String,
    /// Office Manager of `a.example`.
    pub(crate) office_a: String,
    /// Office Manager of `b.example`.
    pub(crate) office_b: String,
    /// Basic User of `a.example`.
    pub(crate) user: String,
}

pub(crate) struct Got {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(configure: impl FnOnce(&mut ApiConfig)) -> Self {
        let store = Store::open_in_memory().unwrap();
        let bus = Bus::local();
        let mut config = ApiConfig::new("switch1");
        configure(&mut config);
        let state = ApiState::with_clock(store.clone(), bus.clone(), config, || NOW_MS);
        let actor = Actor::system("test", 0);
        store
            .write(move |writer| {
                for (domain, reseller) in [
                    ("a.example", "r1"),
                    ("b.example", "r1"),
                    ("c.example", "r2"),
                ] {
                    let domain = Domain {
                        domain: domain.into(),
                        reseller: reseller.into(),
                        ..Domain::default()
                    };
                    writer.insert(&actor, domain)?;
                }
                Ok(())
            })
            .await
            .unwrap();
        let key = |scope, reseller: &'static str, domain: &'static str| {
            let store = store.clone();
            async move {
                let record = ApiKey {
                    user_scope: scope,
                    reseller: reseller.into(),
                    domain: domain.into(),
                    can_create_keys: true,
                    ..ApiKey::default()
                };
                add_key(&store, record).await
            }
        };
        Self {
            root: key(Scope::SuperUser, "*", "*").await,
            reseller: key(Scope::Reseller, "r1", "*").await,
            other_reseller: key(Scope::Reseller, "r2", "*").await,
            office_a: key(Scope::OfficeManager, "r1", "a.example").await,
            office_b: key(Scope::OfficeManager, "r1", "b.example").await,
            user: key(Scope::BasicUser, "r1", "a.example").await,
            router: api::router(state),
            store,
            bus,
        }
    }

    /// A key with these limits for the Office Manager of `a.example`.
    pub(crate) async fn limited(&self, change: impl FnOnce(&mut ApiKey)) -> String {
        let mut record = ApiKey {
            user_scope: Scope::OfficeManager,
            reseller: "r1".into(),
            domain: "a.example".into(),
            allowed_models: AllowedModels::default(),
            ..ApiKey::default()
        };
        change(&mut record);
        add_key(&self.store, record).await
    }

    pub(crate) async fn get(&self, key: &str, path: &str) -> Got {
        self.send(request(Method::GET, path, key, None)).await
    }

    pub(crate) async fn post(&self, key: &str, path: &str, body: Value) -> Got {
        self.send(request(Method::POST, path, key, Some(body)))
            .await
    }

    pub(crate) async fn put(&self, key: &str, path: &str, body: Value) -> Got {
        self.send(request(Method::PUT, path, key, Some(body))).await
    }

    pub(crate) async fn delete(&self, key: &str, path: &str) -> Got {
        self.send(request(Method::DELETE, path, key, None)).await
    }

    pub(crate) async fn send(&self, mut request: Request<Body>) -> Got {
        if request
            .extensions()
            .get::<ConnectInfo<SocketAddr>>()
            .is_none()
        {
            request
                .extensions_mut()
                .insert(ConnectInfo(SocketAddr::from(([192, 0, 2, 7], 4000))));
        }
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        let got = Got {
            status: parts.status,
            headers: parts.headers,
            body,
        };
        check(&method, &path, &got);
        got
    }
}

async fn add_key(store: &Store, mut record: ApiKey) -> String {
    let new = keys::generate(record.user_scope);
    record.key_id = new.key_id;
    record.description = "key of a test".into();
    let hash = new.hash;
    store
        .write(move |writer| writer.insert_api_key(&Actor::system("test", 0), record, &hash))
        .await
        .unwrap();
    new.key
}

/// A request under the API's prefix; an empty key sends none.
pub(crate) fn request(method: Method, path: &str, key: &str, body: Option<Value>) -> Request<Body> {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("{PREFIX}{path}"));
    if !key.is_empty() {
        request = request.header(header::AUTHORIZATION, format!("Bearer {key}"));
    }
    match body {
        Some(body) => request
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string()))
            .unwrap(),
        None => request.body(Body::empty()).unwrap(),
    }
}

impl Got {
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self.body
    }

    /// The message of a refusal with this status.
    #[track_caller]
    pub(crate) fn refused(self, status: u16) -> String {
        let body = self.expect(status);
        body["message"].as_str().unwrap().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

/// Holds an answer against the document.
fn check(method: &Method, path: &str, got: &Got) {
    let path = path.strip_prefix(PREFIX).unwrap_or(path);
    let operation = DOCUMENT["paths"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(template, _)| fits(template, path))
        .min_by_key(|(template, _)| template.matches('{').count());
    let error = json!({ "$ref": "#/components/schemas/Status" });
    let schema =
        match operation.and_then(|(_, item)| item.get(method.as_str().to_ascii_lowercase())) {
            Some(operation) => {
                let documented = &operation["responses"][got.status.as_str()];
                assert!(
                    !documented.is_null(),
                    "{method} {path}: {} is not documented: {}",
                    got.status,
                    got.body
                );
                let documented = match documented["$ref"].as_str() {
                    Some(target) => DOCUMENT.pointer(&target[1..]).unwrap(),
                    None => documented,
                };
                documented["content"]["application/json"]["schema"].clone()
            }
            None if got.status.is_client_error() => error,
            None => return,
        };
    let validator = validator(schema);
    let problems: Vec<String> = validator
        .iter_errors(&got.body)
        .map(|problem| format!("{problem} at {}", problem.instance_path()))
        .collect();
    assert!(
        problems.is_empty(),
        "{method} {path}: {problems:?} in {}",
        got.body
    );
}

/// Compiling a schema takes longer than a request, and there are few schemas.
fn validator(mut schema: Value) -> Arc<Validator> {
    let mut known = VALIDATORS.lock().unwrap();
    let compiled = known.entry(schema.to_string()).or_insert_with(|| {
        schema["components"] = DOCUMENT["components"].clone();
        Arc::new(jsonschema::validator_for(&schema).unwrap())
    });
    compiled.clone()
}

fn fits(template: &str, path: &str) -> bool {
    let (template, path): (Vec<&str>, Vec<&str>) =
        (template.split('/').collect(), path.split('/').collect());
    template.len() == path.len()
        && template
            .iter()
            .zip(&path)
            .all(|(t, p)| t.starts_with('{') || t == p)
}
