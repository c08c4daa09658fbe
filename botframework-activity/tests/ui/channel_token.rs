//! A token that opens bodies comes from the authenticator only.

use botframework_activity::ChannelToken;

fn main() {
    let _ = ChannelToken::new("eyJ");
}
