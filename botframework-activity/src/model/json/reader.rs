//! JSON text ([RFC 8259](https://www.rfc-editor.org/rfc/rfc8259)), read in one pass.
//!
//! What a type keeps raw is skipped: checked to be JSON and copied as it is. Escapes are decoded by serde_json.
//! Skipping needs no stack, and the types that are read member by member do not contain themselves, so no depth of
//! nesting does harm.

use std::borrow::Cow;

use super::{Source, Stop};
use crate::RawJson;
use crate::model::error::ModelError;
use crate::model::object::{Filling, Object, Value};
use crate::model::scan::special_bytes;
use crate::model::words::word;

/// Reads a text that must be exactly one value.
pub(crate) fn read<T: Value>(text: &str) -> Result<T, ModelError> {
    let mut reader = Reader::new(text);
    match T::read_item(&mut reader) {
        Err(stop) => Err(reader.error(stop)),
        Ok(value) => match reader.end() {
            Err(stop) => Err(reader.error(stop)),
            Ok(()) => Ok(value),
        },
    }
}

/// One member of an object. The rest of the text is skipped.
pub(crate) fn member<T: Value>(text: &str, name: &str) -> Result<Option<T>, ModelError> {
    let mut reader = Reader::new(text);
    let value = reader.member(name);
    value.and_then(|value| reader.end().map(|()| value)).map_err(|stop| reader.error(stop))
}

/// The value in a text that must be exactly one, without the blanks around it.
pub(crate) fn trimmed(text: &str) -> Result<&str, ModelError> {
    let mut reader = Reader::new(text);
    let value = reader.skipped();
    value.and_then(|value| reader.end().map(|()| value)).map_err(|stop| reader.error(stop))
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// Where the block of 64 bytes begins that was looked at last, and one bit for each special byte in it.
    block: usize,
    specials: u64,
}

/// A string as it stands in the text.
struct Quoted<'a> {
    /// Without its quotes.
    inside: &'a str,
    /// With its quotes, where there are escapes in it.
    escaped: Option<&'a str>,
}

