//! Which file of a crate imports which, read from its sources.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Files by module path (`backend::linear`), with the module paths they import. Tests are left out.
pub struct ImportGraph {
    /// What each file imports.
    pub arrows: BTreeMap<String, BTreeSet<String>>,
    /// Imports that go through the crate's `lib.rs`: the file, and the name.
    pub through_lib: Vec<(String, String)>,
}

/// The code of a file without comments, up to its tests.
fn code_of(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// All files below `src`, by module path.
fn files(src: &Path) -> BTreeMap<String, String> {
    let (mut folders, mut found) = (vec![src.to_path_buf()], BTreeMap::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "tests" {
                folders.push(path);
            } else if name.ends_with(".rs") && name != "tests.rs" && name != "test_numbers.rs" {
                let module = path.strip_prefix(src).unwrap().with_extension("");
                let parts = module.iter().map(|part| part.to_string_lossy());
                let parts: Vec<_> = parts.filter(|part| part != "mod" && part != "lib").collect();
                found.insert(parts.join("::"), code_of(&path));
            }
        }
    }
    found
}

/// The paths that a `use` tree names: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn leaves(tree: &str) -> Vec<String> {
    let Some((before, rest)) = tree.split_once('{') else {
        return vec![tree.split(" as ").next().unwrap_or_default().trim().to_string()];
    };
    let inner = rest.rsplit_once('}').map_or(rest, |(inner, _)| inner);
    let (mut depth, mut parts) = (0, vec![String::new()]);
    for letter in inner.chars() {
        depth += i32::from(letter == '{') - i32::from(letter == '}');
        match letter == ',' && depth == 0 {
            true => parts.push(String::new()),
            false => parts.last_mut().unwrap().push(letter),
        }
    }
    let parts = parts.iter().filter(|part| !part.trim().is_empty());
    parts.flat_map(|part| leaves(part)).map(|leaf| format!("{}{leaf}", before.trim())).collect()
}

/// Paths that a file names from `crate`, `super`, `self` or a module below it, re-exports aside.
fn named(code: &str, children: &[&str]) -> Vec<String> {
    let mut all = Vec::new();
    let starts = code.match_indices("use ").filter(|(at, _)| {
        let line = code[..*at].rsplit('\n').next().unwrap_or_default();
        line.trim().is_empty() || line.trim().starts_with("pub(")
    });
    for (at, word) in starts {
        let tree = code[at + word.len()..].split(';').next().unwrap_or_default();
        all.extend(leaves(tree).into_iter().filter(|leaf| {
            let first = leaf.split("::").next().unwrap_or_default();
            ["crate", "super", "self"].contains(&first) || children.contains(&first)
        }));
    }
    let uses = code.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
    all.extend(
        uses.filter(|p| p.starts_with("crate::") || p.starts_with("super::")).map(str::to_string),
    );
    all
}

/// A path from the root of the crate.
fn absolute(module: &str, path: &str) -> Vec<String> {
    let mut at: Vec<String> =
        module.split("::").filter(|part| !part.is_empty()).map(str::to_string).collect();
    for part in path.split("::").filter(|part| !part.is_empty()) {
        match part {
            "crate" => at.clear(),
            "super" => drop(at.pop()),
            "self" => {}
            name => at.push(name.to_string()),
        }
    }
    at
}

impl ImportGraph {
    /// The graph of the crate with these sources.
    pub fn of(src: &Path) -> Self {
        let files = files(src);
        let mut graph = Self { arrows: BTreeMap::new(), through_lib: Vec::new() };
        for (module, code) in files.iter().filter(|(module, _)| !module.is_empty()) {
            let inside = format!("{module}::");
            let children: Vec<&str> =
                files.keys().filter_map(|other| other.strip_prefix(&inside)).collect();
            // A `pub use` hands a name on and imports nothing.
            let code: Vec<&str> =
                code.lines().filter(|line| !line.starts_with("pub use ")).collect();
            let code = code.join("\n");
            let to = graph.arrows.entry(module.clone()).or_default();
            for path in named(&code, &children) {
                let path = absolute(module, &path);
                let homes = (1..=path.len()).rev().map(|n| path[..n].join("::"));
                match homes.into_iter().find(|home| files.contains_key(home)) {
                    Some(home) if home != *module => drop(to.insert(home)),
                    None if !path.is_empty() => {
                        graph.through_lib.push((module.clone(), path.join("::")));
                    }
                    _ => {}
                }
            }
        }
        graph
    }

    /// Files that import themselves through others.
    pub fn circles(&self) -> Vec<&str> {
        let reaches = |from: &str| {
            let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
            while let Some(at) = next.pop() {
                for to in self.arrows.get(at).into_iter().flatten() {
                    if seen.insert(to.as_str()) {
                        next.push(to);
                    }
                }
            }
            seen.contains(from)
        };
        self.arrows.keys().map(String::as_str).filter(|module| reaches(module)).collect()
    }
}
