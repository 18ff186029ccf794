//! The shape of the S3D paper's evidence (arXiv 2405.20314), beside ours: hyper-parameters,
//! systems, speed against memory. Published rows carry their citation; ours are marked as measured
//! or modelled; what was not to be had stays empty and says so.

mod formats;
mod hyper;
mod input;
mod memory;
mod systems;

pub use input::{PaperInput, Section};

use crate::error::Result;
use crate::format::html::HtmlTable;
use crate::page::picture::Picture;
use crate::page::template::{Template, render};
use crate::report::{write_figures, write_tables};
use s3d_data::{RunDir, store};
use serde::Serialize;

/// The three parts: hyper-parameters, systems, memory.
///
/// # Errors
/// Published tables that do not parse; a family that needs measured points.
pub fn parts(input: &PaperInput) -> Result<Vec<Section>> {
    Ok(vec![hyper::part(input)?, systems::part(input)?, memory::part(input)?])
}

/// What the template of the comparison is given.
#[derive(Serialize)]
struct Page {
    parts: Vec<Part>,
}

#[derive(Serialize)]
struct Part {
    title: String,
    words: String,
    pictures: Vec<Picture>,
    tables: Vec<HtmlTable>,
}

impl Part {
    fn new(section: Section) -> Result<Self> {
        let pictures = section.figures.iter().map(Picture::new).collect::<Result<_>>()?;
        let tables = section.tables.iter().map(HtmlTable::new).collect();
        Ok(Self { title: section.title, words: section.words, pictures, tables })
    }
}

/// The comparison as one self-contained HTML document.
///
/// # Errors
/// As [`parts`]; a figure that cannot be drawn.
pub fn document(input: &PaperInput) -> Result<String> {
    let parts = parts(input)?.into_iter().map(Part::new).collect::<Result<_>>()?;
    render(Template::Paper, &Page { parts })
}

/// Writes `paper.html`, figures and tables into a folder.
///
/// # Errors
/// As [`document`]; a file that cannot be written.
pub fn write_paper(dir: &RunDir, input: &PaperInput) -> Result<()> {
    for part in parts(input)? {
        write_figures(dir, &part.figures)?;
        write_tables(dir, &part.tables)?;
    }
    store::save_atomically(&dir.file("paper.html"), document(input)?.as_bytes())?;
    Ok(())
}
