//! JSON as Python's `json.dumps` writes it, which is what transformers' `tojson` does.

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};
use std::fmt::Write;

/// Deepest nesting of what is written.
const DEEPEST: usize = 100;
/// Widest indentation.
const WIDEST: usize = 32;

/// `value | tojson(ensure_ascii=..., indent=..., separators=..., sort_keys=...)`.
pub(super) fn tojson(
    state: &State<'_, '_>,
    value: &Value,
    ascii: Option<bool>,
    options: Kwargs,
) -> Result<Value, Error> {
    let indent = indent(options.get("indent")?)?;
    let separators: Option<Vec<String>> = options.get("separators")?;
    let (item, key) = match separators.as_deref() {
        Some([item, key]) => (item.clone(), key.clone()),
        Some(_) => return Err(invalid("tojson: expected two separators")),
        None if indent.is_some() => (",".into(), ": ".into()),
        None => (", ".into(), ": ".into()),
    };
    let ascii = ascii.or(options.get("ensure_ascii")?).unwrap_or(false);
    let sort = options.get::<Option<bool>>("sort_keys")?.unwrap_or(false);
    options.assert_all_used()?;
    let mut writer = Writer { state, out: String::new(), paid: 0, indent, item, key, ascii, sort };
    writer.value(value, 0)?;
    Ok(Value::from(writer.out))
}

/// The spaces of one level: given as a number, or as white space.
fn indent(value: Option<Value>) -> Result<Option<String>, Error> {
    let Some(value) = value.filter(|value| !value.is_none()) else { return Ok(None) };
    let text = match value.as_str() {
        Some(text) => text.to_string(),
        None => " ".repeat(
            usize::try_from(value).map_or(usize::MAX, |n| n.min(WIDEST + 1)).min(WIDEST + 1),
        ),
    };
    if text.len() > WIDEST {
        return Err(invalid(format!("tojson: expected an indent of at most {WIDEST}")));
    }
    Ok(Some(text))
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

struct Writer<'s, 't, 'e> {
    state: &'s State<'t, 'e>,
    out: String,
    /// Bytes of `out` that fuel was taken for.
    paid: usize,
    indent: Option<String>,
    item: String,
    key: String,
    ascii: bool,
    sort: bool,
}

impl Writer<'_, '_, '_> {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        if depth > DEEPEST {
            return Err(invalid(format!("tojson: expected at most {DEEPEST} levels, found more")));
        }
        self.pay()?;
        match value.kind() {
            ValueKind::None => self.out.push_str("null"),
            ValueKind::Bool => self.out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.out.push_str(&value.to_string().replace("inf", "Infinity")),
            ValueKind::String => self.text(value.as_str().unwrap_or_default()),
            ValueKind::Seq | ValueKind::Iterable => self.list(value, depth)?,
            ValueKind::Map if !is_namespace(value) => self.map(value, depth)?,
            kind => return Err(invalid(format!("tojson: cannot write {kind} as JSON"))),
        }
        Ok(())
    }

    /// Takes fuel for what was written since the last time.
    fn pay(&mut self) -> Result<(), Error> {
        let fresh = self.out.len() - self.paid;
        self.paid = self.out.len();
        self.state.consume_fuel(1 + fresh as u64 / 64)
    }

    fn list(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        self.out.push('[');
        let mut empty = true;
        for item in value.try_iter()? {
            self.next(empty, depth);
            empty = false;
            self.value(&item, depth + 1)?;
        }
        self.close(empty, depth, ']');
        Ok(())
    }

    fn map(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        let mut keys: Vec<Value> = value.try_iter()?.collect();
        if self.sort {
            keys.sort();
        }
        self.out.push('{');
        for (place, key) in keys.iter().enumerate() {
            self.next(place == 0, depth);
            match key.as_str() {
                Some(text) => self.text(text),
                None => self.text(&key.to_string()),
            }
            self.out.push_str(&self.key.clone());
            self.value(&value.get_item(key)?, depth + 1)?;
        }
        self.close(keys.is_empty(), depth, '}');
        Ok(())
    }

    /// What stands before an item.
    fn next(&mut self, first: bool, depth: usize) {
        if !first {
            self.out.push_str(&self.item.clone());
        }
        self.line(depth + 1);
    }

    fn close(&mut self, empty: bool, depth: usize, bracket: char) {
        if !empty {
            self.line(depth);
        }
        self.out.push(bracket);
    }

    fn line(&mut self, depth: usize) {
        if let Some(indent) = &self.indent {
            self.out.push('\n');
            self.out.push_str(&indent.repeat(depth));
        }
    }

    fn text(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\u{8}' => self.out.push_str("\\b"),
                '\u{c}' => self.out.push_str("\\f"),
                c if c < ' ' || self.ascii && !c.is_ascii() || c == '\u{7f}' && self.ascii => {
                    self.escape(c)
                }
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }

    /// A character as one or two UTF-16 units.
    fn escape(&mut self, c: char) {
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Writing to a string does not fail.
            let _ = write!(self.out, "\\u{unit:04x}");
        }
    }
}

/// Whether `value` is a namespace of a template: the one kind that can be changed, and so could
/// hold itself.
pub(super) fn is_namespace(value: &Value) -> bool {
    value.as_object().is_some_and(|object| object.type_name().ends_with("::Namespace"))
}
