//! Writes the synthetic digits as four gzipped IDX files: `cargo run --release --example export -p gainstage-data -- DIR`.

use std::path::PathBuf;

use gainstage_data::{DataError, Source, load, write_folder};

fn main() -> Result<(), DataError> {
    let folder =
        std::env::args().nth(1).map_or_else(|| PathBuf::from("synthetic-digits"), PathBuf::from);
    write_folder(&load(&Source::Synthetic, &mut |_| ())?, &folder)
}
