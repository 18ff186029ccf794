//! A costs file, and behind a line `===` the table that it may name: any bytes become costs or are
//! refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use s3d_data::{Drafting, store};
use s3d_simulator::{CostRow, CostsFile};
use std::path::Path;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let (costs, table) = text.split_once("\n===\n").unwrap_or((&text, ""));
    let Ok(file) = CostsFile::parse(costs.as_bytes(), Path::new("costs.toml")) else { return };
    let rows = store::parse_csv::<CostRow>(table.as_bytes(), Path::new("table.csv"));
    let rows: Vec<CostRow> = rows.unwrap_or_default().into_iter().map(|(_, row)| row).collect();
    for drafting in Drafting::ALL {
        for share in [None, Some(0.5)] {
            let Ok(model) = file.model(drafting, share, |_| Ok(rows.clone())) else { continue };
            for (width, context) in [(1, 1), (9, 256), (65, 1 << 22)] {
                assert!(!model.full.seconds(width, context).is_nan());
                let _ = model.draft_seconds(drafting, width, context, 1);
            }
        }
    }
});
