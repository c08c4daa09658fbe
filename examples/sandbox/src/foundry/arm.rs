//! The part of Azure Resource Manager that stands before an agent: below `/foundry/arm`, with the bearer of the project.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Value, json};

use super::error::ApiError;
use super::http::{ArmCall, Payload};

type Answer = Result<Json<Value>, ApiError>;

/// The only provider of sign-in.
const ENTRA_V2: &str = "30dd229c-58e3-4a48-bdfd-91ec48eb906c";

/// `GET /subscriptions/{s}/providers/Microsoft.BotService`; registered after it was asked for.
pub(crate) async fn provider(call: ArmCall) -> Answer {
    call.version("2021-04-01")?;
    let state = if call.foundry.store().provider_registered { "Registered" } else { "NotRegistered" };
    Ok(Json(json!({"namespace": "Microsoft.BotService", "registrationState": state})))
}

/// `POST …/register`.
pub(crate) async fn register(call: ArmCall) -> Answer {
    call.version("2021-04-01")?;
    call.foundry.store().provider_registered = true;
    Ok(Json(json!({"namespace": "Microsoft.BotService", "registrationState": "Registering"})))
}

/// `POST /providers/Microsoft.BotService/checkNameAvailability`.
pub(crate) async fn check_name(call: ArmCall, Payload(members): Payload) -> Answer {
    call.version("2022-09-15")?;
    let name = members.get("name").and_then(Value::as_str).unwrap_or_default();
    let taken = call.foundry.store().azure.keys().any(|id| id.ends_with(&format!("/botServices/{name}")));
    let message = if taken { "The name is taken." } else { "" };
    Ok(Json(json!({"valid": !taken, "message": message})))
}

/// `POST …/listAuthServiceProviders`.
pub(crate) async fn auth_providers(call: ArmCall) -> Answer {
    call.version("2022-09-15")?;
    let parameter =
        |name: &str, required: bool| json!({"name": name, "type": "String", "displayName": name, "required": required});
    Ok(Json(json!({"value": [{"properties": {
        "id": ENTRA_V2, "serviceProviderName": "Aadv2", "displayName": "Azure Active Directory v2",
        "parameters": [parameter("tenantID", true), parameter("tokenExchangeUrl", false)],
    }}]})))
}

/// `GET` of a bot, a channel or a connection.
pub(crate) async fn get(call: ArmCall) -> Answer {
    call.version("2022-09-15")?;
    let id = call.id();
    call.foundry.store().azure.get(&id).cloned().map(Json).ok_or_else(|| missing(&id))
}

/// `PUT` of a bot, a channel or a connection.
pub(crate) async fn put(call: ArmCall, Payload(members): Payload) -> Result<Response, ApiError> {
    call.version("2022-09-15")?;
    let id = call.id();
    check(&call, &id, &Value::Object(members.clone()))?;
    let mut resource = Value::Object(members);
    if let Some(members) = resource.as_object_mut() {
        members.insert("id".to_owned(), json!(id));
        members.insert("name".to_owned(), json!(id.rsplit('/').next().unwrap_or_default()));
    }
    if let Some(secret) = resource.pointer_mut("/properties/clientSecret") {
        *secret = Value::Null;
    }
    let new = call.foundry.store().azure.insert(id, resource.clone()).is_none();
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(resource)).into_response())
}

fn missing(id: &str) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "ResourceNotFound", format!("The resource '{id}' was not found."))
}

/// What a resource must have, and that its bot is there.
fn check(call: &ArmCall, id: &str, body: &Value) -> Result<(), ApiError> {
    let refuse = |what: &str| Err(ApiError::bad("InvalidRequestContent", format!("{what} is missing or wrong.")));
    let text = |path: &str| body.pointer(path).and_then(Value::as_str).unwrap_or_default();
    if text("/location") != "global" {
        return refuse("location");
    }
    if let Some((bot, part)) = id.split_once("/channels/").or_else(|| id.split_once("/connections/")) {
        if !call.foundry.store().azure.contains_key(bot) {
            return Err(missing(bot));
        }
        if id.contains("/channels/") {
            return if text("/properties/channelName") == part { Ok(()) } else { refuse("channelName") };
        }
        let members = ["/properties/clientId", "/properties/clientSecret", "/properties/scopes"];
        if text("/properties/serviceProviderId") != ENTRA_V2 || members.iter().any(|path| text(path).is_empty()) {
            return refuse("a property of the connection");
        }
        return Ok(());
    }
    if !call.foundry.store().provider_registered {
        return Err(ApiError::new(
            StatusCode::CONFLICT,
            "MissingSubscriptionRegistration",
            "The subscription is not registered to use namespace 'Microsoft.BotService'.",
        ));
    }
    let needed =
        ["/kind", "/sku/name", "/properties/displayName", "/properties/msaAppId", "/properties/msaAppTenantId"];
    if needed.iter().any(|path| text(path).is_empty()) || !text("/properties/endpoint").starts_with("https://") {
        return refuse("a property of the bot");
    }
    if !matches!(text("/properties/msaAppType"), "SingleTenant" | "UserAssignedMSI" | "MultiTenant") {
        return refuse("msaAppType");
    }
    Ok(())
}