impl<'a> Quoted<'a> {
    #[inline(always)]
    fn decoded(&self) -> Result<Cow<'a, str>, Stop> {
        match self.escaped {
            None => Ok(Cow::Borrowed(self.inside)),
            // What has passed so far and is refused here is half of a surrogate pair.
            Some(text) => serde_json::from_str(text).map(Cow::Owned).map_err(|_| Stop::Malformed),
        }
    }
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, at: 0, block: 0, specials: special_bytes(text.as_bytes()) }
    }

    /// The next byte that is no blank, which is not taken yet.
    #[inline(always)]
    fn next(&mut self) -> Option<u8> {
        loop {
            match self.text.as_bytes().get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    /// Takes the byte if it is the next one.
    #[inline(always)]
    fn takes(&mut self, byte: u8) -> bool {
        // Programs write no blanks, so that the first look mostly decides.
        let found = self.text.as_bytes().get(self.at) == Some(&byte) || self.next() == Some(byte);
        self.at += usize::from(found);
        found
    }

    #[inline(always)]
    fn expect(&mut self, byte: u8) -> Result<(), Stop> {
        if self.takes(byte) { Ok(()) } else { Err(Stop::Malformed) }
    }

    fn end(&mut self) -> Result<(), Stop> {
        if self.next().is_none() { Ok(()) } else { Err(Stop::Malformed) }
    }

    fn word(&mut self, word: &str) -> Result<(), Stop> {
        if self.text.as_bytes().get(self.at..).is_some_and(|rest| rest.starts_with(word.as_bytes())) {
            self.at += word.len();
            Ok(())
        } else {
            Err(Stop::Malformed)
        }
    }

    fn null(&mut self) -> Result<bool, Stop> {
        if self.next() == Some(b'n') { self.word("null").map(|()| true) } else { Ok(false) }
    }

    /// A value of another kind than the one that was asked for.
    fn wrong(&mut self, expected: &'static str) -> Stop {
        self.skip().map_or_else(|stop| stop, |()| Stop::Shape(expected))
    }

    /// The rest of a string, whose first quote is taken.
    #[inline(always)]
    fn quoted(&mut self) -> Result<Quoted<'a>, Stop> {
        let start = self.at;
        let escaped = self.pass_string()?;
        let inside = self.text.get(start..self.at - 1).ok_or(Stop::Malformed)?;
        let escaped = if escaped { self.text.get(start - 1..self.at) } else { None };
        Ok(Quoted { inside, escaped })
    }

    /// Passes the rest of a string, whose first quote is taken. Gives whether there are escapes in it.
    #[inline(always)]
    fn pass_string(&mut self) -> Result<bool, Stop> {
        let mut escaped = false;
        loop {
            self.go_to_special();
            match self.text.as_bytes().get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    self.at = after_escape(self.text.as_bytes(), self.at).ok_or(Stop::Malformed)?;
                }
                // A control character, or the end.
                _ => return Err(Stop::Malformed),
            }
        }
    }

    /// Goes to the next quote, backslash or control character, or to the end.
    #[inline(always)]
    fn go_to_special(&mut self) {
        let passed = self.at - self.block;
        let mut specials = if passed < 64 { self.specials >> passed } else { 0 };
        if specials == 0 {
            let bytes = self.text.as_bytes();
            self.at = self.at.max(self.block + 64);
            loop {
                self.block = self.at & !63;
                self.specials = bytes.get(self.block..).map_or(0, special_bytes);
                specials = self.specials >> (self.at - self.block);
                if specials != 0 {
                    break;
                }
                self.at = self.block + 64;
                if self.at >= bytes.len() {
                    self.at = bytes.len();
                    return;
                }
            }
        }
        self.at += specials.trailing_zeros() as usize;
    }

    fn key(&mut self) -> Result<Quoted<'a>, Stop> {
        self.expect(b'"')?;
        let key = self.quoted()?;
        self.expect(b':')?;
        Ok(key)
    }

    #[inline(always)]
    fn pass_key(&mut self) -> Result<(), Stop> {
        self.expect(b'"')?;
        self.pass_string()?;
        self.expect(b':')
    }

    /// A string; `None` for `null`.
    #[inline(always)]
    fn text(&mut self) -> Result<Option<Cow<'a, str>>, Stop> {
        if self.takes(b'"') {
            return self.quoted()?.decoded().map(Some);
        }
        if self.null()? { Ok(None) } else { Err(self.wrong("expected a string")) }
    }

    /// A number as it is spelled.
    #[inline(always)]
    fn number(&mut self) -> Result<&'a str, Stop> {
        let start = self.at;
        let (end, good) = after_number(self.text.as_bytes(), start);
        self.at = end;
        self.text.get(start..end).filter(|_| good).ok_or(Stop::Malformed)
    }

    fn skipped(&mut self) -> Result<&'a str, Stop> {
        self.next();
        let start = self.at;
        self.skip()?;
        self.text.get(start..self.at).ok_or(Stop::Malformed)
    }

    fn skip(&mut self) -> Result<(), Stop> {
        // On a copy, which stays in registers: this loop sees most of the bytes of most documents.
        let mut here = *self;
        let skipped = here.pass_value();
        *self = here;
        skipped
    }

    #[inline]
    fn pass_value(&mut self) -> Result<(), Stop> {
        let mut open = Nesting::default();
        loop {
            match self.next() {
                Some(b'"') => {
                    self.at += 1;
                    self.pass_string()?;
                }
                Some(b'{') => {
                    self.at += 1;
                    if !self.takes(b'}') {
                        self.pass_key()?;
                        open.enter(true);
                        continue;
                    }
                }
                Some(b'[') => {
                    self.at += 1;
                    if !self.takes(b']') {
                        open.enter(false);
                        continue;
                    }
                }
                Some(b'-' | b'0'..=b'9') => drop(self.number()?),
                Some(b't') => self.word("true")?,
                Some(b'f') => self.word("false")?,
                Some(b'n') => self.word("null")?,
                _ => return Err(Stop::Malformed),
            }
            // A value has ended, and with it perhaps what it stands in.
            loop {
                let Some(in_object) = open.innermost() else {
                    return Ok(());
                };
                match (self.next(), in_object) {
                    (Some(b','), true) => {
                        self.at += 1;
                        self.pass_key()?;
                        break;
                    }
                    (Some(b','), false) => {
                        self.at += 1;
                        break;
                    }
                    (Some(b'}'), true) | (Some(b']'), false) => {
                        self.at += 1;
                        open.leave();
                    }
                    _ => return Err(Stop::Malformed),
                }
            }
        }
    }

    /// One member of an object; all others are skipped.
    fn member<T: Value>(&mut self, wanted: &str) -> Result<Option<T>, Stop> {
        if !self.takes(b'{') {
            return Err(self.wrong("expected an object"));
        }
        if self.takes(b'}') {
            return Ok(None);
        }
        let mut found = None;
        loop {
            if self.key()?.decoded()? != wanted {
                self.skip()?;
            } else if found.replace(T::read(self)?).is_some() {
                return Err(Stop::Shape("a member appears twice"));
            }
            if !self.takes(b',') {
                self.expect(b'}')?;
                return Ok(found.flatten());
            }
        }
    }

    fn error(&self, stop: Stop) -> ModelError {
        let (line, column) = self.position();
        ModelError::stopped(stop, line, column)
    }

    /// Line and column, both from 1.
    fn position(&self) -> (usize, usize) {
        let before = self.text.as_bytes().get(..self.at).unwrap_or(self.text.as_bytes());
        let lines = before.iter().filter(|byte| **byte == b'\n').count();
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        (lines + 1, before.len() - line_start + 1)
    }
}

