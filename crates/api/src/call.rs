//! One request on its way to its handler, and the answer on its way back.

use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::access::Caller;
use crate::errors::ApiError;
use crate::state::ApiState;
use crate::table::Body;
use crate::validate::Cleaned;

/// A request that passed authentication, access check and validation.
pub struct Call {
    /// Store, bus and settings.
    pub state: ApiState,
    /// Who asks.
    pub caller: Caller,
    /// Places of the path, decoded.
    pub path: Vec<(String, String)>,
    /// The tenant of the path after `~`; `*` where the operation allows it; empty when the path has none.
    pub domain: String,
    /// Query parameters.
    pub query: Cleaned,
    /// Body.
    pub body: Cleaned,
    /// Time of the request, milliseconds since the Unix epoch.
    pub now_ms: i64,
}

impl Call {
    /// A place of the path; empty when the operation has no such place.
    pub fn place(&self, name: &str) -> &str {
        self.path
            .iter()
            .find(|(key, _)| key == name)
            .map_or("", |(_, value)| value.as_str())
    }

    /// For the audit log.
    pub fn actor(&self) -> model::Actor {
        self.caller.actor(self.now_ms)
    }

    /// The record after the body was laid over it, and refused when the body changes its key or a field
    /// that this caller may not set.
    pub fn overlay<T>(&self, body: &Body, record: &T, keys: &[&str]) -> Result<T, ApiError>
    where
        T: Serialize + serde::de::DeserializeOwned,
    {
        let mut map = to_map(record)?;
        for (name, value) in &self.body.values {
            let old = map.get(name);
            if keys.contains(&name.as_str()) && old != Some(value) {
                return Err(ApiError::bad_request(format!(
                    "{name}: names the object and cannot change; delete it and create another."
                )));
            }
        }
        self.restricted(body, &map)?;
        map.extend(self.body.values.clone());
        from_map(map)
    }

    /// A new record from the body, refused when it sets a field that this caller may not set.
    pub fn fresh<T>(&self, body: &Body) -> Result<T, ApiError>
    where
        T: Serialize + serde::de::DeserializeOwned + Default,
    {
        let mut map = to_map(&T::default())?;
        self.restricted(body, &map)?;
        map.extend(self.body.values.clone());
        from_map(map)
    }

    /// A value that stays as it is may be sent by anybody.
    fn restricted(&self, body: &Body, before: &Map<String, Value>) -> Result<(), ApiError> {
        for field in body.fields() {
            let Some(least) = field.least else { continue };
            let changes = self
                .body
                .values
                .get(field.name)
                .is_some_and(|value| before.get(field.name) != Some(value));
            if changes && !self.caller.at_least(least) {
                return Err(ApiError::forbidden(format!(
                    "{}: is set by the scope {least} or a higher one.",
                    field.name
                )));
            }
        }
        Ok(())
    }
}

fn to_map<T: Serialize>(record: &T) -> Result<Map<String, Value>, ApiError> {
    match serde_json::to_value(record) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(ApiError::internal("a record did not become an object")),
        Err(error) => Err(ApiError::internal(error)),
    }
}

/// The validator already spoke about every field it knows; what is left here is a disagreement between
/// table and model, and still the caller's value.
fn from_map<T: serde::de::DeserializeOwned>(map: Map<String, Value>) -> Result<T, ApiError> {
    serde_json::from_value(Value::Object(map))
        .map_err(|error| ApiError::bad_request(format!("{error}.")))
}

/// Whether secrets are part of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrets {
    /// Left out.
    Hidden,
    /// Shown to one who could set them anyway.
    Shown,
}

/// The record as the fields of a schema show it, in their order.
pub fn present<T: Serialize>(body: &Body, record: &T, secrets: Secrets) -> Result<Value, ApiError> {
    let mut map = to_map(record)?;
    let mut out = Map::new();
    for field in body.fields() {
        if field.write_only || (field.secret && secrets == Secrets::Hidden) {
            continue;
        }
        if let Some(value) = map.remove(field.name) {
            out.insert(field.name.to_owned(), value);
        }
    }
    Ok(Value::Object(out))
}

/// A successful answer.
#[derive(Debug)]
pub struct Reply {
    status: StatusCode,
    body: Value,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Reply {
    /// 200 with a body.
    pub fn ok(body: Value) -> Self {
        Self {
            status: StatusCode::OK,
            body,
            headers: Vec::new(),
        }
    }

    /// 200 with one record, as the fields of a schema show it.
    pub fn one<T: Serialize>(body: &Body, record: &T, secrets: Secrets) -> Result<Self, ApiError> {
        Ok(Self::ok(present(body, record, secrets)?))
    }

    /// 200 with a list of records.
    pub fn list<T: Serialize>(
        body: &Body,
        records: &[T],
        secrets: Secrets,
    ) -> Result<Self, ApiError> {
        let shown: Result<Vec<Value>, ApiError> = records
            .iter()
            .map(|record| present(body, record, secrets))
            .collect();
        Ok(Self::ok(shown?.into()))
    }

    /// A record was made: 200 with it where the request asked for that, else 202.
    pub fn created<T: Serialize>(
        body: &Body,
        record: &T,
        synchronous: bool,
    ) -> Result<Self, ApiError> {
        if synchronous {
            Self::one(body, record, Secrets::Hidden)
        } else {
            Ok(Self::accepted())
        }
    }

    /// 202: done, nothing to show.
    pub fn accepted() -> Self {
        Self {
            status: StatusCode::ACCEPTED,
            body: json!({ "code": 202, "message": "Accepted" }),
            headers: Vec::new(),
        }
    }

    /// 200 with a count.
    pub fn total(total: u64) -> Self {
        Self::ok(json!({ "total": total }))
    }

    /// Adds a header; a value that is none is left out.
    pub fn with_header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((HeaderName::from_static(name), value));
        }
        self
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let mut response = (self.status, axum::Json(self.body)).into_response();
        for (name, value) in self.headers {
            response.headers_mut().insert(name, value);
        }
        response
    }
}
