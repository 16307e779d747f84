//! What burn's and candle's layers start with, measured on files that they drew (`ecosystem/audit-rust`).

use crate::claim::{Chapter, Claim, Conclusion, Outcome, Verdict};
use crate::figures::significant;
use crate::framework_layers::{Layer, Source, as_stated, source, table};
use crate::{ClaimError, Lab, Plant};

/// Margin of a standard deviation, a tenth: the mistakes that are looked for cost far more.
const SCALE: f64 = 0.1;
/// Kolmogorov-Smirnov distance; a Gaussian and a uniform law of one variance lie 0.058 apart.
const FORM: f64 = 0.05;
/// A planted gain beyond the margin and the interval of 6,000 values together.
const PLANTED: f64 = 1.25;

const ROW: Source = source!(
    "burn",
    "Linear in LinearLayout::Row",
    "burn.safetensors",
    "row.weight",
    "in-out",
    "pytorch_linear"
);
const COL: Source = source!(
    "burn",
    "Linear in LinearLayout::Col",
    "burn.safetensors",
    "col.weight",
    "in-out",
    "pytorch_linear"
);
const CANDLE: Source =
    source!("candle", "linear", "candle.safetensors", "linear.weight", "out-in", "he_normal");
const CANDLE_UNIFORM: Source = source!(
    "candle",
    "DEFAULT_KAIMING_UNIFORM",
    "candle.safetensors",
    "uniform.weight",
    "out-in",
    "he_uniform"
);

pub(crate) const CLAIMS: [Claim; 2] = [
    Claim {
        code: "FRM06",
        chapter: Chapter::Frameworks,
        statement: "burn's Linear starts uniform within 1/sqrt(fan_in), in its column layout too.",
        source: "burn 0.22, nn::Linear: U(-k, k) with k = sqrt(1 / d_input); LinearLayout: \"This can have performance impacts.\"",
        prediction: "In the column layout the initializer is given d_output as fan-in and d_input as fan-out: the standard deviation is \
             1/sqrt(3 fan_out), here, with 150 inputs and 40 units, 1.94 of what is documented. The row layout is as documented.",
        rule: "Refuted if the column layout's standard deviation is shown to differ from 1/sqrt(3 fan_in) by more than 10% and equals \
             1/sqrt(3 fan_out) within 10%, and the row layout's equals 1/sqrt(3 fan_in) within 10%; supported if both equal 1/sqrt(3 fan_in). \
             Each test runs at the ledger's rate of 1.4e-4; of 6,000 uniform values a difference of 14% is shown 99 times in 100.",
        expected: Verdict::Refuted,
        planted: &[Plant::Gain(PLANTED), Plant::SwappedFans],
        run: burn,
    },
    Claim {
        code: "FRM07",
        chapter: Chapter::Frameworks,
        statement: "candle's linear starts by He's normal rule, and its Kaiming uniform by He's uniform one.",
        source: "candle 0.11, nn::init::DEFAULT_KAIMING_NORMAL and DEFAULT_KAIMING_UNIFORM: He et al. 2015, fan-in, gain of ReLU",
        prediction: "Variance 2/fan_in, normal and uniform.",
        rule: "Supported if both standard deviations equal sqrt(2/fan_in) within 10% and both distributions lie within a Kolmogorov-Smirnov \
             distance of 0.05 of their law (the other of the two lies 0.058 away). Each test runs at the ledger's rate of 1.4e-4; of 6,000 \
             normal values a difference of 16% is shown 99 times in 100, of as many uniform ones 14%.",
        expected: Verdict::Supported,
        planted: &[Plant::Gain(PLANTED), Plant::SwappedFans],
        run: candle,
    },
];

