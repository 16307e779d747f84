//! What the frameworks' default layers start with, measured on files that the frameworks wrote
//! (`fixtures/write.py`).

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
pub(crate) const CLAIMS: [Claim; 5] = [
    Claim {
        code: "FRM01",
        chapter: Chapter::Frameworks,
        statement: "PyTorch's Linear and Conv2d start uniform with variance 1/(3 fan_in).",
        source: "torch.nn.Linear.reset_parameters: kaiming_uniform_(a = sqrt(5))",
        prediction: "Uniform within 1/sqrt(fan_in), fan_in of a convolution counting the kernel's positions.",
        rule: "Supported if both standard deviations equal 1/sqrt(3 fan_in) within 3% and both distributions lie within a Kolmogorov-Smirnov distance \
             of 0.05 of the uniform law (a Gaussian lies 0.058 away).",
        expected: Verdict::Supported,
        planted: &[Plant::Gain(1.05)],
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
        planted: &[Plant::Gain(1.05)],
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
        planted: &[Plant::Gain(1.05)],
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
        planted: &[Plant::Gain(1.05)],
        run: haiku,
    },
    Claim {
        code: "FRM05",
        chapter: Chapter::Frameworks,
        statement: "A dense layer starts with the same variance in every framework.",
        source: "The defaults of PyTorch, Keras, Flax, Haiku and Equinox",
        prediction: "fan_in times the variance is 1/3 in PyTorch and Equinox, 0.774 in Haiku, 1 in Flax and 2 fan_in/(fan_in + fan_out) in Keras, \
             here 4/3: none is the 2 that keeps the signal of a ReLU network.",
        rule: "Refuted if the largest standard deviation times sqrt(fan_in) is shown to be more than 1.5 times the smallest, and each equals \
             its prediction within 3%; supported if each does and no such difference is shown.",
        expected: Verdict::Refuted,
        planted: &[Plant::Gain(1.05)],
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

fn spread(lab: &Lab) -> Result<Outcome, ClaimError> {
    let sources = [LINEAR, EQUINOX, KERAS, HAIKU, FLAX];
    let layers = sources.iter().map(|s| Layer::read(lab, *s)).collect::<Result<Vec<_>, _>>()?;
    let mut findings = Vec::new();
    for layer in &layers {
        // What the stated deviation leaves after Haiku's cut.
        let left = if layer.source.framework == "Haiku" {
            cut_at_two().law(&layer.shape)?.std()
        } else {
            1.0
        };
        findings.push(layer.scale(lab, "its prediction", left * layer.expected(), SCALE));
    }
    let scaled = |l: &Layer| l.std * (l.shape.fans().fan_in() as f64).sqrt();
    let low = |l: &&Layer| scaled(l) * l.error.exp();
    let high = |l: &&Layer| scaled(l) * (-l.error).exp();
    let smallest = layers.iter().map(|l| low(&l)).fold(f64::INFINITY, f64::min);
    let largest = layers.iter().map(|l| high(&l)).fold(0.0, f64::max);
    let shown = all_hold(&findings, Verdict::Refuted);
    let verdict = match shown {
        Verdict::Refuted if findings.iter().all(|f| f.conclusion == Conclusion::Holds) => {
            if largest > 1.5 * smallest { Verdict::Refuted } else { Verdict::Supported }
        }
        _ => Verdict::Inconclusive,
    };
    let names: Vec<String> = layers.iter().map(Layer::what).collect();
    let variances = layers.iter().map(|l| (l.what(), scaled(l).powi(2)));
    let by_size = |a: &(String, f64), b: &(String, f64)| a.1.total_cmp(&b.1);
    let unknown = || (String::new(), f64::NAN);
    let smallest_of = variances.clone().min_by(by_size).unwrap_or_else(unknown);
    let largest_of = variances.max_by(by_size).unwrap_or_else(unknown);
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
            significant(smallest_of.1),
            smallest_of.0,
            significant(largest_of.1),
            largest_of.0
        ),
        experiment: "One dense layer by default in each, saved by the framework; seeds are those of the scripts".to_owned(),
        figures: vec![Figure::new(
            "FRM05-defaults",
            "What the frameworks' dense layers start with",
            "1 keeps the signal of a linear network, 2 that of a ReLU network. Keras's depends on the fan-out, here half the fan-in.",
        )
        .panel(panel)],
        tables: vec![table("FRM05-layers", &layers)],
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::Budget;

    fn lab() -> Lab {
        let data = gainstage_data::load(&gainstage_data::Source::Synthetic, &mut |_| ());
        Lab::new(1, Budget::Quick, Arc::new(data.expect("drawn")), Arc::new(|_: &str| ()))
    }

    #[test]
    fn every_claim_has_its_verdict_and_loses_it_to_a_planted_gain() {
        let (right, wrong) = (lab(), lab().with_plant(Plant::Gain(1.1)));
        for claim in &CLAIMS {
            let outcome = (claim.run)(&right).expect(claim.code);
            assert_eq!(outcome.verdict, claim.expected, "{}: {:#?}", claim.code, outcome.findings);
            let planted = (claim.run)(&wrong).expect(claim.code).verdict;
            assert_ne!(planted, claim.expected, "{}", claim.code);
        }
    }
}
