//! Settings from the environment, with every problem reported at once.

use std::{fmt, str::FromStr};

use crate::Secret;

/// Reads settings and collects what is missing or malformed, so that a first start lists everything at once.
///
/// ```
/// use entra_auth::{Secret, settings::Settings};
///
/// struct Config { port: u16, app_id: String, password: Secret }
///
/// let mut settings = Settings::from_lookup(|name| (name == "PORT").then(|| "eighty".to_owned()));
/// let port = settings.parsed("PORT", 3978);
/// let app_id = settings.required::<String>("BOT_APP_ID");
/// let password = settings.required_secret("BOT_APP_PASSWORD");
/// let error = settings
///     .finish(|| Some(Config { port: port?, app_id: app_id?, password: password? }))
///     .err()
///     .unwrap();
/// assert_eq!(error.problems().count(), 3);
/// ```
#[derive(Debug)]
pub struct Settings<L = fn(&str) -> Option<String>> {
    lookup: L,
    problems: Vec<String>,
}

impl Settings {
    /// Reads the environment of the process.
    #[must_use]
    #[allow(clippy::disallowed_methods)] // the one place that reads the environment
    pub fn from_env() -> Self {
        Self::from_lookup(|name| std::env::var(name).ok())
    }
}

impl<L: Fn(&str) -> Option<String>> Settings<L> {
    /// Reads from anywhere else: a file, a map, a test.
    pub const fn from_lookup(lookup: L) -> Self {
        Self { lookup, problems: Vec::new() }
    }

    /// The text of a variable, without white space around it; `None` when there is nothing else.
    pub fn lookup(&self, name: &str) -> Option<String> {
        (self.lookup)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// Whether a variable is set to something other than white space.
    pub fn is_set(&self, name: &str) -> bool {
        self.lookup(name).is_some()
    }

    /// A setting that must be there. `None` means that the problem is noted and [`Settings::finish`] will report it.
    pub fn required<T>(&mut self, name: &str) -> Option<T>
    where
        T: FromStr<Err: fmt::Display>,
    {
        match self.lookup(name) {
            Some(text) => self.parse(name, &text),
            None => {
                self.problems.push(format!("{name} is not set"));
                None
            }
        }
    }

    /// A setting that may be absent. The outer `None` means malformed, noted for [`Settings::finish`].
    #[allow(clippy::option_option)] // malformed and absent are different things
    pub fn optional<T>(&mut self, name: &str) -> Option<Option<T>>
    where
        T: FromStr<Err: fmt::Display>,
    {
        match self.lookup(name) {
            Some(text) => self.parse(name, &text).map(Some),
            None => Some(None),
        }
    }

    /// A setting with a default. `None` means malformed, noted for [`Settings::finish`].
    pub fn parsed<T>(&mut self, name: &str, default: T) -> Option<T>
    where
        T: FromStr<Err: fmt::Display>,
    {
        self.optional(name).map(|value| value.unwrap_or(default))
    }

    /// A secret that must be there. Its text never appears in a problem.
    pub fn required_secret(&mut self, name: &str) -> Option<Secret> {
        let secret = self.optional_secret(name);
        if secret.is_none() {
            self.problems.push(format!("{name} is not set"));
        }
        secret
    }

    /// A secret that may be absent.
    pub fn optional_secret(&self, name: &str) -> Option<Secret> {
        self.lookup(name).map(Secret::from)
    }

    /// Notes a problem that only the caller can see, such as two settings that contradict each other.
    pub fn problem(&mut self, text: impl Into<String>) {
        self.problems.push(text.into());
    }

    /// Ends the reading: the configuration, or all problems.
    ///
    /// `build` runs only when no problem was noted; it returns `None` when a value is missing all the same.
    ///
    /// # Errors
    ///
    /// [`SettingsError`] with one line a problem. Who can fix it: the operator.
    pub fn finish<T>(self, build: impl FnOnce() -> Option<T>) -> Result<T, SettingsError> {
        if !self.problems.is_empty() {
            return Err(SettingsError { problems: self.problems });
        }
        build().ok_or_else(|| SettingsError { problems: vec!["a setting is missing".to_owned()] })
    }

    fn parse<T>(&mut self, name: &str, text: &str) -> Option<T>
    where
        T: FromStr<Err: fmt::Display>,
    {
        text.parse().map_err(|error| self.problems.push(format!("{name} is malformed: {error}"))).ok()
    }
}

/// All problems of one start, a line each. Values are never shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError {
    problems: Vec<String>,
}

impl SettingsError {
    /// The problems, each naming its variable.
    pub fn problems(&self) -> impl ExactSizeIterator<Item = &str> {
        self.problems.iter().map(|problem| &**problem)
    }
}

impl fmt::Display for SettingsError {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the settings are incomplete or malformed:")?;
        for problem in &self.problems {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for SettingsError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "BAD" => Some("marker".into()),
            "GOOD" => Some(" 7 ".into()),
            "BLANK" => Some("  ".into()),
            _ => None,
        }
    }

    #[test]
    fn lists_every_problem_and_no_value() {
        let mut settings = Settings::from_lookup(lookup);
        assert_eq!(settings.required::<u16>("GOOD"), Some(7));
        assert_eq!(settings.required::<u16>("BAD"), None);
        assert_eq!(settings.required::<u16>("BLANK"), None);
        assert_eq!(settings.parsed::<u16>("ABSENT", 5), Some(5));
        assert_eq!(settings.optional::<u16>("ABSENT"), Some(None));
        assert!(settings.required_secret("SECRET").is_none());
        let error = settings.finish(|| Some(())).unwrap_err();
        let text = error.to_string();
        for expected in ["BAD is malformed", "BLANK is not set", "SECRET is not set"] {
            assert!(text.contains(expected), "{text}");
        }
        assert_eq!(error.problems().len(), 3);
        assert!(!text.contains("marker"));
    }
}
