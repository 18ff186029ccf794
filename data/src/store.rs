//! Load and save: whole files written atomically, the path in every error.

mod atomic;
pub mod cells;
pub mod file;
pub mod finite;
mod objects;
pub mod rows;
mod tables;

pub(crate) use atomic::UNFINISHED;
pub use atomic::save_atomically;
pub use objects::{load_json, load_versioned, parse_json, parse_versioned, save_json};
pub use tables::{
    csv_columns, csv_text, load_csv, load_jsonl, open, open_or_empty, parse_csv, parse_csv_checked,
    parse_jsonl, parse_jsonl_checked, save_csv, save_jsonl,
};

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_save_below_a_regular_file_names_the_path() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().join("out/run.json");
        let message = save_atomically(&path, b"x").unwrap_err().to_string();
        assert!(message.starts_with("cannot create folder"), "{message}");
    }

    #[test]
    fn another_schema_version_says_both_numbers() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), r#"{"schema_version": 2}"#).unwrap();
        let read = || load_versioned::<serde_json::Value>(file.path(), 1, |_| Ok(()));
        let message = read().unwrap_err().to_string();
        assert!(message.contains("schema version 2") && message.contains("version 1"), "{message}");
    }

    #[test]
    fn a_number_that_is_none_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fit.json");
        let numbers = [1.0, f64::NAN];
        for refused in
            [save_json(&path, &numbers), save_jsonl(&path, &numbers), save_csv(&path, &[numbers])]
        {
            let message = refused.unwrap_err().to_string();
            assert!(
                message.contains("fit.json: not written") && message.contains("NaN"),
                "{message}"
            );
        }
        assert!(!path.exists());
    }
}
