//! Free sets of sub-layers, and how they are written: in files that other projects publish, and in
//! the names of plans.

use crate::error::{Error, Result};
use crate::limits::LAYERS;
use crate::quote::shown;
use crate::store::file;
use crate::store::file::Limit;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// A free set of sub-layers to skip, in the JSON form that Draft & Verify and SWIFT publish.
///
/// In plans it is written out, so that a name in a table says what was skipped and reads back:
///
/// ```
/// let set: s3d_data::LayerSet = "attn-1+4..7-mlp-2".parse()?;
/// assert_eq!((&set.attention[..], &set.mlp[..]), (&[1, 4, 5, 6][..], &[2][..]));
/// assert_eq!(set.to_string(), "attn-1+4..7-mlp-2");
/// # Ok::<(), s3d_data::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerSet {
    /// Layers whose attention sub-layer is left out, rising.
    pub attention: Vec<usize>,
    /// Layers whose MLP sub-layer is left out, rising.
    pub mlp: Vec<usize>,
}

impl LayerSet {
    /// A set of sub-layers; the lists may be in any order.
    ///
    /// # Errors
    /// A layer beyond every model.
    pub fn new(attention: Vec<usize>, mlp: Vec<usize>) -> Result<Self> {
        Self { attention, mlp }.sorted()
    }

    /// The set that a command line names: written out, or in a file ([`Self::load_file`]).
    ///
    /// # Errors
    /// As [`Self::load_file`].
    pub fn load(text: &str) -> Result<Self> {
        text.parse().or_else(|_| Self::load_file(text))
    }

    /// Reads `{"attention": [..], "mlp": [..]}`, what `s3d export` prints, or a file of several
    /// sets with names, of which `FILE#NAME` takes one.
    ///
    /// # Errors
    /// When the file cannot be read or has another form, or the set has no such name.
    pub fn load_file(path: &str) -> Result<Self> {
        let (file, name) = match path.rsplit_once('#') {
            Some((file, name)) if !Path::new(path).exists() => (file, Some(name)),
            _ => (path, None),
        };
        Self::parse(&file::read(Path::new(file), Limit::TYPED)?, Path::new(file), name)
    }

    /// The set in `bytes`, which were read from `file`; of several the one with this `name`.
    ///
    /// # Errors
    /// As [`Self::load_file`].
    pub fn parse(bytes: &[u8], file: &Path, name: Option<&str>) -> Result<Self> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Published {
            One(LayerSet),
            Exported { skip_layers: LayerSet },
            Named(BTreeMap<String, LayerSet>),
        }
        let fail = |message: String| Error::malformed(file, message);
        let published = serde_json::from_slice(bytes).map_err(|_| {
            fail(
                "expected {\"attention\": [..], \"mlp\": [..]}, or an object of such sets with \
             names"
                    .into(),
            )
        })?;
        let set = match (published, name) {
            (Published::One(set) | Published::Exported { skip_layers: set }, None) => set,
            (Published::One(_) | Published::Exported { .. }, Some(name)) => {
                let name = shown(name);
                return Err(fail(format!(
                    "holds one set without a name; '#{name}' is one too many"
                )));
            }
            (Published::Named(mut sets), name) => {
                let names: Vec<String> = sets.keys().take(8).map(|name| shown(name)).collect();
                let found = name.and_then(|name| sets.remove(name));
                found.ok_or_else(|| {
                    let (file, names) = (file.display(), names.join(", "));
                    fail(format!("holds several sets; name one as {file}#NAME, of: {names}"))
                })?
            }
        };
        set.sorted().map_err(|e| fail(e.to_string()))
    }

    /// Whether the lists rise, as those of records do, within the layers of any model.
    ///
    /// # Errors
    /// Names the list.
    pub fn check(&self) -> Result<()> {
        for (name, list) in [("attention", &self.attention), ("mlp", &self.mlp)] {
            let rises = list.windows(2).all(|pair| pair[0] < pair[1]);
            if !rises || list.last().is_some_and(|layer| *layer >= LAYERS) {
                return Err(Error::invalid(format!(
                    "the layers of '{name}' must rise and lie below {LAYERS}"
                )));
            }
        }
        Ok(())
    }

    /// The set with rising lists without repeats.
    fn sorted(mut self) -> Result<Self> {
        for list in [&mut self.attention, &mut self.mlp] {
            list.sort_unstable();
            list.dedup();
            if let Some(layer) = list.last().filter(|layer| **layer >= LAYERS) {
                return Err(Error::invalid(format!("layer {layer} lies beyond {LAYERS} layers")));
            }
        }
        Ok(self)
    }
}

