//! YAML as a tree in which every node knows its place, and every mistake that the reader can see.
//!
//! The only user of the YAML crate. Anchors, aliases, merge keys, tags and further documents are mistakes here: a file
//! that decides what may flow says what it means in plain sight. Depth and size are bounded.
//! Not responsible for what keys and values mean (`compile/`).
//! Clauses: P9.

use std::borrow::Cow;

use serde_yaml::{Event, Options, Parser, ScalarStyle, ScanError, Span};

/// The deepest nesting of any valid file is 3: a list in a map in the file.
const MAX_DEPTH: usize = 8;
/// A whitelist of a million names is 25 MB.
pub(crate) const MAX_BYTES: usize = 64 << 20;

/// A place in a file: line and column in characters, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

impl Place {
    /// The first character of a file.
    pub(crate) const START: Self = Self { line: 1, column: 1 };

    fn new(line: usize, column_from_0: usize) -> Self {
        let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        Self {
            line: number(line).max(1),
            column: number(column_from_0).saturating_add(1),
        }
    }

    fn of(span: &Span) -> Self {
        Self::new(span.start.line(), span.start.col())
    }
}

/// A node of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) kind: Kind,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Something that was a mistake and is reported already.
    Broken,
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    Scalar(Scalar),
}

/// A scalar as it stands in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scalar {
    /// The text: of a quoted scalar what the quotes hold, of a plain one the very characters.
    pub(crate) text: String,
    /// Whether it stands there without quotes, so that YAML would give it a type.
    pub(crate) plain: bool,
}

impl Scalar {
    /// Whether nothing stands there. `~` and `null` are something, for whom it matters.
    pub(crate) const fn is_absent(&self) -> bool {
        self.plain && self.text.is_empty()
    }

    /// Whether YAML takes it for null.
    pub(crate) fn is_null(&self) -> bool {
        self.plain && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }

    /// What YAML (1.1 or 1.2) takes it for if that is no text.
    pub(crate) fn foreign_type(&self) -> Option<&'static str> {
        if !self.plain {
            return None;
        }
        if self.is_null() {
            return Some("nothing");
        }
        let lower = self.text.to_ascii_lowercase();
        match lower.as_str() {
            "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n" => return Some("a boolean"),
            ".inf" | "+.inf" | "-.inf" | ".nan" => return Some("a number"),
            _ => {}
        }
        let unsigned = lower.trim_start_matches(['+', '-']);
        let based = |prefix: &str, base: u32| {
            let digits = unsigned.strip_prefix(prefix);
            digits.is_some_and(|digits| {
                !digits.is_empty() && digits.chars().all(|char| char.is_digit(base))
            })
        };
        let starts = unsigned.starts_with(|char: char| char.is_ascii_digit() || char == '.');
        let number = starts && unsigned.parse::<f64>().is_ok();
        (number || based("0x", 16) || based("0o", 8)).then_some("a number")
    }
}

/// A mistake that the reader saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    pub(crate) place: Place,
    pub(crate) message: String,
    pub(crate) write: Option<String>,
}

/// What reading a text came to.
#[derive(Debug)]
pub(crate) struct Reading {
    /// The tree; `None` for a text without any node.
    pub(crate) root: Option<Node>,
    /// What is wrong.
    pub(crate) mistakes: Vec<Mistake>,
    /// Whether the tree ends where the text could not be read further: what is absent may stand in the rest.
    pub(crate) cut: bool,
}

/// Reads a text.
pub(crate) fn read(text: &str) -> Reading {
    let mut builder = Builder::default();
    if text.len() > MAX_BYTES {
        builder.mistake(
            Place::START,
            format!("the file is larger than {MAX_BYTES} bytes"),
            None,
        );
        return builder.finish();
    }
    let mut options = Options::default();
    options.disallow_directives = true;
    options.emit_anchor_events = true;
    options.emit_unresolved_aliases = true;
    for event in Parser::new_from_str_with_options(text, options) {
        let ended = match event {
            Ok((event, span)) => builder.event(event, &span),
            Err(error) => builder.syntax(&error),
        };
        if ended == Ended::Yes {
            builder.cut = true;
            break;
        }
    }
    builder.finish()
}

/// Whether reading goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    No,
    Yes,
}

/// A collection that is still open.
#[derive(Debug)]
enum Open {
    List(Vec<Node>),
    Map(Vec<(Node, Node)>, Option<Node>),
}

#[derive(Debug, Default)]
struct Builder {
    open: Vec<(Place, Open)>,
    root: Option<Node>,
    mistakes: Vec<Mistake>,
    documents: u32,
    cut: bool,
}

impl Builder {
    fn mistake(&mut self, place: Place, message: impl Into<String>, write: Option<String>) {
        let message = message.into();
        self.mistakes.push(Mistake {
            place,
            message,
            write,
        });
    }

