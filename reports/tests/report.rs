//! The page and the files around it.

mod fixture;

use s3d_data::RunDir;
use s3d_reports::{page, write_report};
use std::path::Path;

#[test]
fn a_report_writes_page_figures_and_tables() {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report");
    let dir = RunDir::new(&root);
    write_report(&dir, &fixture::input()).unwrap();
    for file in [
        "report.html",
        "figures/speedup_simultaneous.svg",
        "figures/speedup_simultaneous.png",
        "figures/speedup_simultaneous.csv",
        "tables/plans.csv",
        "tables/plans.md",
    ] {
        assert!(root.join(file).metadata().unwrap().len() > 100, "{file}");
    }
}

#[test]
fn a_report_below_a_regular_file_names_it() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let dir = RunDir::new(file.path().join("out"));
    let message = write_report(&dir, &fixture::input()).unwrap_err().to_string();
    assert!(message.contains(&file.path().display().to_string()), "{message}");
}

#[test]
fn a_large_search_gives_a_page_of_at_most_three_megabytes() {
    let input = fixture::large_input();
    assert_eq!(input.grid.len(), 2 * 528 * 8);
    let page = page::page(&input).unwrap();
    assert!(page.len() <= 3_000_000, "{} bytes", page.len());
    assert!(page.contains("figure-windows_simultaneous"));
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("large");
    write_report(&RunDir::new(&root), &input).unwrap();
}

#[test]
fn what_users_name_is_text_and_never_markup() {
    let mut input = fixture::input();
    input.header.warnings.push("She said \"it's <b>1 & 2</b>\" 🦀🎉".into());
    let page = page::page(&input).unwrap();
    assert!(!page.contains(fixture::EVIL_NAME), "the model's name runs as a script");
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(page.contains("She said &quot;it&#39;s &lt;b&gt;1 &amp; 2&lt;/b&gt;&quot; 🦀🎉"));
}

#[test]
fn the_page_asks_for_nothing_from_outside() {
    let page = page::page(&fixture::input()).unwrap();
    for token in ["<link rel=\"stylesheet", "<img", "<iframe", "@import", "url(", " src="] {
        assert!(!page.contains(token), "{token}");
    }
    let addresses = page.match_indices("http").filter(|(at, _)| {
        !page[*at..].starts_with("http://www.w3.org/2000/svg")
            && !page[*at..].starts_with("http-equiv")
    });
    assert_eq!(addresses.count(), 0);
}
