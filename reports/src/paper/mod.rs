//! The shape of the S3D paper's evidence (arXiv 2405.20314), beside ours: hyper-parameters,
//! systems, speed against memory. Published rows carry their citation; ours are marked as measured
//! or modelled; what was not to be had stays empty and says so.

mod formats;
mod hyper;
mod input;
mod memory;
mod methods;
mod systems;

pub use input::{PaperInput, Section};
pub use memory::published_checks;
pub use methods::computed_gib;

use crate::error::Result;
use crate::format::html;
use crate::page;
use crate::report::{write_figures, write_tables};
use s3d_data::{RunDir, store};

/// The three parts: hyper-parameters, systems, memory.
///
/// # Errors
/// Published tables that do not parse; a family that needs measured points.
pub fn parts(input: &PaperInput) -> Result<Vec<Section>> {
    Ok(vec![hyper::part(input)?, systems::part(input)?, memory::part(input)?])
}

/// The comparison as one self-contained HTML document.
///
/// # Errors
/// As [`parts`]; a figure that cannot be drawn.
pub fn document(input: &PaperInput) -> Result<String> {
    let mut body = String::from("<h1>Published results beside ours</h1>\n");
    for part in parts(input)? {
        let names: Vec<_> = part.figures.iter().map(|figure| figure.name.as_str()).collect();
        let mut content = format!("<p>{}</p>\n", html::escape(&part.words));
        content += &page::draw(&part.figures, &names)?;
        content += &part.tables.iter().map(html::table).collect::<String>();
        body += &page::section(&part.title, &content);
    }
    Ok(page::document("S3D: published results beside ours", &body))
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
