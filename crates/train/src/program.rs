//! A network as a list of operations on numbered values.
//!
//! Value 0 is the input and value i + 1 the output of operation i, which reads value i; a residual
//! join reads a second one. Branches lie in the list where the signal passes them.

use gainstage_spec::{Activation, Layer, Network};

use crate::TrainError;
use crate::norm::Centre;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Program {
    pub(crate) ops: Vec<Op>,
    /// Width of every value.
    pub(crate) widths: Vec<usize>,
    /// Per value, the joins that read it beside their branch.
    pub(crate) joins: Vec<Vec<usize>>,
    /// Widths of the batch normalizations, in order.
    pub(crate) batch_norms: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Op {
    /// z = W h + b, phi(z) with the parameters of a dense layer.
    Dense {
        layer: usize,
    },
    Activation {
        phi: Activation,
    },
    Dropout {
        keep: f64,
    },
    /// Over the batch, unit by unit, with the running statistics of this number.
    BatchNorm {
        epsilon: f64,
        running: usize,
    },
    /// Over the units, sample by sample.
    Norm {
        epsilon: f64,
        centre: Centre,
    },
    /// value(skip) + scale h
    Join {
        skip: usize,
        scale: f64,
    },
}

impl Program {
    pub(crate) fn new(network: &Network) -> Result<Self, TrainError> {
        let mut program = Self {
            ops: Vec::new(),
            widths: vec![network.input],
            joins: Vec::new(),
            batch_norms: Vec::new(),
        };
        let mut dense = 0;
        program.add(&network.layers, &mut dense)?;
        program.joins = vec![Vec::new(); program.widths.len()];
        for (index, op) in program.ops.iter().enumerate() {
            if let Op::Join { skip, .. } = op {
                program.joins[*skip].push(index);
            }
        }
        Ok(program)
    }

    fn add(&mut self, layers: &[Layer], dense: &mut usize) -> Result<(), TrainError> {
        for (index, layer) in layers.iter().enumerate() {
            let width = self.widths[self.widths.len() - 1];
            let (op, width) = match layer {
                Layer::Dense(d) => {
                    *dense += 1;
                    (Op::Dense { layer: *dense - 1 }, d.width)
                }
                Layer::Activation { function } => (Op::Activation { phi: function.clone() }, width),
                Layer::Dropout { keep } => (Op::Dropout { keep: *keep }, width),
                Layer::BatchNorm { epsilon } => {
                    self.batch_norms.push(width);
                    let running = self.batch_norms.len() - 1;
                    (Op::BatchNorm { epsilon: *epsilon, running }, width)
                }
                Layer::LayerNorm { epsilon } => {
                    (Op::Norm { epsilon: *epsilon, centre: Centre::Mean }, width)
                }
                Layer::RmsNorm { epsilon } => {
                    (Op::Norm { epsilon: *epsilon, centre: Centre::Zero }, width)
                }
                Layer::Residual { scale, branch } => {
                    let skip = self.widths.len() - 1;
                    self.add(branch, dense)?;
                    (Op::Join { skip, scale: *scale }, width)
                }
                other => {
                    let kind = format!("{other:?}");
                    let kind = kind.split([' ', '{']).next().unwrap_or_default().to_owned();
                    return Err(TrainError::Unsupported { layer: index + 1, kind });
                }
            };
            self.ops.push(op);
            self.widths.push(width);
        }
        Ok(())
    }

    /// Whether the input is read by one dense layer alone, so that it may stay a list of lit pixels.
    pub(crate) fn begins_dense(&self) -> bool {
        matches!(self.ops[0], Op::Dense { .. }) && self.joins[0].is_empty()
    }

    /// Width of the output.
    pub(crate) fn outputs(&self) -> usize {
        self.widths[self.widths.len() - 1]
    }
}
