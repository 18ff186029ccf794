//! A template's text, made ready for the engine: what Jinja2 does to it, limits, and two
//! rewritings.

use minijinja::Error;
use minijinja::machinery::{Span, Token, tokenize};
use minijinja::syntax::SyntaxConfig;
use std::ops::Range;

/// Longest template in bytes.
const LONGEST: usize = 1 << 20;
/// Words and signs in one tag. The engine descends once for each of a chain, so this bounds its
/// depth.
const SIGNS: usize = 4096;
/// Tags of a template; each `elif` is one step deeper.
const TAGS: usize = 10_000;

/// The filter that keeps what namespaces hold plain.
pub(super) const PLAIN: &str = "s3d_plain";

/// The template as the engine is to read it: line ends are those of Jinja2, `{% generation %}` (a
/// block that marks the assistant's text for training) is a block without effect, and what is
/// assigned to a namespace goes through [`PLAIN`].
///
/// # Errors
/// A template that is damaged or too large.
pub(super) fn prepare(template: &str, syntax: &SyntaxConfig) -> Result<String, String> {
    if template.len() > LONGEST {
        return Err(format!("expected at most {LONGEST} bytes, found {}", template.len()));
    }
    let source = template.replace("\r\n", "\n").replace('\r', "\n");
    let mut tags = Tags::default();
    for token in tokenize(&source, false, syntax.clone()) {
        let (token, span) = token.map_err(|e: Error| format!("{e:#}"))?;
        tags.push(&token, span)?;
    }
    Ok(edited(&source, tags.edits))
}

/// Ranges of the source with what takes their place, in order.
type Edits = Vec<(Range<usize>, &'static str)>;

/// What is known of the tag that is being read.
#[derive(Default)]
struct Tags {
    edits: Edits,
    count: usize,
    signs: usize,
    /// Open brackets.
    depth: usize,
    first: First,
    /// Whether the target of a `set` has a dot: an attribute of a namespace.
    dotted: bool,
    /// Whether its value has begun.
    assigned: bool,
}

/// The word that a tag begins with.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum First {
    #[default]
    None,
    Set,
    Other,
}

impl Tags {
    fn push(&mut self, token: &Token<'_>, span: Span) -> Result<(), String> {
        let range = span.start_offset as usize..span.end_offset as usize;
        match token {
            Token::TemplateData(_) => {}
            Token::BlockStart | Token::VariableStart => self.open()?,
            Token::BlockEnd | Token::VariableEnd => self.close(range.start),
            token => self.sign(token, range)?,
        }
        Ok(())
    }

    fn open(&mut self) -> Result<(), String> {
        let (edits, count) = (std::mem::take(&mut self.edits), self.count + 1);
        *self = Self { edits, count, ..Self::default() };
        if count > TAGS {
            return Err(format!("expected at most {TAGS} tags, found more"));
        }
        Ok(())
    }

    fn close(&mut self, end: usize) {
        if self.assigned {
            self.edits.push((end..end, ")|s3d_plain "));
        }
    }

    fn sign(&mut self, token: &Token<'_>, range: Range<usize>) -> Result<(), String> {
        self.signs += 1;
        if self.signs > SIGNS {
            return Err(format!("expected at most {SIGNS} words and signs in a tag, found more"));
        }
        if self.first == First::None {
            self.first = First::Other;
            match token {
                Token::Ident("set") => self.first = First::Set,
                Token::Ident("generation") => self.edits.push((range, "with")),
                Token::Ident("endgeneration") => self.edits.push((range, "endwith")),
                _ => {}
            }
            return Ok(());
        }
        match token {
            Token::ParenOpen | Token::BracketOpen | Token::BraceOpen => self.depth += 1,
            Token::ParenClose | Token::BracketClose | Token::BraceClose => {
                self.depth = self.depth.saturating_sub(1);
            }
            _ if self.first != First::Set || self.assigned => {}
            Token::Dot => self.dotted = true,
            // A filter of a block, not a value.
            Token::Pipe if self.depth == 0 => self.first = First::Other,
            Token::Assign if self.depth == 0 && self.dotted => {
                self.assigned = true;
                self.edits.push((range.end..range.end, " ("));
            }
            Token::Assign if self.depth == 0 => self.first = First::Other,
            _ => {}
        }
        Ok(())
    }
}

fn edited(source: &str, edits: Edits) -> String {
    let mut out = String::with_capacity(source.len() + 16 * edits.len());
    let mut at = 0;
    for (range, text) in edits {
        out.push_str(&source[at..range.start]);
        out.push_str(text);
        at = range.end;
    }
    out.push_str(&source[at..]);
    out
}
