//! From the operation table to routes: one dispatcher for all operations.

use std::any::Any;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::body::{Body as HttpBody, HttpBody as _};
use axum::extract::{ConnectInfo, FromRequestParts, RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, any, on};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tower_http::catch_panic::CatchPanicLayer;

use crate::access;
use crate::call::Call;
use crate::errors::ApiError;
use crate::resources;
use crate::state::ApiState;
use crate::table::{Operation, Verb};
use crate::validate::{self, Cleaned, Handling};
use crate::{docs, openapi};

/// Largest request body, in bytes. The largest record of the contract needs a tenth of it.
pub const MAX_BODY_BYTES: usize = 256 * 1024;
/// Time a client has to send a body, in seconds.
const BODY_TIMEOUT_SECONDS: u64 = 20;
/// Most query parameters looked at.
const MAX_QUERY_PARAMETERS: usize = 64;

const IGNORED_FIELDS: &str = "x-ignored-fields";
const PREFER: &str = "prefer";
const PREFERENCE_APPLIED: &str = "preference-applied";

/// Every route of the API, with its documentation. Serve it with
/// `into_make_service_with_connect_info::<SocketAddr>()`: the client's address decides about keys.
pub fn router(state: ApiState) -> Router {
    let mut paths: BTreeMap<String, Vec<Line>> = BTreeMap::new();
    for operation in resources::operations() {
        let path = format!("{}{}", operation.base.prefix(), operation.path);
        paths.entry(path).or_default().push(Line {
            operation,
            own: None,
        });
    }
    serve_own(&mut paths);
    let mut router = Router::new();
    for (path, lines) in paths {
        router = router.route(&path, methods(&lines));
    }
    let document = Bytes::from(openapi::document().to_string());
    router
        .merge(docs::router(document))
        .route("/ns-api/v2", any(no_such_path))
        .route("/ns-api/v2/", any(no_such_path))
        .route("/ns-api/v2/{*rest}", any(no_such_path))
        .route("/strowger/v1/{*rest}", any(no_such_path))
        .layer(CatchPanicLayer::custom(panicked))
        .with_state(state)
}

/// An operation at one of its paths.
#[derive(Clone, Copy)]
struct Line {
    operation: &'static Operation,
    /// The place that this path writes out as `~`.
    own: Option<&'static str>,
}

/// A path that ends in `~` hides its neighbour that ends in a place. It takes over what it does not do itself.
fn serve_own(paths: &mut BTreeMap<String, Vec<Line>>) {
    let all: Vec<Line> = paths.values().flatten().copied().collect();
    for (path, lines) in paths.iter_mut().filter(|(path, _)| path.ends_with("/~")) {
        for line in &all {
            let Some((parent, place)) = line.operation.path.rsplit_once('/') else {
                continue;
            };
            let Some(place) = place
                .strip_prefix('{')
                .and_then(|place| place.strip_suffix('}'))
            else {
                continue;
            };
            let hidden = *path == format!("{}{parent}/~", line.operation.base.prefix());
            if hidden
                && !lines
                    .iter()
                    .any(|own| own.operation.method == line.operation.method)
            {
                lines.push(Line {
                    own: Some(place),
                    ..*line
                });
            }
        }
    }
}

fn methods(lines: &[Line]) -> MethodRouter<ApiState> {
    let mut allow: Vec<&str> = lines
        .iter()
        .map(|line| line.operation.method.as_str())
        .collect();
    allow.sort_unstable();
    let allow = allow.join(", ");
    let mut routes = MethodRouter::new().fallback(move || std::future::ready(wrong_method(&allow)));
    for line in lines {
        let line = *line;
        let filter = match line.operation.method {
            Verb::Get => MethodFilter::GET,
            Verb::Post => MethodFilter::POST,
            Verb::Put => MethodFilter::PUT,
            Verb::Delete => MethodFilter::DELETE,
        };
        let serve = move |State(state): State<ApiState>, request: Request| async move {
            // RFC 7240 section 3: said on every answer, because the preference was honoured in every answer.
            let handling = handling(request.headers());
            let mut response = dispatch(line, handling, state, request)
                .await
                .unwrap_or_else(IntoResponse::into_response);
            if handling == Handling::Strict && line.operation.body.is_some() {
                let applied = HeaderValue::from_static("handling=strict");
                response.headers_mut().insert(PREFERENCE_APPLIED, applied);
            }
            response
                .headers_mut()
                .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            let nosniff = HeaderValue::from_static("nosniff");
            response
                .headers_mut()
                .insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
            tracing::debug!(
                operation = line.operation.id,
                status = response.status().as_u16(),
                "API request"
            );
            response
        };
        routes = routes.merge(on(filter, serve));
    }
    routes
}

/// 405 with what is allowed.
pub(crate) fn wrong_method(allow: &str) -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("This path takes {allow}."),
    )
    .with_header(header::ALLOW, allow)
}

async fn no_such_path() -> ApiError {
    ApiError::not_found("There is no such path.")
}

fn panicked(_: Box<dyn Any + Send>) -> Response {
    ApiError::internal("a handler panicked").into_response()
}

