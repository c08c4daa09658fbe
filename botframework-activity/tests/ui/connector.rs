//! The bot's token does not go where a string says.

use botframework_activity::{Activity, ConnectorClient};

async fn send(connector: ConnectorClient, activity: Activity) {
    let url = activity.service_url.clone().unwrap();
    let _ = connector.send(&url, &activity).await;
}

fn main() {}
