//! Fills the templates of the pages. Everything that is filled in is escaped, but for style, script
//! and drawings, which this program made.

use crate::draw::palette::Hue;
use crate::error::Result;
use crate::format::html::escape;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use serde::Serialize;

/// A page by its template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Template {
    /// One run.
    Report,
    /// Several runs.
    Comparison,
    /// Published results.
    Paper,
}

/// A template below the macros that all share.
macro_rules! page {
    ($file:literal) => {
        concat!(include_str!("parts.html.jinja"), include_str!($file))
    };
}

impl Template {
    fn text(self) -> &'static str {
        match self {
            Self::Report => page!("report.html.jinja"),
            Self::Comparison => page!("comparison.html.jinja"),
            Self::Paper => page!("paper.html.jinja"),
        }
    }
}

/// A hue of figures and its twin on a dark screen.
#[derive(Serialize)]
struct Twin {
    light: String,
    dark: &'static str,
}

/// The page that `template` makes of `context`.
///
/// # Errors
/// When the template asks for what `context` does not hold.
pub(crate) fn render(template: Template, context: &impl Serialize) -> Result<String> {
    let mut jinja = Environment::new();
    jinja.set_undefined_behavior(UndefinedBehavior::Strict);
    jinja.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    jinja.set_formatter(|out, _, value| match value.as_str() {
        Some(safe) if value.is_safe() => Ok(out.write_str(safe)?),
        Some(text) => Ok(out.write_str(&escape(text))?),
        None => Ok(out.write_str(&escape(&value.to_string()))?),
    });
    jinja.add_global("style", include_str!("page.css"));
    jinja.add_global("script", include_str!("page.js"));
    let twin = |hue: &Hue| Twin { light: hue.hex(), dark: hue.dark_hex() };
    jinja.add_global("hues", Serde(Hue::ALL.iter().map(twin).collect::<Vec<_>>()));
    let page = jinja.template_from_named_str("page.html", template.text())?;
    Ok(page.render(Serde(context))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Empty {
        runs: [u8; 0],
    }

    #[test]
    fn what_a_template_is_not_given_is_an_error() {
        let error = render(Template::Comparison, &Empty { runs: [] }).unwrap_err().to_string();
        assert!(error.contains("undefined"), "{error}");
    }
}