/// Everything between the wire and the handler, in the order that gives strangers the least.
async fn dispatch(
    line: Line,
    handling: Handling,
    state: ApiState,
    request: Request,
) -> Result<Response, ApiError> {
    let operation = line.operation;
    let now_ms = state.now_ms();
    let (mut parts, body) = request.into_parts();
    let address = client_address(&parts);
    let caller = access::authenticate(&state, &parts.headers, address, now_ms).await?;
    access::may_call(&caller, operation)?;
    let mut path = path_places(&mut parts).await?;
    path.extend(line.own.map(|place| (place.to_owned(), "~".to_owned())));
    let domain = match path.iter().find(|(name, _)| name == "domain") {
        Some((_, written)) => access::path_domain(&state, &caller, operation, written).await?,
        None => String::new(),
    };
    let query = query_parameters(operation, &parts)?;
    let cleaned = match operation.body {
        Some(fields) => {
            json_type(&parts.headers)?;
            validate::body(&fields, &read(body).await?, handling).map_err(ApiError::bad_request)?
        }
        None => Cleaned::default(),
    };
    let ignored = ignored_header(&cleaned.ignored);
    let call = Call {
        state,
        caller,
        path,
        domain,
        query,
        body: cleaned,
        now_ms,
    };
    let reply = if operation.method.writes() {
        // A client that hangs up must not stop a change between the store and the switch.
        tokio::spawn((operation.handler)(call))
            .await
            .map_err(ApiError::internal)??
    } else {
        (operation.handler)(call).await?
    };
    let mut response = reply.into_response();
    if let Some(ignored) = ignored {
        response.headers_mut().insert(IGNORED_FIELDS, ignored);
    }
    Ok(response)
}

/// The other end of the connection. Forwarding headers are not believed: anybody can write them.
fn client_address(parts: &Parts) -> IpAddr {
    parts
        .extensions
        .get::<ConnectInfo<SocketAddr>>()
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ConnectInfo(address)| {
            address.ip()
        })
}

async fn path_places(parts: &mut Parts) -> Result<Vec<(String, String)>, ApiError> {
    let places = RawPathParams::from_request_parts(parts, &())
        .await
        .map_err(|_| {
            ApiError::bad_request("The path is not UTF-8 after its percent-encoding is taken off.")
        })?;
    let places: Vec<(String, String)> = places
        .iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    match places
        .iter()
        .find(|(_, value)| value.chars().any(char::is_control))
    {
        Some((name, _)) => Err(ApiError::bad_request(format!(
            "{name}: holds a control character."
        ))),
        None => Ok(places),
    }
}

fn query_parameters(operation: &Operation, parts: &Parts) -> Result<Cleaned, ApiError> {
    let text = parts.uri.query().unwrap_or_default();
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(text)
        .map_err(|_| ApiError::bad_request("The query is not made of name=value pairs."))?;
    if pairs.len() > MAX_QUERY_PARAMETERS {
        return Err(ApiError::bad_request(format!(
            "The query has more than {MAX_QUERY_PARAMETERS} parameters."
        )));
    }
    validate::query(operation.query, &pairs).map_err(ApiError::bad_request)
}

/// Whether the client asked for strict handling (RFC 7240: several headers, several preferences each).
fn handling(headers: &HeaderMap) -> Handling {
    let strict = headers
        .get_all(PREFER)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| {
            value.split([',', ';']).any(|preference| {
                let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
                name.trim().eq_ignore_ascii_case("handling")
                    && value
                        .trim()
                        .trim_matches('"')
                        .eq_ignore_ascii_case("strict")
            })
        });
    if strict {
        Handling::Strict
    } else {
        Handling::Lenient
    }
}

/// A body without a type is read as JSON; any other type is refused.
fn json_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Ok(());
    };
    let essence = value
        .to_str()
        .unwrap_or("?")
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "The body must be application/json.",
    ))
}

async fn read(body: HttpBody) -> Result<Bytes, ApiError> {
    let too_large = || {
        ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("The body is longer than {MAX_BODY_BYTES} bytes."),
        )
    };
    // A client that announces too much, and waits for 100 before it sends, is told so before it does.
    if body.size_hint().lower() > MAX_BODY_BYTES as u64 {
        return Err(too_large());
    }
    let whole = Limited::new(body, MAX_BODY_BYTES).collect();
    match tokio::time::timeout(Duration::from_secs(BODY_TIMEOUT_SECONDS), whole).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(ApiError::bad_request("The body could not be read.")),
        Err(_) => Err(ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            "The body did not arrive in time.",
        )),
    }
}

/// The unknown names, as far as they can stand in a header.
fn ignored_header(names: &[String]) -> Option<HeaderValue> {
    let plain = |name: &&String| {
        !name.is_empty()
            && name.len() <= 64
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    let mut listed: Vec<&str> = names.iter().filter(plain).map(String::as_str).collect();
    if listed.len() < names.len() {
        listed.push("...");
    }
    if listed.is_empty() {
        None
    } else {
        HeaderValue::from_str(&listed.join(", ")).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Access, Star};

    #[test]
    fn preferences() {
        let with = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(PREFER, HeaderValue::from_static(value));
            handling(&headers)
        };
        assert_eq!(with("handling=strict"), Handling::Strict);
        assert_eq!(with("respond-async, Handling=\"strict\""), Handling::Strict);
        assert_eq!(with("handling=lenient"), Handling::Lenient);
        assert_eq!(handling(&HeaderMap::new()), Handling::Lenient);
    }

    #[test]
    fn ignored_names_cannot_break_the_header() {
        let names = ["a".to_owned(), "b\r\nX: y".to_owned()];
        assert_eq!(ignored_header(&names).unwrap(), "a, ...");
        assert_eq!(ignored_header(&[]), None);
    }

    #[test]
    fn every_operation_is_complete() {
        for operation in resources::operations() {
            assert!(!operation.answers.is_empty(), "{}", operation.id);
            let has_body = matches!(operation.method, Verb::Post | Verb::Put);
            assert_eq!(operation.body.is_some(), has_body, "{}", operation.id);
            assert!(operation.access != Access::Anyone || operation.star == Star::Refused);
        }
    }
}
