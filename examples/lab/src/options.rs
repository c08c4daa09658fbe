use std::collections::BTreeMap;

use crate::Fault;

/// A setting of a goal: its default in the long and in the short form.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// As on the command line, without the dashes.
    pub name: &'static str,
    /// The default of a full run.
    pub long: &'static str,
    /// The default with `--short`.
    pub short: &'static str,
    /// Whether it is said by its name alone.
    flag: bool,
}

impl Setting {
    /// A setting with its defaults.
    #[must_use]
    pub const fn new(name: &'static str, long: &'static str, short: &'static str) -> Self {
        Self { name, long, short, flag: false }
    }

    /// A setting that is off unless it is named.
    #[must_use]
    pub const fn flag(name: &'static str) -> Self {
        Self { name, long: "", short: "", flag: true }
    }

    /// As on the command line, with its default in the full run.
    #[must_use]
    pub fn usage(&self) -> String {
        match (self.flag, self.long) {
            (true, _) => format!("[--{}]", self.name),
            (false, "") => format!("[--{} …]", self.name),
            (false, long) => format!("--{} {long}", self.name),
        }
    }
}

/// What a run was asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// Every random decision follows from it.
    pub seed: u64,
    /// A run of a second or two instead of a full one.
    pub short: bool,
    values: BTreeMap<String, String>,
}

const SEED: u64 = 1;

impl Options {
    /// The short form with all defaults.
    #[must_use]
    pub const fn short() -> Self {
        Self { seed: SEED, short: true, values: BTreeMap::new() }
    }

    /// Reads `--name value` pairs; `--short` stands alone. Only `--seed` and these settings are known.
    ///
    /// # Errors
    ///
    /// An option that is not known, or lacks its value.
    pub fn parse(arguments: impl IntoIterator<Item = String>, settings: &[Setting]) -> Result<Self, Fault> {
        let mut options = Self { seed: SEED, short: false, values: BTreeMap::new() };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            if argument == "--short" {
                options.short = true;
                continue;
            }
            let name = argument.strip_prefix("--").unwrap_or_default().to_owned();
            let known = || settings.iter().map(|setting| format!(" --{}", setting.name)).collect::<String>();
            let setting = settings.iter().find(|setting| setting.name == name);
            if name != "seed" && setting.is_none() {
                return Err(format!("unknown option {argument}; this goal knows --short --seed{}", known()).into());
            }
            if setting.is_some_and(|setting| setting.flag) {
                options.values.insert(name, "yes".into());
                continue;
            }
            let value = arguments.next().ok_or_else(|| format!("--{name} needs a value"))?;
            match name.as_str() {
                "seed" => options.seed = value.parse().map_err(|_| "--seed is a number")?,
                _ => drop(options.values.insert(name, value)),
            }
        }
        Ok(options)
    }

    /// The same with another value of a setting.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.values.insert(name.into(), value.into());
        self
    }

    /// A setting as text.
    #[must_use]
    pub fn text(&self, setting: &Setting) -> &str {
        let default = if self.short { setting.short } else { setting.long };
        self.values.get(setting.name).map_or(default, String::as_str)
    }

    /// Whether a setting was named that is off otherwise.
    #[must_use]
    pub fn has(&self, setting: &Setting) -> bool {
        self.text(setting) == "yes"
    }

    /// A setting as a number.
    ///
    /// # Errors
    ///
    /// When it is none.
    pub fn number(&self, setting: &Setting) -> Result<usize, Fault> {
        let text = self.text(setting);
        text.replace('_', "").parse().map_err(|_| format!("--{} is a number, not {text}", setting.name).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLERS: Setting = Setting::new("callers", "10000", "100");

    const REDIS: Setting = Setting::flag("redis");

    fn parse(text: &str) -> Result<Options, Fault> {
        Options::parse(text.split_whitespace().map(str::to_owned), &[CALLERS, REDIS])
    }

    #[test]
    fn options() {
        assert_eq!(parse("").unwrap().number(&CALLERS).unwrap(), 10_000);
        assert_eq!(parse("--short").unwrap().number(&CALLERS).unwrap(), 100);
        assert_eq!(parse("--callers 7 --seed 9").unwrap().number(&CALLERS).unwrap(), 7);
        assert_eq!(parse("--callers 7 --seed 9").unwrap().seed, 9);
        let flagged = parse("--redis --callers 7").unwrap();
        assert!(flagged.has(&REDIS) && flagged.number(&CALLERS).unwrap() == 7 && !parse("").unwrap().has(&REDIS));
        for bad in ["--caller 7", "--redis yes", "callers", "--callers", "--seed x", "--seed"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(parse("--callers many").unwrap().number(&CALLERS).is_err());
    }
}
