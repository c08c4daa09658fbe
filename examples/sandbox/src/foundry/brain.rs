//! What the default agent says. Pure: the same conversation gets the same answer.
//!
//! It knows nothing but the conversation it is given, so an answer that recalls a fact proves that the conversation
//! was kept.

use serde_json::Value;

use super::items;

/// One thing the user told: `my KEY is VALUE`, or a note without a key.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fact {
    key: Option<String>,
    value: String,
    sentence: String,
}

/// The answer to `question`. `earlier` is what the user said before it, oldest first; `user` the signed-in user's name
/// when the request came with a token of a user.
pub(crate) fn answer(earlier: &[String], question: &str, user: Option<&str>) -> String {
    let count = earlier.len() + 1;
    let plural = if count == 1 { "message" } else { "messages" };
    let said = reply(earlier, question, user);
    format!("{said} (This conversation holds {count} user {plural}.)")
}

/// The texts of the user's messages, oldest first.
pub(crate) fn user_texts<'a>(all: impl Iterator<Item = &'a Value>) -> Vec<String> {
    all.filter(|item| items::is_user(item)).map(items::text).collect()
}

/// What a text tells: the name of each fact, when it has one, and the sentence.
pub(crate) fn told(text: &str) -> Vec<(Option<String>, String)> {
    facts(text).into_iter().map(|fact| (fact.key, fact.sentence)).collect()
}

fn reply(earlier: &[String], question: &str, user: Option<&str>) -> String {
    let plain = normal(question);
    let facts: Vec<Fact> = earlier.iter().flat_map(|text| facts(text)).collect();
    if plain.is_empty() {
        return "I received a message without text.".to_owned();
    }
    if asks_for_everything(&plain) {
        return recall_all(&facts, earlier);
    }
    if ["what is my name", "who am i", "know my name", "remember my name"].iter().any(|ask| plain.contains(ask)) {
        return name(&facts, user);
    }
    if let Some(key) = asked_key(&plain) {
        return recall(&facts, &key, earlier);
    }
    if plain.contains("how many messages") {
        return format!("You have sent {} messages so far.", earlier.len() + 1);
    }
    let learned: Vec<Fact> = self::facts(question);
    if !learned.is_empty() {
        let list: Vec<String> = learned.iter().map(|fact| format!("\u{201c}{}\u{201d}", fact.sentence)).collect();
        return format!("Noted: {}. Ask me later and I will recall it.", list.join(" and "));
    }
    if is_greeting(&plain) {
        let who = name_fact(&facts).or_else(|| user.map(str::to_owned));
        return who.map_or_else(
            || "Hello! I am the sandbox help desk. How can I help?".to_owned(),
            |who| format!("Hello {who}! I am the sandbox help desk. How can I help?"),
        );
    }
    format!("I understood: \u{201c}{}\u{201d}. I am a sandbox agent, so I only keep what you tell me.", question.trim())
}

fn asks_for_everything(plain: &str) -> bool {
    [
        "what did i tell you",
        "what have i told you",
        "what did i say",
        "what do you remember",
        "what do you know about me",
    ]
    .iter()
    .any(|ask| plain.contains(ask))
}

fn recall_all(facts: &[Fact], earlier: &[String]) -> String {
    if earlier.is_empty() {
        return "You have not told me anything yet.".to_owned();
    }
    let list: Vec<String> = if facts.is_empty() {
        earlier.iter().map(|text| format!("\u{201c}{}\u{201d}", text.trim())).collect()
    } else {
        facts.iter().map(|fact| format!("\u{201c}{}\u{201d}", fact.sentence)).collect()
    };
    format!("You told me: {}.", list.join(", "))
}

fn name(facts: &[Fact], user: Option<&str>) -> String {
    match (name_fact(facts), user) {
        (Some(name), _) => format!("Your name is {name}. You told me so earlier."),
        (None, Some(user)) => format!("You are signed in as {user}."),
        (None, None) => "You have not told me your name yet.".to_owned(),
    }
}

fn name_fact(facts: &[Fact]) -> Option<String> {
    facts.iter().rev().find(|fact| fact.key.as_deref() == Some("name")).map(|fact| fact.value.clone())
}

fn recall(facts: &[Fact], key: &str, earlier: &[String]) -> String {
    if let Some(fact) = facts.iter().rev().find(|fact| fact.key.as_deref() == Some(key)) {
        return format!("Your {key} is {}. You told me so earlier.", fact.value);
    }
    match earlier.iter().rev().find(|text| normal(text).contains(key)) {
        Some(text) => format!("You said: \u{201c}{}\u{201d}.", text.trim()),
        None => format!("You have not told me your {key} yet."),
    }
}

/// The KEY of `what is my KEY`, `do you remember my KEY`, `tell me my KEY`.
fn asked_key(plain: &str) -> Option<String> {
    const ASKS: [&str; 7] = [
        "what is my ",
        "what was my ",
        "which is my ",
        "where is my ",
        "when is my ",
        "do you remember my ",
        "tell me my ",
    ];
    let rest = ASKS.iter().find_map(|ask| plain.split_once(ask).map(|(_, rest)| rest))?;
    let key = rest.split(['?', '.', '!', ',', '\n']).next().unwrap_or_default().trim();
    (!key.is_empty()).then(|| key.to_owned())
}

