//! Figures as data (snapshots) and drawn (no pixel is compared).

mod fixture;

use s3d_reports::draw::{chart, scene};
use s3d_reports::figures;

#[test]
fn every_figure_draws() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("figures");
    std::fs::create_dir_all(&folder).unwrap();
    let all = figures::all(&fixture::input());
    assert_eq!(all.len(), 13);
    for figure in all {
        let scene = scene::scene(&figure);
        std::fs::write(folder.join(format!("{}.png", figure.name)), chart::png(&scene).unwrap())
            .unwrap();
        std::fs::write(folder.join(format!("{}.svg", figure.name)), chart::svg(&scene).unwrap())
            .unwrap();
    }
}
