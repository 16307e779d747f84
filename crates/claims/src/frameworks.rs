//! What the frameworks' default layers start with, measured on files that the frameworks wrote
//! (`fixtures/write.py`, and `ecosystem/audit-rust` for burn and candle).

use std::path::Path;

use gainstage_audit::{Checkpoint, Options, Rules, TensorRecord, audit};
use gainstage_report::{Axis, Cell, Figure, Mark, Panel, Point, Table};
use gainstage_spec::{Initializer, StdMeaning, Truncation, WeightShape};
use statrs::distribution::{ContinuousCDF, Normal};

use crate::claim::{Chapter, Claim, Conclusion, Finding, Outcome, Verdict};
use crate::figures::significant;
use crate::verdict::all_hold;
use crate::{ClaimError, Lab, Plant};

/// Margin of a standard deviation: a quarter of the 12% that an uncorrected cut at two sigma costs.
const SCALE: f64 = 0.03;
/// The same where a file holds 6,000 values and not 20,000.
const SCALE_SMALL: f64 = 0.05;
/// Kolmogorov-Smirnov distance of a Gaussian from one cut at two sigma.
const CUT: f64 = 0.028;
/// Nearly that of a Gaussian from a uniform law, 0.058.
const UNIFORM: f64 = 0.05;

/// One layer in a file.
#[derive(Clone, Copy)]
struct Source {
    framework: &'static str,
    layer: &'static str,
    file: &'static str,
    bytes: &'static [u8],
    tensor: &'static str,
    layout: &'static str,
    /// What it starts with, as the framework's own file says.
    law: &'static str,
}

macro_rules! source {
    ($framework:literal, $layer:literal, $file:literal, $tensor:literal, $layout:literal, $law:literal) => {
        Source {
            framework: $framework,
            layer: $layer,
            file: $file,
            bytes: include_bytes!(concat!("../fixtures/", $file)),
            tensor: $tensor,
            layout: $layout,
            law: $law,
        }
    };
}

const LINEAR: Source = source!(
    "PyTorch",
    "nn.Linear",
    "torch.safetensors",
    "linear.weight",
    "out-in",
    "pytorch_linear"
);
const CONV: Source =
    source!("PyTorch", "nn.Conv2d", "torch.safetensors", "conv.weight", "out-in", "pytorch_linear");
const KERAS: Source =
    source!("Keras", "Dense", "keras.npz", "dense/kernel", "in-out", "glorot_uniform");
const FLAX: Source = source!(
    "Flax",
    "linen.Dense",
    "flax.safetensors",
    "Dense_0/kernel",
    "in-out",
    "keras_lecun_normal"
);
const HAIKU: Source =
    source!("Haiku", "Linear", "haiku.safetensors", "linear/w", "in-out", "keras_lecun_normal");
const EQUINOX: Source = source!(
    "Equinox",
    "nn.Linear",
    "equinox.safetensors",
    "linear.weight",
    "out-in",
    "pytorch_linear"
);
const BURN_ROW: Source = source!(
    "burn",
    "Linear, rows",
    "burn_row.safetensors",
    "fc0.weight",
    "in-out",
    "pytorch_linear"
);
const BURN_COL: Source = source!(
    "burn",
    "Linear, columns",
    "burn_col.safetensors",
    "fc0.weight",
    "in-out",
    "pytorch_linear"
);
const CANDLE: Source =
    source!("candle", "linear", "candle.safetensors", "fc0.weight", "out-in", "he_normal");