fn facts(text: &str) -> Vec<Fact> {
    text.split(['.', '!', '\n', ';'])
        .filter(|sentence| !sentence.contains('?'))
        .flat_map(|sentence| {
            sentence
                .split(" and my ")
                .enumerate()
                .map(|(index, part)| if index == 0 { part.trim().to_owned() } else { format!("my {}", part.trim()) })
                .collect::<Vec<_>>()
        })
        .filter_map(|sentence| fact(&sentence))
        .collect()
}

fn fact(sentence: &str) -> Option<Fact> {
    // Lower case may change the length of some letters; such a sentence is compared, but its value is not cut out.
    let lower = sentence.to_lowercase().replace('\u{2019}', "'");
    if let Some((_, at)) = find(&lower, &["remember that ", "remember: ", "note that "]) {
        let rest = after(sentence, &lower, at);
        let note = || Fact { key: None, value: rest.clone(), sentence: rest.clone() };
        return fact(&rest).or_else(|| Some(note()));
    }
    if let Some((_, at)) = find(&lower, &["my name is ", "i am called ", "call me "]) {
        return keyed("name", after(sentence, &lower, at), sentence);
    }
    if let Some((start, at)) = find(&lower, &["my "])
        && let Some((key, _)) = lower.get(at..).and_then(|rest| rest.split_once(" is "))
        && (start == 0 || lower.get(..start).is_some_and(|head| head.ends_with(' ')))
    {
        return keyed(&normal(key), after(sentence, &lower, at + key.len() + 4), sentence);
    }
    if let Some((0, at)) = find(&lower, &["i am ", "i'm "]) {
        let value = after(sentence, &lower, at);
        // "I am Ada" is a name; "I am in Oslo" is a note.
        let is_name = !value.contains(' ') && value.chars().next().is_some_and(char::is_uppercase);
        let key = is_name.then(|| "name".to_owned());
        return (!value.is_empty()).then(|| Fact { key, value, sentence: sentence.trim().to_owned() });
    }
    None
}

fn keyed(key: &str, value: String, sentence: &str) -> Option<Fact> {
    (!value.is_empty()).then(|| Fact { key: Some(key.to_owned()), value, sentence: sentence.trim().to_owned() })
}

/// The first of `patterns` in `text`: where it starts and where it ends.
fn find(text: &str, patterns: &[&str]) -> Option<(usize, usize)> {
    patterns.iter().find_map(|pattern| text.find(pattern).map(|start| (start, start + pattern.len())))
}

fn after(sentence: &str, lower: &str, at: usize) -> String {
    let source = if sentence.len() == lower.len() { sentence } else { lower };
    source.get(at..).unwrap_or_default().trim().trim_matches('"').to_owned()
}

/// Lower case, one apostrophe, one spelling of "favourite", "what's" written out.
fn normal(text: &str) -> String {
    text.trim()
        .to_lowercase()
        .replace('\u{2019}', "'")
        .replace("favorite", "favourite")
        .replace("what's", "what is")
        .replace("where's", "where is")
}

fn is_greeting(plain: &str) -> bool {
    let first = plain.split(|letter: char| !letter.is_alphabetic()).next().unwrap_or_default();
    ["hi", "hello", "hey", "moin", "hallo"].contains(&first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(earlier: &[&str], question: &str) -> String {
        let earlier: Vec<String> = earlier.iter().map(|text| (*text).to_owned()).collect();
        answer(&earlier, question, None)
    }

    #[test]
    fn a_fact_of_turn_one_is_recalled_in_turn_three() {
        let told = ["My name is Ada Lovelace. My favorite colour is green.", "How is the weather?"];
        assert!(ask(&told, "What is my name?").starts_with("Your name is Ada Lovelace."));
        assert!(ask(&told, "What\u{2019}s my favourite colour?").contains("green"));
        assert!(ask(&told, "What did I tell you?").contains("My favorite colour is green"));
        assert!(ask(&told, "What is my name?").ends_with("(This conversation holds 3 user messages.)"));
    }

    #[test]
    fn another_conversation_knows_nothing() {
        assert!(ask(&[], "What is my name?").contains("not told me your name"));
        assert!(ask(&[], "What is my favourite colour?").contains("not told me your favourite colour"));
        assert!(ask(&[], "What did I tell you?").contains("not told me anything"));
    }

    #[test]
    fn the_newest_value_wins() {
        let told = ["my printer is HP-1", "sorry, my printer is HP-2"];
        assert!(ask(&told, "what is my printer?").contains("HP-2"));
    }

    #[test]
    fn notes_and_short_forms_are_kept() {
        assert!(ask(&["Please remember that the badge number is 4711"], "What do you remember?").contains("4711"));
        assert!(ask(&["I am Grace"], "who am I?").contains("Grace"));
        assert!(ask(&["I'm in Oslo"], "what did I tell you").contains("Oslo"));
        assert!(ask(&[], "my name is Ada and my team is Engines").contains("my team is Engines"));
        assert!(
            ask(&["remember that my favourite food is soup"], "do you remember my favourite food?").contains("soup")
        );
    }

    #[test]
    fn a_signed_in_user_is_named() {
        assert!(answer(&[], "who am i?", Some("Alex Wilber")).contains("signed in as Alex Wilber"));
        assert!(answer(&[], "hello", Some("Alex Wilber")).starts_with("Hello Alex Wilber!"));
    }

    #[test]
    fn anything_else_is_cited() {
        assert!(ask(&[], "The VPN drops every hour").contains("The VPN drops every hour"));
        assert!(ask(&[], "  ").contains("without text"));
        assert!(ask(&[], "İ am İstanbul, my İ is ß").contains("user message"));
    }
}
