//! How many situations the model checker looks into for definition files, and how long it takes, by the number of surprises:
//! `cargo run --release -p banyan-saga --example lint_rate -- examples/sagas/*.toml`.

use banyan_domain::saga::check::{Bounds, check};
use std::time::Instant;

fn main() -> Result<(), String> {
    for file in std::env::args().skip(1) {
        let text = std::fs::read_to_string(&file).map_err(|error| format!("reading {file}: {error}"))?;
        let definition =
            banyan_saga::read_definition(&text).map_err(|error| format!("reading {file}: {error}"))?;
        print!("| {} ", definition.name);
        for surprises in 1..=2 {
            let began = Instant::now();
            let checked = check(&definition, None, Bounds { surprises, situations: 50_000_000 });
            let how = checked.bad.map_or("sound", |bad| bad.what);
            print!("| {} situations, {:.1} s, {how} ", checked.states, began.elapsed().as_secs_f64());
        }
        println!("|");
    }
    Ok(())
}
