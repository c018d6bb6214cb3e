//! What goes wrong, as the caller is told: `{"code": …, "message": …}` and the headers that belong to it.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use store::StoreError;

/// Longest message sent, in characters: a body full of mistakes does not come back as a longer one.
const MAX_MESSAGE_CHARS: usize = 4_000;

/// An answer other than success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// HTTP status, also written as `code`.
    pub status: StatusCode,
    /// One or more sentences for the person who made the request.
    pub message: String,
    headers: Vec<(HeaderName, String)>,
    /// The reference gives this operation's 404 another key for its text; both are sent.
    also_error_key: bool,
}

impl ApiError {
    /// An error with this status and text.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            headers: Vec::new(),
            also_error_key: false,
        }
    }

    /// 400: the request itself is wrong.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 401 with the challenge RFC 6750 section 3 asks for.
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, message).with_header(header::WWW_AUTHENTICATE, "Bearer")
    }

    /// 401 for a credential that was shown and is wrong.
    pub fn invalid_token(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, message)
            .with_header(header::WWW_AUTHENTICATE, "Bearer error=\"invalid_token\"")
    }

    /// 403: a valid credential that may not do this.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    /// 404: the path is allowed, the object is not there.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// 409: an object with this key exists.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }

    /// 429 with the seconds to wait.
    pub fn too_many(message: impl Into<String>, retry_after_seconds: u64) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, message)
            .with_header(header::RETRY_AFTER, retry_after_seconds.max(1).to_string())
    }

    /// 503: a part of the switch does not answer.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message).with_header(header::RETRY_AFTER, "1")
    }

    /// 500; the reason goes to the log, never to the caller.
    pub fn internal(reason: impl std::fmt::Display) -> Self {
        tracing::error!(%reason, "API request failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The request could not be carried out.",
        )
    }

    /// Adds a header to the answer.
    pub fn with_header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Repeats the message under `error`, which one operation of the contract has instead of `message`.
    pub fn with_error_key(mut self) -> Self {
        self.also_error_key = true;
        self
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.status.as_u16(), self.message)
    }
}

impl std::error::Error for ApiError {}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict { what } => Self::conflict(format!("{what} exists already.")),
            StoreError::NotFound { what } => Self::not_found(format!("{what} does not exist.")),
            StoreError::NoOwner { owner, .. } => {
                Self::not_found(format!("{owner} does not exist."))
            }
            StoreError::Busy | StoreError::Closed => {
                Self::unavailable("The switch is too busy; try again.")
            }
            StoreError::Locked => Self::unavailable(
                "Another process has locked the database of the switch; nothing was changed.",
            ),
            StoreError::Gone { .. } => Self::unavailable(
                "The database file of the switch was removed or replaced; nothing was changed.",
            ),
            error @ StoreError::Unwritable { .. } => {
                tracing::error!(%error, "a change was refused");
                Self::unavailable(
                    "The database of the switch cannot be written; nothing was changed.",
                )
            }
            StoreError::DiskFull => Self::unavailable("The switch has no room left on its disk."),
            other => Self::internal(other),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let message = if self.message.chars().count() > MAX_MESSAGE_CHARS {
            let cut: String = self.message.chars().take(MAX_MESSAGE_CHARS).collect();
            cut + " …"
        } else {
            self.message
        };
        let mut body = json!({ "code": self.status.as_u16(), "message": message });
        if self.also_error_key {
            body["error"] = body["message"].clone();
        }
        let mut response = (self.status, axum::Json(body)).into_response();
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn body(error: ApiError) -> serde_json::Value {
        let bytes = error
            .into_response()
            .into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes();
        serde_json::from_slice(&bytes).unwrap()
    }

    #[tokio::test]
    async fn what_went_wrong_inside_stays_inside() {
        let error = ApiError::from(StoreError::Database {
            why: "no such table: secrets".into(),
        });
        assert_eq!(error.status, StatusCode::INTERNAL_SERVER_ERROR);
        let body = body(error).await;
        assert_eq!(body["code"], 500);
        assert!(!body.to_string().contains("secrets"), "{body}");
    }

    #[tokio::test]
    async fn messages_are_bounded() {
        let body = body(ApiError::bad_request("é".repeat(2 * MAX_MESSAGE_CHARS))).await;
        assert!(body["message"].as_str().unwrap().chars().count() < MAX_MESSAGE_CHARS + 5);
    }
}