pub(crate) const CLAIMS: [Claim; 6] = [
    Claim {
        code: "FRM01",
        chapter: Chapter::Frameworks,
        statement: "PyTorch's Linear and Conv2d start uniform with variance 1/(3 fan_in).",
        source: "torch.nn.Linear.reset_parameters: kaiming_uniform_(a = sqrt(5))",
        prediction: "Uniform within 1/sqrt(fan_in), fan_in of a convolution counting the kernel's positions.",
        rule: "Supported if both standard deviations equal 1/sqrt(3 fan_in) within 3% and both distributions lie within a Kolmogorov-Smirnov distance \
             of 0.05 of the uniform law (a Gaussian lies 0.058 away).",
        expected: Verdict::Supported,
        run: pytorch,
    },
    Claim {
        code: "FRM02",
        chapter: Chapter::Frameworks,
        statement: "Keras's Dense starts by Xavier's uniform rule.",
        source: "keras.layers.Dense: kernel_initializer=\"glorot_uniform\"",
        prediction: "Uniform with variance 2/(fan_in + fan_out).",
        rule: "Supported if the standard deviation equals that within 3% and the distribution lies within 0.05 of the uniform law.",
        expected: Verdict::Supported,
        run: keras,
    },
    Claim {
        code: "FRM03",
        chapter: Chapter::Frameworks,
        statement: "Flax's Dense starts with variance 1/fan_in, its cut at two sigma corrected.",
        source: "flax.linen.Dense: kernel_init=lecun_normal()",
        prediction: "A Gaussian cut at two sigma, its sigma divided by 0.8796 beforehand, so that the standard deviation is 1/sqrt(fan_in).",
        rule: "Supported if the standard deviation equals that within 3% and the distribution lies within 0.028 of the cut Gaussian, which is how \
             far the uncut one lies.",
        expected: Verdict::Supported,
        run: flax,
    },
    Claim {
        code: "FRM04",
        chapter: Chapter::Frameworks,
        statement: "Haiku's Linear starts with standard deviation 1/sqrt(fan_in).",
        source: "haiku.Linear: \"truncated normal, with stddev 1 / sqrt(fan_in)\"",
        prediction: "The stated deviation is that before the cut at two sigma: what is left is 0.8796 of it, a variance of 0.774/fan_in, which a \
             linear network loses in every layer.",
        rule: "Refuted if the standard deviation is shown to differ from 1/sqrt(fan_in) by more than 3% and equals 0.8796/sqrt(fan_in) within 3%; \
             supported if it equals 1/sqrt(fan_in) within 3%.",
        expected: Verdict::Refuted,
        run: haiku,
    },
    Claim {
        code: "FRM05",
        chapter: Chapter::Frameworks,
        statement: "burn's Linear starts as PyTorch's, whatever its layout.",
        source: "burn-nn 0.22: LinearConfig, LinearLayout",
        prediction: "With rows it does. With columns the fans are passed in the other order, so that the variance is 1/(3 fan_out): here, from 150 \
             to 40, the standard deviation is 1.94 times what it should be.",
        rule: "Qualified if the standard deviation with rows equals 1/sqrt(3 fan_in) within 5%, and with columns differs from it by more than 5% and \
             equals 1/sqrt(3 fan_out) within 5%; supported if both equal 1/sqrt(3 fan_in).",
        expected: Verdict::Qualified,
        run: burn,
    },
    Claim {
        code: "FRM06",
        chapter: Chapter::Frameworks,
        statement: "A dense layer starts with the same variance in every framework.",
        source: "The defaults of PyTorch, Keras, Flax, Haiku, Equinox, burn and candle",
        prediction: "fan_in times the variance is 1/3 in PyTorch, Equinox and burn, 0.774 in Haiku, 1 in Flax, 2 in candle and 2 fan_in/(fan_in + \
             fan_out) in Keras: a spread of six, and a deep ReLU network keeps its signal in one of them.",
        rule: "Refuted if the largest standard deviation times sqrt(fan_in) is shown to be more than twice the smallest, and each equals its \
             prediction within 5%; supported if all lie within 5% of each other.",
        expected: Verdict::Refuted,
        run: spread,
    },
];

/// A layer, measured: the audit's record and the interval of its standard deviation.
struct Layer {
    source: Source,
    record: TensorRecord,
    shape: WeightShape,
    std: f64,
    /// Relative error of the standard deviation, times the quantile of the ledger's rate.
    error: f64,
    n: usize,
}

