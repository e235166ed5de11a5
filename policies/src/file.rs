//! From a file's text to a [`Config`], or to every mistake in it, each with its place and the corrected text.
//!
//! Not responsible for reading YAML (`yaml.rs`) or for what keys mean (`compile/`).
//! Clauses: P9.

use std::fmt;
use std::sync::Arc;

use crate::Config;
use crate::compile::Compiler;
use crate::yaml::{self, Place};

/// The most mistakes that are named; past that the file is not the one that was meant.
const MAX_ERRORS: usize = 1_000;

/// The longest corrected text that is offered, in bytes: a domain with its list's name.
const MAX_WRITE: usize = 320;
/// The most characters of a message.
const MAX_MESSAGE: usize = 480;

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

impl ConfigError {
    pub(crate) fn new(
        file: Arc<str>,
        place: Place,
        message: String,
        write: Option<String>,
    ) -> Self {
        let Place { line, column } = place;
        // The file may be a stranger's: nothing of it fills a terminal, and no corrected text carries a control or
        // bidirectional character there. Messages are escaped where they are written.
        let write =
            write.filter(|text| text.len() <= MAX_WRITE && text.chars().all(is_shown_as_it_is));
        let message = match message.char_indices().nth(MAX_MESSAGE) {
            None => message,
            Some((end, _)) => format!("{}...", message.get(..end).unwrap_or_default()),
        };
        Self {
            line,
            column,
            message,
            write,
            file,
        }
    }
}

/// Whether a character looks like itself wherever it is printed.
fn is_shown_as_it_is(char: char) -> bool {
    matches!(char, '\'' | '"' | '\\') || char.escape_debug().len() == 1
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            line,
            column,
            message,
            write,
            file,
        } = self;
        write!(f, "{file}:{line}:{column}: {message}")?;
        match write {
            Some(text) => write!(f, "; write: {text}"),
            None => Ok(()),
        }
    }
}

/// All mistakes of a file, in the order of the file; never empty. Shown one per line.
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

    /// Sorts, and cuts what nobody would read.
    fn new(mut errors: Vec<ConfigError>) -> Self {
        errors.sort();
        errors.dedup();
        let more = errors.len().saturating_sub(MAX_ERRORS);
        errors.truncate(MAX_ERRORS);
        if let (Some(last), true) = (errors.last().cloned(), more > 0) {
            let message = format!("and {more} more mistakes");
            errors.push(ConfigError {
                message,
                write: None,
                ..last
            });
        }
        Self { errors }
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
        let Self(ConfigError {
            line,
            column,
            message,
            write,
            file,
        }) = self;
        write!(f, "{file}:{line}:{column}: warning: {message}")?;
        match write {
            Some(text) => write!(f, "; write: {text}"),
            None => Ok(()),
        }
    }
}

impl Config {
    /// Parses a file.
    ///
    /// # Errors
    /// [`ConfigErrors`]: every mistake in the file; whoever wrote the file is at fault.
    pub fn parse(source: &Source<'_>) -> Result<(Self, Vec<Warning>), ConfigErrors> {
        let reading = yaml::read(source.text);
        let mut compiler = Compiler::new(source.name);
        for mistake in reading.mistakes {
            compiler.error(mistake.place, mistake.message, mistake.write);
        }
        let config = compiler.file(reading.root.as_ref(), reading.cut);
        let (errors, mut warnings) = compiler.finish();
        match config {
            Some(config) if errors.is_empty() => {
                warnings.sort_by(|a, b| a.0.cmp(&b.0));
                Ok((config, warnings))
            }
            Some(_) | None => Err(ConfigErrors::new(errors)),
        }
    }
}
