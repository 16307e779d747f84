//! A network file that names the tensors of its dense layers.

use std::path::Path;

use gainstage_spec::Network;
use toml::Value;

use crate::AuditError;

/// A network in TOML, with the tensors of a checkpoint that are its layers.
///
/// Every dense layer may have `weight_tensor = "NAME"` and `bias_tensor = "NAME"`. A layer that repeats is
/// given a pattern that matches as many tensors, taken in natural order; a bias is found by its weight's name
/// where none is named.
///
/// # Example
/// ```
/// use gainstage_audit::Described;
/// let text = r#"
/// input = 20
/// [[layers]]
/// kind = "dense"
/// width = 20
/// weights = "he_normal"
/// activation = "relu"
/// repeat = 3
/// weight_tensor = "hidden.*.weight"
/// [[layers]]
/// kind = "dense"
/// width = 5
/// weights = "glorot_uniform"
/// weight_tensor = "head.weight"
/// "#;
/// let described = Described::parse("mlp.toml", text)?;
/// assert!(described.names_tensors());
/// assert_eq!(described.network().dense().count(), 4);
/// # Ok::<(), gainstage_audit::AuditError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Described {
    file: String,
    network: Network,
    slots: Vec<Slot>,
}

/// The tensors of one dense layer, as the file names them.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) weight: Option<String>,
    pub(crate) bias: Option<String>,
    /// Which of the repetitions it is, and of how many.
    pub(crate) turn: usize,
    pub(crate) turns: usize,
}

impl Described {
    /// Reads a file.
    ///
    /// # Errors
    /// [`AuditError::Io`] or [`AuditError::Network`].
    pub fn load(path: &Path) -> Result<Self, AuditError> {
        let text = std::fs::read_to_string(path).map_err(|e| AuditError::io(path, &e))?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// Reads a text; `file` names it in sentences.
    ///
    /// # Errors
    /// [`AuditError::Network`] naming what cannot be read.
    pub fn parse(file: &str, text: &str) -> Result<Self, AuditError> {
        let wrong = |e: toml::de::Error| AuditError::Network {
            file: file.to_owned(),
            reason: e.to_string().trim().replace('\n', " "),
        };
        let network: Network = toml::from_str(text).map_err(wrong)?;
        let value: toml::Table = toml::from_str(text).map_err(wrong)?;
        let mut slots = Vec::new();
        for layer in value.get("layers").and_then(Value::as_array).into_iter().flatten() {
            let turns = layer.get("repeat").and_then(Value::as_integer).unwrap_or(1);
            let turns = usize::try_from(turns).unwrap_or(0);
            for turn in 0..turns {
                collect(layer, turn, turns, &mut slots);
            }
        }
        Ok(Self { file: file.to_owned(), network, slots })
    }

    /// The file.
    pub fn name(&self) -> &str {
        &self.file
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Whether any layer names its tensor.
    pub fn names_tensors(&self) -> bool {
        self.slots.iter().any(|slot| slot.weight.is_some())
    }

    /// In the order of [`Network::dense`].
    pub(crate) fn slots(&self) -> &[Slot] {
        &self.slots
    }
}

fn collect(layer: &Value, turn: usize, turns: usize, slots: &mut Vec<Slot>) {
    let text = |key: &str| layer.get(key).and_then(Value::as_str).map(str::to_owned);
    match layer.get("kind").and_then(Value::as_str) {
        Some("dense") => {
            slots.push(Slot {
                weight: text("weight_tensor"),
                bias: text("bias_tensor"),
                turn,
                turns,
            });
        }
        Some("residual") => {
            for inner in layer.get("branch").and_then(Value::as_array).into_iter().flatten() {
                collect(inner, turn, turns, slots);
            }
        }
        _ => {}
    }
}
