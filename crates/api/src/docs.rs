//! The API browser: one page with its script, style and icon, all inside the binary.

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use bytes::Bytes;

use crate::router::wrong_method;
use crate::state::ApiState;

/// The page loads from its own host only, and cannot be framed.
const POLICY: &str =
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `/docs` and the OpenAPI document. Both are public: they say what can be asked, not what is stored.
pub(crate) fn router(document: Bytes) -> Router<ApiState> {
    Router::new()
        .route(
            "/ns-api/v2/openapi.json",
            get(move || std::future::ready(file("application/json", document.clone())))
                .fallback(|| std::future::ready(wrong_method("GET"))),
        )
        .route(
            "/docs",
            page("text/html; charset=utf-8", include_str!("docs/index.html")),
        )
        .route(
            "/docs/",
            page("text/html; charset=utf-8", include_str!("docs/index.html")),
        )
        .route(
            "/docs/docs.js",
            page(
                "text/javascript; charset=utf-8",
                include_str!("docs/docs.js"),
            ),
        )
        .route(
            "/docs/docs.css",
            page("text/css; charset=utf-8", include_str!("docs/docs.css")),
        )
        .route(
            "/docs/icon.svg",
            page("image/svg+xml", include_str!("docs/icon.svg")),
        )
}

fn page(content_type: &'static str, text: &'static str) -> MethodRouter<ApiState> {
    get(move || std::future::ready(file(content_type, Bytes::from_static(text.as_bytes()))))
}

fn file(content_type: &'static str, bytes: Bytes) -> Response {
    let mut response = bytes.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(POLICY),
    );
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    response
}
