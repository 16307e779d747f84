//! Draws the same network with burn and with candle, each with its own initializers, and audits what came out.
//!
//! `cargo run --release` prints the tables, `cargo test --release` asserts what they say: burn's row layout and
//! candle start as documented; burn 0.22's column layout passes the fans in the other order
//! (burn-nn 0.22.1, src/modules/linear.rs, `LinearLayout::Col`), and the audit names it.
//! `cargo run --release -- write DIR` writes the layers that the ledger's claims FRM06 and FRM07 read:
//! `burn.safetensors` and `candle.safetensors`, in half precision, which moves a standard deviation by less than
//! one part in ten thousand. burn draws from seed 7; candle's generator on the CPU takes no seed, so that its file
//! is another one each time.

use std::error::Error;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use burn::nn::{Initializer, Linear, LinearConfig, LinearLayout};
use candle_nn::{VarBuilder, VarMap};
use gainstage_audit::{Audit, Checkpoint, Options, audit};
use half::f16;

/// No two neighbours have a ratio of 2, whose square root is a factor of its own.
const WIDTHS: [usize; 6] = [300, 200, 150, 170, 90, 10];

/// Inputs and units of the layers that are written: their fans differ by 3.75, whose root is 1.94.
const WRITTEN: (usize, usize) = (150, 40);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [command, dir] = arguments.as_slice()
        && command == "write"
    {
        return write(Path::new(dir));
    }
    for (name, report) in [
        ("burn, Linear with its default", burn(LinearLayout::Row, None)?),
        ("burn, Linear with LinearLayout::Col", burn(LinearLayout::Col, None)?),
        (
            "burn, Linear with LinearLayout::Col and KaimingNormal",
            burn(LinearLayout::Col, Some(kaiming()))?,
        ),
        ("candle, linear with its default", candle()?),
    ] {
        println!("{name}\n{}\n{}", report.table().to_text(), report.summary());
    }
    Ok(())
}

fn kaiming() -> Initializer {
    Initializer::KaimingNormal { gain: std::f64::consts::SQRT_2, fan_out_only: false }
}

fn write(dir: &Path) -> Result<(), Box<dyn Error>> {
    let mut of_burn = Vec::new();
    for (name, layout) in [("row", LinearLayout::Row), ("col", LinearLayout::Col)] {
        let drawn = burn_arrays(&[WRITTEN.0, WRITTEN.1], layout, None)?;
        let weights = drawn.into_iter().filter(|(array, ..)| array.ends_with(".weight"));
        of_burn.extend(weights.map(|(_, shape, values)| (format!("{name}.weight"), shape, values)));
    }
    std::fs::write(dir.join("burn.safetensors"), half_safetensors(&of_burn))?;

    let variables = VarMap::new();
    let builder =
        VarBuilder::from_varmap(&variables, candle_core::DType::F32, &candle_core::Device::Cpu);
    let (inputs, outputs) = WRITTEN;
    let linear = candle_nn::linear_no_bias(inputs, outputs, builder.pp("linear"))?;
    let uniform = builder.pp("uniform").get_with_hints(
        (outputs, inputs),
        "weight",
        candle_nn::init::DEFAULT_KAIMING_UNIFORM,
    )?;
    let of_candle = [("linear.weight", linear.weight()), ("uniform.weight", &uniform)]
        .into_iter()
        .map(|(name, weight)| {
            let values = weight.flatten_all()?.to_vec1::<f32>()?;
            Ok((name.to_owned(), weight.dims().to_vec(), values))
        })
        .collect::<candle_core::Result<Vec<Array>>>()?;
    std::fs::write(dir.join("candle.safetensors"), half_safetensors(&of_candle))?;
    Ok(())
}

/// Linear layers of burn; a weight is `[d_input, d_output]` in either layout.
fn burn(layout: LinearLayout, initializer: Option<Initializer>) -> Result<Audit, Box<dyn Error>> {
    let arrays = burn_arrays(&WIDTHS, layout, initializer)?;
    let checkpoint = Checkpoint::from_bytes(Path::new("burn.safetensors"), safetensors(&arrays))?;
    Ok(audit(&checkpoint, &Options::default())?)
}

type Array = (String, Vec<usize>, Vec<f32>);

fn burn_arrays(
    widths: &[usize],
    layout: LinearLayout,
    initializer: Option<Initializer>,
) -> Result<Vec<Array>, Box<dyn Error>> {
    // The generator that is seeded is the process's.
    static SEEDED: Mutex<()> = Mutex::new(());
    let _seeded = SEEDED.lock().unwrap_or_else(PoisonError::into_inner);
    let device = burn::tensor::Device::default();
    device.seed(7);
    let mut arrays = Vec::new();
    for (l, pair) in widths.windows(2).enumerate() {
        let mut config = LinearConfig::new(pair[0], pair[1]).with_layout(layout);
        if let Some(initializer) = &initializer {
            config = config.with_initializer(initializer.clone());
        }
        let Linear { weight, bias } = config.init(&device);
        let weight = weight.val().into_data();
        arrays.push((
            format!("fc{l}.weight"),
            vec![pair[0], pair[1]],
            weight.try_to_vec::<f32>().map_err(|e| format!("{e:?}"))?,
        ));
        if let Some(bias) = bias {
            let bias = bias.val().into_data().try_to_vec::<f32>().map_err(|e| format!("{e:?}"))?;
            arrays.push((format!("fc{l}.bias"), vec![pair[1]], bias));
        }
    }
    Ok(arrays)
}