impl Layer {
    fn read(lab: &Lab, source: Source) -> Result<Self, ClaimError> {
        let checkpoint = Checkpoint::from_bytes(Path::new(source.file), source.bytes.to_vec())?;
        let rules = format!(
            "[[rule]]\nmatch = \"{}\"\nlaw = \"{}\"\nlayout = \"{}\"\n[[rule]]\nmatch = \"**\"\nskip = true\noptional = true",
            source.tensor, source.law, source.layout
        );
        let rules = Rules::parse(source.framework, &rules)?;
        let options = Options { rules: Some(rules), ..Options::default() };
        let record = audit(&checkpoint, &options)?.tensors.remove(0);
        let (fan_in, fan_out) = (record.fan_in.unwrap_or(1), record.fan_out.unwrap_or(1));
        let shape = match record.shape.as_slice() {
            [out, inputs, kernel @ ..] if !kernel.is_empty() => {
                WeightShape::conv(kernel, *inputs, *out, 1)?
            }
            _ => WeightShape::dense(fan_in, fan_out)?,
        };
        let law = source.law.parse::<Initializer>()?.law(&shape)?;
        let n = record.shape.iter().product::<usize>();
        let quantile = Normal::standard().inverse_cdf(1.0 - lab.alpha().get());
        let error = quantile * ((law.kurtosis().unwrap_or(3.0) - 1.0) / (4.0 * n as f64)).sqrt();
        let gain = match lab.plant {
            Some(Plant::Gain(factor)) => factor,
            _ => 1.0,
        };
        let std = gain * record.std_measured.unwrap_or(f64::NAN);
        Ok(Self { source, record, shape, std, error, n })
    }

    fn what(&self) -> String {
        format!("{} {}", self.source.framework, self.source.layer)
    }

    /// The standard deviation over an expected one.
    fn scale(&self, lab: &Lab, of: &str, expected: f64, margin: f64) -> Finding {
        let ratio = self.std / expected;
        let (low, high) = (ratio * (-self.error).exp(), ratio * self.error.exp());
        let conclusion = if low > 1.0 - margin && high < 1.0 + margin {
            Conclusion::Holds
        } else if high < 1.0 - margin || low > 1.0 + margin {
            Conclusion::Contradicted
        } else {
            Conclusion::Undecided
        };
        Finding {
            what: format!("standard deviation of {} over {of}", self.what()),
            predicted: Some(1.0),
            measured: ratio,
            low,
            high,
            level: 1.0 - 2.0 * lab.alpha().get(),
            n: self.n,
            test: format!(
                "two one-sided tests at {:.1e}, margin {margin:.3}, values taken as independent",
                lab.alpha().get()
            ),
            p_value: None,
            conclusion,
        }
    }

    /// The distance from the law, with the bound of Dvoretzky, Kiefer and Wolfowitz (Massart 1990).
    fn form(&self, lab: &Lab, margin: f64) -> Finding {
        let distance = self.record.ks_distance.unwrap_or(f64::NAN);
        let bound = ((2.0 / lab.alpha().get()).ln() / (2.0 * self.n as f64)).sqrt();
        let (low, high) = ((distance - bound).max(0.0), distance + bound);
        Finding {
            what: format!("distance of {} from {}", self.what(), self.source.law),
            predicted: None,
            measured: distance,
            low,
            high,
            level: 1.0 - lab.alpha().get(),
            n: self.n,
            test: format!("Kolmogorov-Smirnov distance shown to be below {margin:.3}"),
            p_value: None,
            conclusion: if high < margin {
                Conclusion::Holds
            } else if low > margin {
                Conclusion::Contradicted
            } else {
                Conclusion::Undecided
            },
        }
    }

    /// The law's own standard deviation.
    fn expected(&self) -> f64 {
        self.record.std_expected.unwrap_or(f64::NAN)
    }

    fn experiment(&self) -> String {
        format!(
            "{}: {} of shape {:?} by its default, {} values, saved by the framework",
            self.source.framework, self.source.layer, self.record.shape, self.n
        )
    }
}

