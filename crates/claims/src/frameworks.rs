//! What the frameworks' default layers start with, measured on files that the frameworks wrote
//! (`fixtures/write.py`).

use gainstage_report::{Axis, Figure, Mark, Panel, Point};
use gainstage_spec::{Initializer, StdMeaning, Truncation};

use crate::claim::{Chapter, Claim, Conclusion, Outcome, Verdict};
use crate::figures::significant;
use crate::framework_layers::{Layer, Source, as_stated, source, table};
use crate::verdict::all_hold;
use crate::{ClaimError, Lab, Plant};

/// Margin of a standard deviation: a quarter of the 12% that an uncorrected cut at two sigma costs.
const SCALE: f64 = 0.03;
/// Kolmogorov-Smirnov distance of a Gaussian from one cut at two sigma.
const CUT: f64 = 0.028;
/// Nearly that of a Gaussian from a uniform law, 0.058.
const UNIFORM: f64 = 0.05;

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