fn burn(lab: &Lab) -> Result<Outcome, ClaimError> {
    let (row, col) = (Layer::read(lab, ROW)?, Layer::read(lab, COL)?);
    let fans = col.shape.fans();
    let swapped = col.expected() * (fans.fan_in() as f64 / fans.fan_out() as f64).sqrt();
    let rows = row.scale(lab, "1/sqrt(3 fan_in)", row.expected(), SCALE);
    let stated = col.scale(lab, "1/sqrt(3 fan_in)", col.expected(), SCALE);
    let by_fan_out = col.scale(lab, "1/sqrt(3 fan_out)", swapped, SCALE);
    let verdict = match (rows.conclusion, stated.conclusion, by_fan_out.conclusion) {
        (Conclusion::Holds, Conclusion::Holds, _) => Verdict::Supported,
        (Conclusion::Holds, Conclusion::Contradicted, Conclusion::Holds) => Verdict::Refuted,
        _ => Verdict::Inconclusive,
    };
    Ok(Outcome {
        verdict,
        sentence: format!(
            "{} had {} times the standard deviation 1/sqrt(3 fan_in), which is {} times 1/sqrt(3 fan_out); {} had {} times the former.",
            col.what(),
            significant(stated.measured),
            significant(by_fan_out.measured),
            row.what(),
            significant(rows.measured)
        ),
        experiment: [row.experiment(), col.experiment()].join("; "),
        figures: Vec::new(),
        tables: vec![table("FRM06-layers", &[row, col])],
        findings: vec![rows, stated, by_fan_out],
    })
}

fn candle(lab: &Lab) -> Result<Outcome, ClaimError> {
    as_stated(lab, &[CANDLE, CANDLE_UNIFORM], SCALE, FORM)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use statrs::distribution::{ContinuousCDF, Normal};

    use super::*;
    use crate::Budget;

    fn lab() -> Lab {
        let data = gainstage_data::load(&gainstage_data::Source::Synthetic, &mut |_| ());
        Lab::new(1, Budget::Quick, Arc::new(data.expect("drawn")), Arc::new(|_: &str| ()))
    }

    #[test]
    fn each_has_its_verdict_and_loses_it_to_each_planted_error() {
        let right = lab();
        for claim in &CLAIMS {
            let outcome = (claim.run)(&right).expect(claim.code);
            assert_eq!(outcome.verdict, claim.expected, "{}: {:#?}", claim.code, outcome.findings);
            for plant in claim.planted {
                let planted = (claim.run)(&lab().with_plant(*plant)).expect(claim.code);
                assert_ne!(planted.verdict, claim.expected, "{} {plant}", claim.code);
            }
        }
    }

    #[test]
    fn burns_columns_follow_the_fan_out() {
        let outcome = burn(&lab()).expect("measured");
        let [rows, stated, by_fan_out] = outcome.findings.as_slice() else { panic!() };
        assert!((rows.measured - 1.0).abs() < 0.02, "{rows:?}");
        assert!((stated.measured - (150.0_f64 / 40.0).sqrt()).abs() < 0.04, "{stated:?}");
        assert!((by_fan_out.measured - 1.0).abs() < 0.02, "{by_fan_out:?}");
        // Fans in the other order are what the column layout needs, and what the row layout cannot have.
        let swapped = burn(&lab().with_plant(Plant::SwappedFans)).expect("measured");
        assert_eq!(swapped.findings[1].conclusion, Conclusion::Holds);
        assert_eq!(swapped.findings[0].conclusion, Conclusion::Contradicted);
        assert_eq!(swapped.verdict, Verdict::Inconclusive);
    }

    /// The rules' smallest visible differences: margin, interval, and 2.33 deviations for 99 times in 100.
    #[test]
    fn the_rules_name_the_smallest_difference_that_is_shown() {
        let (uniform, normal) = (1.8_f64, 3.0_f64);
        let deviation = |kurtosis: f64| ((kurtosis - 1.0) / (4.0 * 6000.0)).sqrt();
        let at = Normal::standard().inverse_cdf(1.0 - lab().alpha().get());
        let shown = |kurtosis| (1.0 + SCALE) * ((at + 2.33) * deviation(kurtosis)).exp();
        assert!((shown(uniform) - 1.14).abs() < 0.005, "{}", shown(uniform));
        assert!((shown(normal) - 1.16).abs() < 0.005, "{}", shown(normal));
        assert!(shown(normal) < PLANTED);
        for claim in &CLAIMS {
            assert!(claim.rule.contains("14%"), "{}", claim.code);
        }
    }
}