/// Linear layers of candle, saved by candle.
fn candle() -> Result<Audit, Box<dyn Error>> {
    let variables = VarMap::new();
    let builder =
        VarBuilder::from_varmap(&variables, candle_core::DType::F32, &candle_core::Device::Cpu);
    for (l, pair) in WIDTHS.windows(2).enumerate() {
        candle_nn::linear(pair[0], pair[1], builder.pp(format!("fc{l}")))?;
    }
    let path =
        std::env::temp_dir().join(format!("gainstage-candle-{}.safetensors", std::process::id()));
    variables.save(&path)?;
    let report = Checkpoint::open(&path).and_then(|c| audit(&c, &Options::default()));
    std::fs::remove_file(&path)?;
    Ok(report?)
}

fn safetensors(arrays: &[Array]) -> Vec<u8> {
    stored(arrays, "F32", |x| x.to_le_bytes())
}

fn half_safetensors(arrays: &[Array]) -> Vec<u8> {
    stored(arrays, "F16", |x| f16::from_f32(x).to_le_bytes())
}

/// Of one data type, `bytes` being that of one value; the header is padded with spaces to eight bytes.
fn stored<const N: usize>(arrays: &[Array], dtype: &str, bytes: fn(f32) -> [u8; N]) -> Vec<u8> {
    let mut data = Vec::new();
    let mut entries = Vec::new();
    for (name, shape, values) in arrays {
        let start = data.len();
        values.iter().for_each(|x| data.extend(bytes(*x)));
        entries.push(format!(
            "\"{name}\":{{\"dtype\":\"{dtype}\",\"shape\":{shape:?},\"data_offsets\":[{start},{}]}}",
            data.len()
        ));
    }
    let mut header = format!("{{{}}}", entries.join(","));
    header.extend(std::iter::repeat_n(' ', header.len().next_multiple_of(8) - header.len()));
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(data);
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(report: &Audit) -> Vec<(&str, Option<&str>, &str)> {
        let dense = report.tensors.iter().filter(|t| t.role.is_weight());
        dense
            .map(|t| {
                (
                    t.law.as_deref().unwrap_or(""),
                    t.factor.as_deref(),
                    t.layout.as_deref().unwrap_or(""),
                )
            })
            .collect()
    }

    #[test]
    fn burns_rows_start_as_pytorchs_layers_do() {
        let report = burn(LinearLayout::Row, None).expect("an audit");
        assert!(!report.has_findings(), "{}", report.summary());
        assert_eq!(weights(&report), [("pytorch_linear", None, "in-out"); 5]);
    }

    #[test]
    fn burns_columns_swap_the_fans() {
        for (initializer, law) in [(None, "pytorch_linear"), (Some(kaiming()), "he_normal")] {
            let report = burn(LinearLayout::Col, initializer).expect("an audit");
            assert!(report.has_findings());
            assert_eq!(
                weights(&report),
                [(law, Some("swapped fans"), "in-out"); 5],
                "{}",
                report.summary()
            );
        }
    }

    #[test]
    fn what_is_written_is_what_the_ledger_reads() {
        let dir = std::env::temp_dir().join(format!("gainstage-written-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a folder");
        write(&dir).expect("written");
        let ledgers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/claims/fixtures");
        let read = |dir: &Path, name: &str| std::fs::read(dir.join(name)).expect(name);
        let names_and_shapes = |dir: &Path, name: &str| {
            let checkpoint = Checkpoint::open(&dir.join(name)).expect(name);
            let tensors = checkpoint.tensors().iter();
            tensors.map(|t| (t.name().to_owned(), t.shape().to_vec())).collect::<Vec<_>>()
        };
        // burn's draw is seeded: the same bytes. candle's is not: the same arrays, other values.
        assert!(read(&dir, "burn.safetensors") == read(&ledgers, "burn.safetensors"));
        let candle = "candle.safetensors";
        assert_eq!(names_and_shapes(&dir, candle), names_and_shapes(&ledgers, candle));
        std::fs::remove_dir_all(&dir).expect("removed");
    }

    #[test]
    fn candle_draws_hes_rule() {
        let report = candle().expect("an audit");
        assert!(!report.has_findings(), "{}", report.summary());
        assert_eq!(weights(&report), [("he_normal", None, "out-in"); 5]);
    }
}
