//! An activity that anybody can write is not a verified one.

use botframework_activity::{Activity, VerifiedActivity};

fn main() {
    let activity = Activity::message("hello");
    let _: VerifiedActivity = VerifiedActivity::from(activity);
}
