use std::fmt;

use serde::{Deserialize, Serialize};

use crate::SpecError;

/// Connections into and out of a unit, the two numbers that scale an initializer.
///
/// Built only by [`WeightShape::fans`], never guessed from the axes of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fans {
    fan_in: usize,
    fan_out: usize,
}

impl Fans {
    /// Connections into each output unit.
    pub fn fan_in(self) -> usize {
        self.fan_in
    }

    /// Connections out of each input unit.
    pub fn fan_out(self) -> usize {
        self.fan_out
    }
}

/// In which order the axes of a stored weight array stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// `[out, in, kernel...]`: PyTorch.
    #[default]
    OutIn,
    /// `[kernel..., in, out]`: Keras, JAX and Flax, burn's `Linear`.
    InOut,
}

/// What a weight array connects. Sizes are at least one and groups divide the channels.
///
/// # Example
/// ```
/// use gainstage_spec::{Layout, WeightShape};
/// let depthwise = WeightShape::conv(&[3, 3], 64, 64, 64)?;
/// assert_eq!(depthwise.fans().fan_in(), 9);
/// assert_eq!(depthwise.axes(Layout::OutIn), [64, 1, 3, 3]);
/// assert_eq!(depthwise.axes(Layout::InOut), [3, 3, 1, 64]);
/// # Ok::<(), gainstage_spec::SpecError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightShape {
    kind: Kind,
    kernel: Vec<usize>,
    inputs: usize,
    outputs: usize,
    groups: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Kind {
    Dense,
    Conv,
    ConvTransposed,
    Embedding,
}

impl WeightShape {
    /// A fully connected layer.
    ///
    /// # Errors
    /// [`SpecError::Domain`] if a width is zero.
    pub fn dense(inputs: usize, outputs: usize) -> Result<Self, SpecError> {
        Self::new(Kind::Dense, &[], inputs, outputs, 1)
    }

    /// A convolution: kernel sizes, input and output channels, groups. The stride does not count.
    ///
    /// # Errors
    /// [`SpecError::Domain`] if a size is zero or the groups do not divide both channel counts.
    pub fn conv(
        kernel: &[usize],
        inputs: usize,
        outputs: usize,
        groups: usize,
    ) -> Result<Self, SpecError> {
        Self::new(Kind::Conv, kernel, inputs, outputs, groups)
    }

    /// A transposed convolution, fans as seen by the signal that flows through it.
    ///
    /// # Errors
    /// As [`WeightShape::conv`].
    pub fn conv_transposed(
        kernel: &[usize],
        inputs: usize,
        outputs: usize,
        groups: usize,
    ) -> Result<Self, SpecError> {
        Self::new(Kind::ConvTransposed, kernel, inputs, outputs, groups)
    }

    /// An embedding table. A lookup reads one row, so fan-in is 1 and not the number of entries.
    ///
    /// # Errors
    /// [`SpecError::Domain`] if a size is zero.
    pub fn embedding(entries: usize, dimension: usize) -> Result<Self, SpecError> {
        Self::new(Kind::Embedding, &[], entries, dimension, 1)
    }

    fn new(
        kind: Kind,
        kernel: &[usize],
        inputs: usize,
        outputs: usize,
        groups: usize,
    ) -> Result<Self, SpecError> {
        let sizes = kernel.iter().chain([&inputs, &outputs, &groups]);
        if let Some(&zero) = sizes.clone().find(|&&size| size == 0) {
            return Err(SpecError::domain("a weight's size", zero as f64, "at least 1"));
        }
        if sizes.copied().try_fold(1usize, usize::checked_mul).is_none() {
            return Err(SpecError::domain(
                "a weight's number of elements",
                f64::INFINITY,
                "below 2^64",
            ));
        }
        if !inputs.is_multiple_of(groups) || !outputs.is_multiple_of(groups) {
            return Err(SpecError::domain(
                "groups",
                groups as f64,
                "a divisor of both channel counts",
            ));
        }
        Ok(Self { kind, kernel: kernel.to_vec(), inputs, outputs, groups })
    }