fn as_stated(
    lab: &Lab,
    sources: &[Source],
    margin: f64,
    distance: f64,
) -> Result<Outcome, ClaimError> {
    let layers = sources.iter().map(|s| Layer::read(lab, *s)).collect::<Result<Vec<_>, _>>()?;
    let mut findings = Vec::new();
    let mut told = Vec::new();
    for layer in &layers {
        let scale = layer.scale(lab, layer.source.law, layer.expected(), margin);
        told.push(format!(
            "{} had {} times the standard deviation of {}",
            layer.what(),
            significant(scale.measured),
            layer.source.law
        ));
        findings.push(scale);
        findings.push(layer.form(lab, distance));
    }
    Ok(Outcome {
        verdict: all_hold(&findings, Verdict::Supported),
        sentence: format!("{}.", told.join("; ")),
        experiment: layers.iter().map(Layer::experiment).collect::<Vec<_>>().join("; "),
        figures: Vec::new(),
        tables: vec![table(&format!("{}-layers", lab.code), &layers)],
        findings,
    })
}

fn pytorch(lab: &Lab) -> Result<Outcome, ClaimError> {
    as_stated(lab, &[LINEAR, CONV], SCALE, UNIFORM)
}

fn keras(lab: &Lab) -> Result<Outcome, ClaimError> {
    as_stated(lab, &[KERAS], SCALE, UNIFORM)
}

fn flax(lab: &Lab) -> Result<Outcome, ClaimError> {
    as_stated(lab, &[FLAX], SCALE, CUT)
}

fn haiku(lab: &Lab) -> Result<Outcome, ClaimError> {
    let layer = Layer::read(lab, HAIKU)?;
    // Of a standard normal cut at two sigma.
    let left = cut_at_two().law(&layer.shape)?.std();
    let stated = layer.scale(lab, "1/sqrt(fan_in)", layer.expected(), SCALE);
    let cut = layer.scale(lab, "0.8796/sqrt(fan_in)", left * layer.expected(), SCALE);
    let verdict = match (stated.conclusion, cut.conclusion) {
        (Conclusion::Holds, _) => Verdict::Supported,
        (Conclusion::Contradicted, Conclusion::Holds) => Verdict::Refuted,
        _ => Verdict::Inconclusive,
    };
    Ok(Outcome {
        verdict,
        sentence: format!(
            "{} had {} times the standard deviation 1/sqrt(fan_in), and {} times what a cut at two sigma leaves of it.",
            layer.what(),
            significant(stated.measured),
            significant(cut.measured)
        ),
        experiment: layer.experiment(),
        figures: Vec::new(),
        tables: Vec::new(),
        findings: vec![stated, cut],
    })
}

/// A standard normal cut at two sigma, its sigma stated before the cut.
fn cut_at_two() -> Initializer {
    Initializer::TruncatedNormal {
        mean: 0.0,
        std: 1.0,
        cut: Truncation::Sigmas(-2.0, 2.0),
        meaning: StdMeaning::BeforeTruncation,
    }
}

fn burn(lab: &Lab) -> Result<Outcome, ClaimError> {
    let (row, col) = (Layer::read(lab, BURN_ROW)?, Layer::read(lab, BURN_COL)?);
    let fans = col.shape.fans();
    let swapped = col.expected() * (fans.fan_in() as f64 / fans.fan_out() as f64).sqrt();
    let rows = row.scale(lab, "1/sqrt(3 fan_in)", row.expected(), SCALE_SMALL);
    let columns = col.scale(lab, "1/sqrt(3 fan_in)", col.expected(), SCALE_SMALL);
    let exchanged = col.scale(lab, "1/sqrt(3 fan_out)", swapped, SCALE_SMALL);
    let verdict = match (rows.conclusion, columns.conclusion, exchanged.conclusion) {
        (Conclusion::Holds, Conclusion::Holds, _) => Verdict::Supported,
        (Conclusion::Holds, Conclusion::Contradicted, Conclusion::Holds) => Verdict::Qualified,
        (Conclusion::Contradicted, _, _) => Verdict::Refuted,
        _ => Verdict::Inconclusive,
    };
    Ok(Outcome {
        verdict,
        sentence: format!(
            "With rows burn's standard deviation was {} times 1/sqrt(3 fan_in), with columns {} times; of 1/sqrt(3 fan_out) the latter is {}.",
            significant(rows.measured),
            significant(columns.measured),
            significant(exchanged.measured)
        ),
        experiment: format!("{}; {}", row.experiment(), col.experiment()),
        figures: Vec::new(),
        tables: Vec::new(),
        findings: vec![rows, columns, exchanged],
    })
}

