//! Cross-tenant Teams bot in front of a Foundry agent.
fn main() {}