impl Source for Reader<'_> {
    fn word(&mut self, known: &'static [&'static str]) -> Result<Option<Cow<'static, str>>, Stop> {
        Ok(self.text()?.map(|text| word(&text, known)))
    }

    fn string(&mut self) -> Result<Option<String>, Stop> {
        Ok(self.text()?.map(Cow::into_owned))
    }

    fn truth(&mut self) -> Result<Option<bool>, Stop> {
        match self.next() {
            Some(b't') => self.word("true").map(|()| Some(true)),
            Some(b'f') => self.word("false").map(|()| Some(false)),
            Some(b'n') => self.word("null").map(|()| None),
            _ => Err(self.wrong("expected true or false")),
        }
    }

    fn integer(&mut self) -> Result<Option<i64>, Stop> {
        const EXPECTED: Stop = Stop::Shape("expected a whole number of 64 bits");
        match self.next() {
            Some(b'-' | b'0'..=b'9') => {
                let number = self.number()?;
                // The sign would be lost.
                if number == "-0" { Err(EXPECTED) } else { number.parse().map(Some).map_err(|_| EXPECTED) }
            }
            Some(b'n') => self.word("null").map(|()| None),
            _ => Err(self.wrong("expected a whole number")),
        }
    }

    fn float(&mut self) -> Result<Option<f64>, Stop> {
        match self.next() {
            Some(b'-' | b'0'..=b'9') => {
                let number = self.number()?.parse::<f64>().ok().filter(|number| number.is_finite());
                number.map(Some).ok_or(Stop::Shape("expected a number of 64 bits"))
            }
            Some(b'n') => self.word("null").map(|()| None),
            _ => Err(self.wrong("expected a number")),
        }
    }

    fn raw(&mut self) -> Result<Option<RawJson>, Stop> {
        if self.null()? { Ok(None) } else { self.raw_or_null().map(Some) }
    }

    fn raw_or_null(&mut self) -> Result<RawJson, Stop> {
        self.skipped().map(RawJson::checked)
    }

    fn object(&mut self, into: &mut dyn Object) -> Result<bool, Stop> {
        if !self.takes(b'{') {
            return if self.null()? { Ok(false) } else { Err(self.wrong("expected an object")) };
        }
        let mut filling = Filling::new(into);
        if !self.takes(b'}') {
            loop {
                let place = filling.name(&self.key()?.decoded()?)?;
                filling.value(place, self)?;
                if self.takes(b',') {
                    continue;
                }
                self.expect(b'}')?;
                break;
            }
        }
        filling.finish().map(|()| true)
    }

    fn list(&mut self, item: &mut dyn FnMut(&mut dyn Source) -> Result<(), Stop>) -> Result<bool, Stop> {
        if !self.takes(b'[') {
            return if self.null()? { Ok(false) } else { Err(self.wrong("expected a list")) };
        }
        if self.takes(b']') {
            return Ok(true);
        }
        loop {
            item(self)?;
            if !self.takes(b',') {
                self.expect(b']')?;
                return Ok(true);
            }
        }
    }
}

/// Where an escape ends that begins at `at`.
fn after_escape(text: &[u8], at: usize) -> Option<usize> {
    match text.get(at + 1..)? {
        [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => Some(at + 2),
        [b'u', a, b, c, d, ..] if [a, b, c, d].iter().all(|digit| digit.is_ascii_hexdigit()) => Some(at + 6),
        _ => None,
    }
}

/// Where a number ends that begins at `start`, and whether it is spelled well.
fn after_number(text: &[u8], start: usize) -> (usize, bool) {
    let digits = |at: usize| {
        let rest = text.get(at..).unwrap_or_default();
        at + rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len())
    };
    let is = |at: usize, wanted: &[u8]| text.get(at).is_some_and(|byte| wanted.contains(byte));
    let whole = start + usize::from(is(start, b"-"));
    let mut at = digits(whole);
    let mut good = at > whole && (at == whole + 1 || !is(whole, b"0"));
    if is(at, b".") {
        let fraction = at + 1;
        at = digits(fraction);
        good &= at > fraction;
    }
    if is(at, b"eE") {
        let exponent = at + 1 + usize::from(is(at + 1, b"+-"));
        at = digits(exponent);
        good &= at > exponent;
    }
    (at, good)
}

/// Which of the open brackets are objects, the innermost last.
#[derive(Default)]
struct Nesting {
    /// One bit for each of the innermost up to 64.
    objects: u64,
    depth: usize,
    /// The bits of those further out, 64 each.
    outer: Vec<u64>,
}

impl Nesting {
    fn enter(&mut self, object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.outer.push(self.objects);
        }
        self.objects = self.objects << 1 | u64::from(object);
        self.depth += 1;
    }

    fn leave(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        self.objects >>= 1;
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.objects = self.outer.pop().unwrap_or_default();
        }
    }

    const fn innermost(&self) -> Option<bool> {
        if self.depth == 0 { None } else { Some(self.objects & 1 == 1) }
    }
}