    /// Fan-in and fan-out.
    ///
    /// For a convolution `prod(kernel) * channels / groups`; PyTorch's own fan-out leaves out the
    /// division by groups.
    pub fn fans(&self) -> Fans {
        let field = self.field();
        match self.kind {
            Kind::Embedding => Fans { fan_in: 1, fan_out: self.outputs },
            _ => Fans {
                fan_in: field * self.inputs / self.groups,
                fan_out: field * self.outputs / self.groups,
            },
        }
    }

    /// Number of positions in the kernel; 1 without one.
    pub fn field(&self) -> usize {
        self.kernel.iter().product()
    }

    /// The kernel's sizes; empty without one.
    pub fn kernel(&self) -> &[usize] {
        &self.kernel
    }

    /// Input units or channels; for an embedding its entries.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Output units or channels; for an embedding its dimension.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Groups of a convolution; 1 elsewhere.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// Number of weights.
    pub fn elements(&self) -> usize {
        self.field() * self.inputs / self.groups * self.outputs
    }

    /// Whether this is a convolution of either kind.
    pub fn is_conv(&self) -> bool {
        matches!(self.kind, Kind::Conv | Kind::ConvTransposed)
    }

    /// Whether this is an embedding table, which has one layout only.
    pub fn is_embedding(&self) -> bool {
        self.kind == Kind::Embedding
    }

    /// Whether this is a transposed convolution.
    pub fn is_transposed(&self) -> bool {
        self.kind == Kind::ConvTransposed
    }

    /// The array's axes in a layout.
    pub fn axes(&self, layout: Layout) -> Vec<usize> {
        let (i, o, g) = (self.inputs, self.outputs, self.groups);
        match (self.kind, layout) {
            (Kind::Embedding, _) => vec![i, o],
            (Kind::ConvTransposed, Layout::OutIn) => [&[i, o / g], self.kernel.as_slice()].concat(),
            (Kind::ConvTransposed, Layout::InOut) => [self.kernel.as_slice(), &[o / g, i]].concat(),
            (_, Layout::OutIn) => [&[o, i / g], self.kernel.as_slice()].concat(),
            (_, Layout::InOut) => [self.kernel.as_slice(), &[i / g, o]].concat(),
        }
    }
}

impl fmt::Display for WeightShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.kind {
            Kind::Dense => "dense",
            Kind::Conv => "conv",
            Kind::ConvTransposed => "transposed conv",
            Kind::Embedding => "embedding",
        };
        write!(f, "{name} {} -> {}", self.inputs, self.outputs)?;
        if !self.kernel.is_empty() {
            let kernel: Vec<_> = self.kernel.iter().map(ToString::to_string).collect();
            write!(f, ", kernel {}", kernel.join("x"))?;
        }
        if self.groups > 1 {
            write!(f, ", {} groups", self.groups)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fans_follow_the_signal_and_not_the_axes() -> Result<(), SpecError> {
        let fans = |shape: WeightShape| (shape.fans().fan_in(), shape.fans().fan_out());
        assert_eq!(fans(WeightShape::dense(784, 128)?), (784, 128));
        assert_eq!(fans(WeightShape::conv(&[3, 3], 64, 128, 1)?), (576, 1152));
        assert_eq!(fans(WeightShape::conv(&[3, 3], 64, 128, 4)?), (144, 288));
        assert_eq!(fans(WeightShape::conv_transposed(&[2, 2], 64, 32, 1)?), (256, 128));
        assert_eq!(fans(WeightShape::embedding(50_000, 768)?), (1, 768));
        assert_eq!(
            WeightShape::conv_transposed(&[2, 2], 64, 32, 1)?.axes(Layout::OutIn),
            [64, 32, 2, 2]
        );
        Ok(())
    }

    #[test]
    fn impossible_shapes_are_refused() {
        assert!(WeightShape::dense(0, 3).is_err());
        assert!(WeightShape::conv(&[3, 0], 4, 4, 1).is_err());
        assert!(WeightShape::conv(&[3], 6, 4, 4).is_err());
        assert!(WeightShape::dense(usize::MAX, 2).is_err());
    }
}
