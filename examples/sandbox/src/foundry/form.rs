//! Bodies that are no JSON object: bytes as they came, and the parts of a form.

use std::sync::Arc;

use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use http::{StatusCode, header};

use super::Foundry;
use super::error::ApiError;
use super::http::Payload;

/// The largest body with a file, bytes. The service takes archives of 250 MB.
const MAX_BODY: usize = 32 * 1024 * 1024;

/// A body of any kind.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) content_type: String,
    pub(crate) body: Bytes,
}

impl Raw {
    /// The body of a request, of at most so many bytes.
    pub(crate) async fn of(request: Request, limit: usize) -> Result<Self, ApiError> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let content_type = kind.unwrap_or_default().to_owned();
        let body = axum::body::to_bytes(request.into_body(), limit).await.map_err(|_| {
            ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", "The request body is too large.")
        })?;
        Ok(Self { content_type, body })
    }

    /// The boundary, when this is a form.
    pub(crate) fn boundary(&self) -> Option<&str> {
        let (kind, parameters) = self.content_type.split_once(';')?;
        if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
            return None;
        }
        parameters.split(';').find_map(|one| one.trim().strip_prefix("boundary=")).map(|text| text.trim_matches('"'))
    }

    /// Head and content of one part of a form. None when there is none, or when this is no form.
    pub(crate) fn part(&self, name: &str) -> Option<(String, Bytes)> {
        let boundary = self.boundary()?;
        let mark = format!("--{boundary}\r\n");
        let end = format!("\r\n--{boundary}");
        let wanted = format!("; name=\"{name}\"");
        let find = |from: usize, what: &[u8]| {
            self.body.get(from..)?.windows(what.len()).position(|window| window == what).map(|at| from + at)
        };
        let mut from = 0;
        while let Some(at) = find(from, mark.as_bytes()) {
            let start = at + mark.len();
            let split = find(start, b"\r\n\r\n")?;
            let head = String::from_utf8_lossy(self.body.get(start..split)?).into_owned();
            let stop = find(split + 4, end.as_bytes())?;
            if head.contains(&wanted) {
                return Some((head, self.body.slice(split + 4..stop)));
            }
            from = stop;
        }
        None
    }

    /// The JSON object that this is.
    pub(crate) fn json(&self) -> Result<Payload, ApiError> {
        Payload::parse(&self.content_type, &self.body)
    }
}

impl FromRequest<Arc<Foundry>> for Raw {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &Arc<Foundry>) -> Result<Self, ApiError> {
        Self::of(request, MAX_BODY).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found_by_name_in_any_order() {
        let text = "--b\r\ncontent-disposition: form-data; name=\"code\"; filename=\"metadata\"\r\n\r\nPK\r\n\r\n--\r\n--b\r\n\
                    content-disposition: form-data; name=\"metadata\"\r\n\r\n{}\r\n--b--\r\n";
        for content_type in ["multipart/form-data; boundary=b", "multipart/form-data; charset=x; boundary=\"b\""] {
            let form = Raw { content_type: content_type.to_owned(), body: Bytes::from_static(text.as_bytes()) };
            assert_eq!(form.part("code").unwrap().1, "PK\r\n\r\n--");
            assert_eq!(form.part("metadata").unwrap().1, "{}");
            assert!(form.part("other").is_none());
        }
        let json = Raw { content_type: "application/json".to_owned(), body: Bytes::from_static(text.as_bytes()) };
        assert!(json.part("code").is_none());
    }
}
