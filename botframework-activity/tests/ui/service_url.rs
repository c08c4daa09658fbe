//! A string is no address to send a token to.

use botframework_activity::ServiceUrl;

fn main() {
    let _: ServiceUrl = ServiceUrl::from("https://smba.trafficmanager.net/".to_owned());
}
