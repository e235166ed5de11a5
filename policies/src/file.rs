//! The project's file as typed, and every mistake in it, each with its place.
//!
//! The only user of the YAML reader. Not responsible for what the values mean (`compile.rs`).
//! Clauses: P9.

use std::fmt;
use std::sync::Arc;

use crate::Config;

/// A file's text, and the name that errors, rules and the record call it by.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The name.
    pub name: &'a str,
    /// The text.
    pub text: &'a str,
}

/// One mistake. Shown as `FILE:LINE:COL: message; write: CORRECTED`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigError {
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// The corrected text, where there is one.
    pub write: Option<String>,
    /// The file.
    pub file: Arc<str>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            column,
            message,
            write,
        } = self;
        write!(f, "{file}:{line}:{column}: {message}")?;
        match write {
            Some(text) => write!(f, "; write: {text}"),
            None => Ok(()),
        }
    }
}

/// All mistakes of a file, in the order of the file; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    errors: Vec<ConfigError>,
}

impl ConfigErrors {
    /// The mistakes, in the order of the file.
    #[must_use]
    pub fn errors(&self) -> &[ConfigError] {
        &self.errors
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Something that is accepted though it is odd. Same form as an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning(pub ConfigError);

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Config {
    /// Parses a file.
    ///
    /// # Errors
    /// [`ConfigErrors`]: every mistake in the file; whoever wrote the file is at fault.
    pub fn parse(source: &Source<'_>) -> Result<(Self, Vec<Warning>), ConfigErrors> {
        let error = ConfigError {
            line: 1,
            column: 1,
            message: "no file is understood yet".to_owned(),
            write: None,
            file: Arc::from(source.name),
        };
        Err(ConfigErrors {
            errors: vec![error],
        })
    }
}
