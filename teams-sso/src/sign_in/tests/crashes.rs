//! A crash after each effect: the invoke is sent again, and in the end the message is answered exactly once.

use super::world::{World, world};

/// Sends the exchange until it is answered well, as Teams does.
async fn insist(world: &World) -> usize {
    for attempt in 0..5 {
        let response = world.exchanges("g").await;
        if response.status == 200 {
            return attempt;
        }
        assert_eq!(response.status, 500, "a crash must look like one");
    }
    panic!("not repaired");
}

#[tokio::test]
async fn every_store_call_of_the_invoke_can_fail() {
    let mut broke = 0;
    for call in 0..12 {
        for after in [false, true] {
            let world = world().await;
            world.says("hello").await;
            world.store.breaks_at(call, after);
            let attempts = insist(&world).await;
            let spent = world.store.heals();
            broke += usize::from(attempts > 0);
            assert_eq!(world.texts(), ["answer to hello"], "call {call}, after: {after}");
            assert!(spent || attempts == 0);
            assert_eq!(world.exchanges("g").await.status, 200);
            assert_eq!(world.texts().len(), 1, "call {call}, after: {after}");
        }
    }
    assert!(broke >= 8, "the test must hit the calls it is about: {broke}");
}

#[tokio::test]
async fn the_queue_can_fail() {
    for after in [false, true] {
        let world = world().await;
        world.says("hello").await;
        world.queue.breaks_at(0, after);
        assert_eq!(insist(&world).await, 1);
        assert_eq!(world.texts(), ["answer to hello"], "after: {after}");
        assert_eq!(world.count("exchange"), 1, "the token is there; only the message is handed over");
    }
}

/// The invoke never comes again: the next message repairs it.
#[tokio::test]
async fn the_next_message_repairs_a_crash() {
    let world = world().await;
    world.says("hello").await;
    world.queue.breaks_at(0, false);
    assert_eq!(world.exchanges("g").await.status, 500);
    assert!(world.texts().is_empty());
    world.says("are you there?").await;
    world.idle().await;
    let mut texts = world.texts();
    texts.sort();
    assert_eq!(texts, ["answer to are you there?", "answer to hello"]);
}

/// A crash between the stored flow and the card: the turn runs again and shows it.
#[tokio::test]
async fn every_store_call_of_the_message_can_fail() {
    for call in 0..8 {
        for after in [false, true] {
            let world = world().await;
            world.store.breaks_at(call, after);
            world.says("hello").await;
            let broke = world.store.heals();
            // The user was told that it failed, or has a card.
            assert!(!world.cards().is_empty() || world.texts() == ["sorry"], "call {call}, after: {after}");
            if broke && world.texts() == ["sorry"] {
                world.says("hello").await;
            }
            assert!(!world.cards().is_empty(), "call {call}, after: {after}");
            assert_eq!(world.exchanges("g").await.status, 200);
            let answers = world.texts().iter().filter(|text| *text == "answer to hello").count();
            assert_eq!(answers, 1, "call {call}, after: {after}: {:?}", world.texts());
        }
    }
}

/// Signed-in users are served while the store is down.
#[tokio::test]
async fn a_user_who_is_signed_in_needs_no_store() {
    let world = world().await;
    world.knows_ada();
    world.store.breaks_at(0, false);
    world.says("hello").await;
    assert!(world.store.heals());
    assert_eq!(world.texts(), ["answer to hello"]);
}