impl fmt::Display for LayerSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "attn-{}-mlp-{}", written(&self.attention), written(&self.mlp))
    }
}

/// `1+4..7` for 1, 4, 5 and 6; `none` for nothing.
fn written(layers: &[usize]) -> String {
    let mut parts = Vec::new();
    let mut rest = layers;
    while let Some(&first) = rest.first() {
        let run = rest.iter().zip(first..).take_while(|(layer, next)| **layer == *next).count();
        let (now, later) = rest.split_at(run);
        match run {
            1 | 2 => parts.extend(now.iter().map(usize::to_string)),
            _ => parts.push(format!("{first}..{}", first + run)),
        }
        rest = later;
    }
    if parts.is_empty() { "none".into() } else { parts.join("+") }
}

impl FromStr for LayerSet {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || {
            Error::invalid(format!(
                "expected a set such as attn-1+4..7-mlp-2, found '{}'",
                shown(text)
            ))
        };
        let lists = text.strip_prefix("attn-").and_then(|rest| rest.split_once("-mlp-"));
        let (attention, mlp) = lists.ok_or_else(bad)?;
        let read = |list: &str| layers(list).ok_or_else(bad);
        Self { attention: read(attention)?, mlp: read(mlp)? }.sorted()
    }
}

fn layers(list: &str) -> Option<Vec<usize>> {
    let mut layers = Vec::new();
    if list == "none" {
        return Some(layers);
    }
    for part in list.split('+') {
        let (start, end) = match part.split_once("..") {
            Some((start, end)) => (start.parse().ok()?, end.parse().ok()?),
            None => {
                let layer: usize = part.parse().ok()?;
                (layer, layer.checked_add(1)?)
            }
        };
        if start >= end || end > LAYERS {
            return None;
        }
        layers.extend(start..end);
        if layers.len() > LAYERS {
            return None; // the same layers over and over
        }
    }
    Some(layers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn published_files_are_read() {
        // source: the form of skip_layers.json of Draft & Verify and SWIFT: sets by name
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        std::fs::write(
            path,
            r#"{"a": {"attention": [3, 1, 3], "mlp": []}, "b": {"attention": [], "mlp": [2]}}"#,
        )
        .unwrap();
        assert_eq!(LayerSet::load(&format!("{path}#a")).unwrap().attention, [1, 3]);
        let error = LayerSet::load(path).unwrap_err().to_string();
        assert!(error.contains("#NAME, of: a, b"), "{error}");
        assert!(LayerSet::load(&format!("{path}#c")).is_err());
        std::fs::write(path, r#"{"attention": [3, 1], "mlp": [0]}"#).unwrap();
        let set = LayerSet::load(path).unwrap();
        assert_eq!(set.to_string(), "attn-1+3-mlp-0");
        assert!(LayerSet::load(&format!("{path}#a")).is_err());
        let exported = r#"{"plan": "1..2:3", "skip_layers": {"attention": [1], "mlp": [1]}}"#;
        std::fs::write(path, exported).unwrap();
        assert_eq!(LayerSet::load(path).unwrap().to_string(), "attn-1-mlp-1");
        std::fs::write(path, r#"{"attention": [3], "mlps": [0]}"#).unwrap();
        assert!(LayerSet::load(path).unwrap_err().to_string().contains("\"mlp\""));
        std::fs::write(path, r#"{"attention": [999999], "mlp": [0]}"#).unwrap();
        assert!(LayerSet::load(path).unwrap_err().to_string().contains("4096"));
    }

    #[test]
    fn what_is_no_set_is_refused() {
        for bad in [
            "",
            "attn-1",
            "attn--mlp-1",
            "attn-1-mlp-",
            "attn-3..3-mlp-0",
            "attn-x-mlp-0",
            "attn-0..99999-mlp-0",
            &format!("attn-{}-mlp-0", ["0..4096"; 2].join("+")),
        ] {
            assert!(bad.parse::<LayerSet>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn sets_read_back(attention in proptest::collection::btree_set(0usize..40, 0..20),
                          mlp in proptest::collection::btree_set(0usize..40, 0..20)) {
            let (attention, mlp) = (attention.into_iter().collect(), mlp.into_iter().collect());
            let set = LayerSet { attention, mlp };
            prop_assert_eq!(set.to_string().parse::<LayerSet>().unwrap(), set);
        }
    }
}