    fn event(&mut self, event: Event<'_>, span: &Span) -> Ended {
        let place = Place::of(span);
        let tagged = event.tag().is_some();
        if tagged {
            let at = span
                .tag_start
                .map_or(place, |tag| Place::new(tag.line(), tag.col()));
            let message = "tags (`!`) are not allowed; a value that starts with `!` needs quotes";
            self.mistake(at, message, None);
        }
        match event {
            Event::DocumentStart(..) => return self.document(place),
            Event::Anchor(_, name) => {
                let name = quoted(&name);
                let message =
                    format!("anchors (`&`) are not allowed: {name}; write the value itself");
                self.mistake(place, message, None);
            }
            Event::Alias(_) => {
                let message = "aliases (`*`) are not allowed; write the value itself";
                self.mistake(place, message, None);
                self.put(Node {
                    place,
                    kind: Kind::Broken,
                });
            }
            Event::UnresolvedAlias(name) => {
                self.unresolved(place, &name);
                self.put(Node {
                    place,
                    kind: Kind::Broken,
                });
            }
            // What a tag would have made of it nobody asks: one mistake is enough.
            Event::Scalar(..) if tagged => self.put(Node {
                place,
                kind: Kind::Broken,
            }),
            Event::Scalar(text, style, _, _) => {
                let plain = style == ScalarStyle::Plain;
                // An absent value comes as a `~` that stands nowhere.
                let nowhere = plain && span.start.index() == span.end.index();
                let text = if nowhere {
                    String::new()
                } else {
                    text.into_owned()
                };
                let kind = Kind::Scalar(Scalar { text, plain });
                self.put(Node { place, kind });
            }
            Event::SequenceStart(..) => return self.enter(place, Open::List(Vec::new())),
            Event::MappingStart(..) => return self.enter(place, Open::Map(Vec::new(), None)),
            Event::SequenceEnd | Event::MappingEnd => self.leave(),
            Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            // What a later version of the reader may know and we do not.
            _ => return self.unknown(place),
        }
        Ended::No
    }

    fn unknown(&mut self, place: Place) -> Ended {
        self.mistake(place, "not understood", None);
        Ended::Yes
    }

    fn document(&mut self, place: Place) -> Ended {
        self.documents += 1;
        if self.documents > 1 {
            self.mistake(place, "a second document (`---`) is not allowed", None);
            return Ended::Yes;
        }
        Ended::No
    }

    fn syntax(&mut self, error: &ScanError) -> Ended {
        let marker = error.marker();
        let place = Place::new(marker.line(), marker.col());
        let message = format!("not YAML: {}", error.info());
        self.mistake(place, message, None);
        Ended::Yes
    }

    /// `*.example.org` without quotes is an alias to YAML; somebody meant all names below.
    fn unresolved(&mut self, place: Place, name: &str) {
        let shown = quoted(&format!("*{name}"));
        let write = match name.strip_prefix('.') {
            Some(_) => Some(name.to_owned()),
            None if name.is_empty() => None,
            None => Some(format!("\"*{name}\"")),
        };
        let message =
            format!("{shown} without quotes is an alias in YAML, and aliases are not allowed");
        self.mistake(place, message, write);
    }

    fn enter(&mut self, place: Place, open: Open) -> Ended {
        if self.open.len() >= MAX_DEPTH {
            self.mistake(place, format!("nested deeper than {MAX_DEPTH}"), None);
            return Ended::Yes;
        }
        self.open.push((place, open));
        Ended::No
    }

    fn leave(&mut self) {
        if let Some((place, open)) = self.open.pop() {
            let kind = match open {
                Open::List(items) => Kind::List(items),
                // A key without value is dropped: that happens only where the text was cut.
                Open::Map(pairs, _) => Kind::Map(pairs),
            };
            self.put(Node { place, kind });
        }
    }

    /// Puts a finished node where it belongs.
    fn put(&mut self, node: Node) {
        match self.open.last_mut() {
            None if self.root.is_none() => self.root = Some(node),
            None => {}
            Some((_, Open::List(items))) => items.push(node),
            Some((_, Open::Map(pairs, key))) => match key.take() {
                None => *key = Some(node),
                Some(key) => pairs.push((key, node)),
            },
        }
    }

    fn finish(mut self) -> Reading {
        while !self.open.is_empty() {
            self.leave();
        }
        Reading {
            root: self.root,
            mistakes: self.mistakes,
            cut: self.cut,
        }
    }
}

/// The most characters of a value that a message repeats.
const SHOWN: usize = 80;

/// A value of the file for a message: escaped, cut, in backquotes.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::from("`");
    for (count, char) in text.chars().enumerate() {
        if count == SHOWN {
            out.push_str("...");
            break;
        }
        match char {
            '\'' | '"' => out.push(char),
            _ => out.extend(char.escape_debug()),
        }
    }
    out.push('`');
    out
}

/// A host, port or URL as the item of a list: in quotes where it would not be text to YAML.
pub(crate) fn item(text: &str) -> Cow<'_, str> {
    let scalar = Scalar {
        text: text.to_owned(),
        plain: true,
    };
    // `[` opens a list; a name may look like a number or a switch to some reader.
    if text.starts_with('[') || scalar.foreign_type().is_some() {
        return Cow::Owned(format!("\"{text}\""));
    }
    Cow::Borrowed(text)
}

#[cfg(test)]
mod tests;
