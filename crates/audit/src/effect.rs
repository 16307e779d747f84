//! The consequence as tables, sentences and a figure.

use gainstage_report::{Axis, Cell, Figure, Mark, Panel, Section, Table};

use crate::consequence::Consequence;
use crate::record::{Audit, CheckpointRecord};
use crate::tables::{code, scientific};

/// Beyond this many nats above ln K a loss is worth a word.
const HIGH: f64 = 1.0;

impl Consequence {
    /// Signal and gradient of every layer, as meant and as measured.
    pub fn table(&self, name: &str) -> Table {
        let of = if name.is_empty() { String::new() } else { format!(" of {}", code(name)) };
        let mut table = Table::new(
            "consequence",
            format!("Predicted second moments{of}, of a typical draw: {}", self.between),
            &[
                "layer",
                "fan in",
                "fan out",
                "signal meant",
                "as it is",
                "95% of draws",
                "gradient meant",
                "as it is",
                "95% of draws",
            ],
        );
        for layer in &self.layers {
            let band = |low, high| format!("{} to {}", scientific(low), scientific(high));
            table.push(vec![
                Cell::text(code(&layer.tensor)),
                Cell::count(layer.fan_in),
                Cell::count(layer.fan_out),
                Cell::number(layer.forward_meant),
                Cell::number(layer.forward),
                Cell::text(band(layer.forward_low, layer.forward_high)),
                Cell::number(layer.gradient_meant),
                Cell::number(layer.gradient),
                Cell::text(band(layer.gradient_low, layer.gradient_high)),
            ]);
        }
        table
    }

    /// The loss against ln K, and the largest change that the deviations make.
    pub fn sentence(&self) -> String {
        let change = |of: fn(&crate::ConsequenceLayer) -> f64| {
            self.layers
                .iter()
                .map(of)
                .filter(|r| r.is_finite())
                .max_by(|a, b| a.ln().abs().total_cmp(&b.ln().abs()))
        };
        let signal = change(|l| l.forward / l.forward_meant);
        let gradient = change(|l| l.gradient / l.gradient_meant);
        let mut text = String::new();
        if self.classes > 1 {
            text += &format!(
                "predicted loss at the start {:.3} ({:.3} as meant) against ln {} = {:.3}",
                self.loss, self.loss_meant, self.classes, self.ln_classes
            );
            if self.loss > self.ln_classes + HIGH {
                text += ", so the first steps will only make the logits smaller";
            }
            text += "; ";
        }
        let times = |ratio: Option<f64>| match ratio {
            Some(r) if (0.1..10.0).contains(&r) => format!("{r:.3}"),
            Some(r) => scientific(r),
            None => "unknown".to_owned(),
        };
        text += &format!(
            "against what was meant, the signal is at most off by a factor {} and the gradient by {}",
            times(signal),
            times(gradient)
        );
        text
    }

    fn figure(&self, id: usize) -> Figure {
        let points = |of: fn(&crate::ConsequenceLayer) -> f64| {
            self.layers.iter().enumerate().map(|(i, l)| ((i + 1) as f64, of(l))).collect::<Vec<_>>()
        };
        let panel = |title: &str, meant, is| {
            Panel::new(title, Axis::linear("layer"), Axis::log10("second moment"))
                .mark(Mark::dashed("as meant", 0, points(meant)))
                .mark(Mark::line("as it is", 1, points(is)))
        };
        let caption = format!(
            "Typical second moments of pre-activations and error signals, {}; {}.",
            self.between,
            self.assumptions.join(", ")
        );
        Figure::new(format!("signals-{id}"), "Signal and gradient by layer", caption)
            .panel(panel("signal", |l| l.forward_meant, |l| l.forward))
            .panel(panel("gradient", |l| l.gradient_meant, |l| l.gradient))
    }
}

impl Audit {
    /// The consequence of a single checkpoint, layer by layer; of several, the page and the JSON have it.
    pub fn consequence_table(&self) -> Option<Table> {
        match self.checkpoints.as_slice() {
            [one] => one.consequence.as_ref().map(|k| k.table("")),
            _ => None,
        }
    }

    /// What holds of every checkpoint: whether it is of step 0, and what follows from its weights.
    pub(crate) fn checkpoint_sentences(&self) -> Vec<String> {
        let several = self.checkpoints.len() > 1;
        let mut lines = Vec::new();
        for checkpoint in &self.checkpoints {
            let of = if several { format!("{}: ", checkpoint.name) } else { String::new() };
            if several {
                lines.push(format!(
                    "{of}step 0: {}; {} tensors, {} with findings",
                    checkpoint.step_zero.sentence(),
                    checkpoint.audited,
                    checkpoint.findings
                ));
            }
            match (&checkpoint.consequence, &checkpoint.not_followed) {
                (Some(consequence), _) => {
                    lines.push(format!("{of}consequence: {}", consequence.sentence()));
                }
                (None, Some(reason)) if !several => {
                    lines.push(format!("consequence: not told, because {reason}"));
                }
                _ => {}
            }
        }
        lines
    }

    /// The name of a checkpoint where there are several.
    fn tell(&self, checkpoint: &CheckpointRecord) -> String {
        if self.checkpoints.len() > 1 { checkpoint.name.clone() } else { String::new() }
    }

    /// The page's section; `None` where no stack could be followed.
    pub(crate) fn consequences(&self) -> Option<Section> {
        let mut section = Section::new("consequence", "What follows");
        for (index, checkpoint) in self.checkpoints.iter().enumerate() {
            let Some(consequence) = &checkpoint.consequence else { continue };
            let name = self.tell(checkpoint);
            let of = if name.is_empty() { String::new() } else { format!("{}: ", code(&name)) };
            let mut sentence = consequence.sentence();
            if of.is_empty() {
                sentence = crate::document::capital(&sentence);
            }
            section.paragraph(format!("{of}{sentence}."));
            section.figure(consequence.figure(index + 1));
            let mut table = consequence.table(&name);
            if index > 0 {
                table.id += &format!("-{}", index + 1);
            }
            section.table(table);
        }
        (!section.blocks.is_empty()).then_some(section)
    }
}
