mod activity;
mod foundry;
mod jwks;
mod jwt;
mod oidc;
mod service_url;
mod support;
mod token_response;

use super::Target;

/// What is fuzzed.
pub const TARGETS: &[Target] = &[
    Target { name: "jwt_parse", about: "access and id tokens, signed and not", make: jwt::make },
    Target { name: "jwks_parse", about: "key documents", make: jwks::make },
    Target { name: "oidc_parse", about: "discovery and instance documents", make: oidc::make },
    Target { name: "token_response", about: "answers of the token endpoint", make: token_response::make },
    Target { name: "channel_token", about: "tokens of the Bot Framework channel", make: activity::make_token },
    Target { name: "activity_parse", about: "bodies of channel requests", make: activity::make_body },
    Target { name: "connector_answer", about: "answers of the connector", make: activity::make_answer },
    Target { name: "service_url", about: "service URLs and project endpoints", make: service_url::make },
    Target { name: "sse", about: "event streams, in any pieces", make: foundry::make_stream },
    Target { name: "response_json", about: "responses and items of an agent", make: foundry::make_response },
    Target { name: "error_json", about: "answers of Foundry, of any status", make: foundry::make_answer },
];