fn spread(lab: &Lab) -> Result<Outcome, ClaimError> {
    let sources = [LINEAR, EQUINOX, BURN_ROW, HAIKU, FLAX, KERAS, CANDLE];
    let layers = sources.iter().map(|s| Layer::read(lab, *s)).collect::<Result<Vec<_>, _>>()?;
    let mut findings = Vec::new();
    for layer in &layers {
        // What the stated deviation leaves after Haiku's cut.
        let left = if layer.source.framework == "Haiku" {
            cut_at_two().law(&layer.shape)?.std()
        } else {
            1.0
        };
        findings.push(layer.scale(lab, "its prediction", left * layer.expected(), SCALE_SMALL));
    }
    let scaled = |l: &Layer| l.std * (l.shape.fans().fan_in() as f64).sqrt();
    let low = |l: &&Layer| scaled(l) * l.error.exp();
    let high = |l: &&Layer| scaled(l) * (-l.error).exp();
    let smallest = layers.iter().map(|l| low(&l)).fold(f64::INFINITY, f64::min);
    let largest = layers.iter().map(|l| high(&l)).fold(0.0, f64::max);
    let shown = all_hold(&findings, Verdict::Refuted);
    let verdict = match shown {
        Verdict::Refuted if findings.iter().all(|f| f.conclusion == Conclusion::Holds) => {
            if largest > 2.0 * smallest { Verdict::Refuted } else { Verdict::Supported }
        }
        _ => Verdict::Inconclusive,
    };
    let names: Vec<String> = layers.iter().map(Layer::what).collect();
    let points = layers
        .iter()
        .enumerate()
        .map(|(i, l)| {
            let variance = scaled(l).powi(2);
            let (down, up) = ((-2.0 * l.error).exp(), (2.0 * l.error).exp());
            Point::with_interval(variance, i as f64, variance * down, variance * up)
        })
        .collect();
    let panel = Panel::new(
        "",
        Axis::linear("fan_in x variance of a weight").over(0.0, 2.3),
        Axis::categories("", names),
    )
    .mark(Mark::points("", 1, points));
    Ok(Outcome {
        verdict,
        sentence: format!(
            "fan_in times the variance ran from {} ({}) to {} ({}).",
            significant(scaled(&layers[0]).powi(2)),
            layers[0].what(),
            significant(scaled(&layers[6]).powi(2)),
            layers[6].what()
        ),
        experiment: "One dense layer by default in each, saved by the framework; seeds are those of the scripts".to_owned(),
        figures: vec![Figure::new(
            "FRM06-defaults",
            "What the frameworks' dense layers start with",
            "1 keeps the signal of a linear network, 2 that of a ReLU network. Keras's depends on the fan-out, here half the fan-in.",
        )
        .panel(panel)],
        tables: vec![table("FRM06-layers", &layers)],
        findings,
    })
}

fn table(id: &str, layers: &[Layer]) -> Table {
    let mut table = Table::new(
        id,
        "Standard deviations that the frameworks' files hold, with intervals at the ledger's rate",
        &[
            "framework",
            "layer",
            "shape",
            "law",
            "std expected",
            "std measured",
            "ratio",
            "low",
            "high",
            "distance",
        ],
    );
    for l in layers {
        let ratio = l.std / l.expected();
        table.push(vec![
            Cell::text(l.source.framework),
            Cell::text(l.source.layer),
            Cell::text(format!("{:?}", l.record.shape)),
            Cell::text(l.source.law),
            Cell::number(l.expected()),
            Cell::number(l.std),
            Cell::number(ratio),
            Cell::number(ratio * (-l.error).exp()),
            Cell::number(ratio * l.error.exp()),
            Cell::number(l.record.ks_distance.unwrap_or(f64::NAN)),
        ]);
    }
    table
}
