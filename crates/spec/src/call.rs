//! The one written form of activations and initializers: `name(argument, key = value)`.

use crate::SpecError;

/// A parsed call; names and keys in lower case with underscores.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    text: &'a str,
    pub(crate) name: String,
    arguments: Vec<Argument>,
}

#[derive(Debug)]
struct Argument {
    key: Option<String>,
    value: String,
    used: bool,
}

impl<'a> Call<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, SpecError> {
        let syntax = |why: &str| SpecError::Syntax { text: text.to_owned(), why: why.to_owned() };
        let trimmed = text.trim();
        let (name, inside) = match trimmed.split_once('(') {
            None => (trimmed, None),
            Some((name, rest)) => {
                let inside = rest
                    .strip_suffix(')')
                    .ok_or_else(|| syntax("the closing bracket is missing"))?;
                (name, Some(inside))
            }
        };
        if name.trim().is_empty() {
            return Err(syntax("the name is empty"));
        }
        let mut arguments = Vec::new();
        for part in
            inside.into_iter().flat_map(|s| s.split(',')).map(str::trim).filter(|s| !s.is_empty())
        {
            let (key, value) = match part.split_once('=') {
                None => (None, part),
                Some((key, value)) => (Some(normalise(key)), value.trim()),
            };
            arguments.push(Argument { key, value: value.to_owned(), used: false });
        }
        Ok(Self { text, name: normalise(name), arguments })
    }

    /// The value under `key`, or else the first unused argument without a key.
    fn take(&mut self, key: &str) -> Option<String> {
        let named = self.arguments.iter().position(|a| !a.used && a.key.as_deref() == Some(key));
        let index =
            named.or_else(|| self.arguments.iter().position(|a| !a.used && a.key.is_none()))?;
        self.arguments[index].used = true;
        Some(self.arguments[index].value.clone())
    }

    /// A number, or `default` where the call does not give one.
    pub(crate) fn number(&mut self, key: &str, default: f64) -> Result<f64, SpecError> {
        self.optional_number(key).map(|n| n.unwrap_or(default))
    }

    /// A number that counts only when it is given with its key.
    pub(crate) fn keyed_number(&mut self, key: &str, default: f64) -> Result<f64, SpecError> {
        if self.arguments.iter().any(|a| !a.used && a.key.as_deref() == Some(key)) {
            self.number(key, default)
        } else {
            Ok(default)
        }
    }

    /// A number that the call must give.
    pub(crate) fn required(&mut self, key: &str) -> Result<f64, SpecError> {
        self.optional_number(key)?.ok_or_else(|| self.syntax(format!("{key} is missing")))
    }

    fn optional_number(&mut self, key: &str) -> Result<Option<f64>, SpecError> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let number: f64 = value
            .parse()
            .map_err(|_| self.syntax(format!("{key} = \"{value}\" is not a number")))?;
        if number.is_finite() {
            Ok(Some(number))
        } else {
            Err(self.syntax(format!("{key} must be finite")))
        }
    }

    /// A word, or `default` where the call does not give one.
    pub(crate) fn word(&mut self, key: &str, default: &str) -> String {
        self.take(key).map_or_else(|| default.to_owned(), |value| normalise(&value))
    }

    /// Fails if the call gave an argument that nobody asked for.
    pub(crate) fn finish(&self) -> Result<(), SpecError> {
        match self.arguments.iter().find(|a| !a.used) {
            None => Ok(()),
            Some(a) => {
                let argument = a.key.as_ref().unwrap_or(&a.value);
                Err(self.syntax(format!("{} takes no argument \"{argument}\" here", self.name)))
            }
        }
    }

    fn syntax(&self, why: String) -> SpecError {
        SpecError::Syntax { text: self.text.to_owned(), why }
    }
}

pub(crate) fn normalise(name: &str) -> String {
    name.trim().to_ascii_lowercase().replace(['-', ' '], "_")
}
