//! One layer of a file that a framework wrote, held against the law that its documentation states.

use std::path::Path;

use gainstage_audit::{Checkpoint, Options, Rules, TensorRecord, audit};
use gainstage_report::{Cell, Table};
use gainstage_spec::{Initializer, WeightShape};
use statrs::distribution::{ContinuousCDF, Normal};

use crate::claim::{Conclusion, Finding, Outcome, Verdict};
use crate::figures::significant;
use crate::verdict::all_hold;
use crate::{ClaimError, Lab, Plant};

/// One layer in a file.
#[derive(Clone, Copy)]
pub(crate) struct Source {
    pub(crate) framework: &'static str,
    pub(crate) layer: &'static str,
    pub(crate) file: &'static str,
    pub(crate) bytes: &'static [u8],
    pub(crate) tensor: &'static str,
    /// Order of the axes: `out-in` or `in-out`.
    pub(crate) layout: &'static str,
    /// What it starts with, as the framework's own file says.
    pub(crate) law: &'static str,
}

macro_rules! source {
    ($framework:literal, $layer:literal, $file:literal, $tensor:literal, $layout:literal, $law:literal) => {
        $crate::framework_layers::Source {
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

pub(crate) use source;

/// A layer, measured: the audit's record and the interval of its standard deviation.
pub(crate) struct Layer {
    pub(crate) source: Source,
    record: TensorRecord,
    pub(crate) shape: WeightShape,
    pub(crate) std: f64,
    /// Relative error of the standard deviation, times the quantile of the ledger's rate.
    pub(crate) error: f64,
    n: usize,
}

impl Layer {
    pub(crate) fn read(lab: &Lab, source: Source) -> Result<Self, ClaimError> {
        let checkpoint = Checkpoint::from_bytes(Path::new(source.file), source.bytes.to_vec())?;
        let layout = match (lab.plant, source.layout) {
            (Some(Plant::SwappedFans), "out-in") => "in-out",
            (Some(Plant::SwappedFans), _) => "out-in",
            (_, as_written) => as_written,
        };
        let rules = format!(
            "[[rule]]\nmatch = \"{}\"\nlaw = \"{}\"\nlayout = \"{}\"\n[[rule]]\nmatch = \"**\"\nskip = true\noptional = true",
            source.tensor, source.law, layout
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

    pub(crate) fn what(&self) -> String {
        format!("{} {}", self.source.framework, self.source.layer)
    }

    /// The standard deviation over an expected one.
    pub(crate) fn scale(&self, lab: &Lab, of: &str, expected: f64, margin: f64) -> Finding {
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
    pub(crate) fn form(&self, lab: &Lab, margin: f64) -> Finding {
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
    pub(crate) fn expected(&self) -> f64 {
        self.record.std_expected.unwrap_or(f64::NAN)
    }

    pub(crate) fn experiment(&self) -> String {
        format!(
            "{}: {} of shape {:?} by its default, {} values, saved by the framework",
            self.source.framework, self.source.layer, self.record.shape, self.n
        )
    }
}

/// The verdict on layers that are said to start by their law: scale and form of each.
pub(crate) fn as_stated(
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

/// The layers' standard deviations beside those of their laws.
pub(crate) fn table(id: &str, layers: &[Layer]) -> Table {
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
