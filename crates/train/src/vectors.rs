use crate::images::grey_table;
use crate::{Images, TrainError};

/// Samples of real numbers, with classes to tell or values to approximate.
#[derive(Clone, Debug)]
pub struct Vectors {
    width: usize,
    inputs: Vec<f32>,
    targets: Targets,
}

#[derive(Clone, Debug)]
enum Targets {
    Classes { labels: Vec<u8>, classes: usize },
    Values { values: Vec<f32>, width: usize },
}

impl Vectors {
    /// Samples of `width` numbers each, with a class for every one.
    ///
    /// # Errors
    /// [`TrainError`] if sizes do not fit or a label is no class.
    ///
    /// ```
    /// let v = gainstage_train::Vectors::with_classes(vec![0.5, -1.0, 2.0, 3.0], 2, vec![0, 1], 2)?;
    /// assert_eq!((v.len(), v.width(), v.outputs()), (2, 2, 2));
    /// # Ok::<(), gainstage_train::TrainError>(())
    /// ```
    pub fn with_classes(
        inputs: Vec<f32>,
        width: usize,
        labels: Vec<u8>,
        classes: usize,
    ) -> Result<Self, TrainError> {
        check_inputs(&inputs, width, labels.len())?;
        if let Some((image, &label)) =
            labels.iter().enumerate().find(|(_, l)| usize::from(**l) >= classes)
        {
            return Err(TrainError::Label { image, label, classes });
        }
        Ok(Self { width, inputs, targets: Targets::Classes { labels, classes } })
    }

    /// Samples of `width` numbers each, with `outputs` numbers to approximate for every one.
    ///
    /// # Errors
    /// [`TrainError`] if sizes do not fit.
    ///
    /// ```
    /// let v = gainstage_train::Vectors::with_values(vec![0.5, -1.0, 2.0, 3.0], 2, vec![0.25, 4.0], 1)?;
    /// assert_eq!((v.len(), v.width(), v.outputs()), (2, 2, 1));
    /// # Ok::<(), gainstage_train::TrainError>(())
    /// ```
    pub fn with_values(
        inputs: Vec<f32>,
        width: usize,
        values: Vec<f32>,
        outputs: usize,
    ) -> Result<Self, TrainError> {
        let samples = values.len() / outputs.max(1);
        check_inputs(&inputs, width, samples)?;
        if outputs == 0 || values.len() != samples * outputs {
            let needed = samples * outputs;
            return Err(TrainError::Size { what: "targets", found: values.len(), needed });
        }
        Ok(Self { width, inputs, targets: Targets::Values { values, width: outputs } })
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.inputs.len() / self.width
    }

    /// Never: there is at least one sample.
    pub fn is_empty(&self) -> bool {
        self.inputs.is_empty()
    }

    /// Numbers of a sample.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Outputs that a network needs at least: classes, or values of a target.
    pub fn outputs(&self) -> usize {
        match self.targets {
            Targets::Classes { classes, .. } => classes,
            Targets::Values { width, .. } => width,
        }
    }
}

fn check_inputs(inputs: &[f32], width: usize, samples: usize) -> Result<(), TrainError> {
    let needed = (samples * width).max(width).max(1);
    if width == 0 || samples == 0 || inputs.len() != needed {
        return Err(TrainError::Size {
            what: "numbers of all samples",
            found: inputs.len(),
            needed,
        });
    }
    Ok(())
}

/// What is learned: byte images, whose zeros cost nothing, or vectors.
#[derive(Clone, Copy, Debug)]
pub enum Data<'a> {
    /// Byte images with classes.
    Images(&'a Images),
    /// Real numbers with classes or values.
    Vectors(&'a Vectors),
}

impl<'a> From<&'a Images> for Data<'a> {
    fn from(images: &'a Images) -> Self {
        Self::Images(images)
    }
}

impl<'a> From<&'a Vectors> for Data<'a> {
    fn from(vectors: &'a Vectors) -> Self {
        Self::Vectors(vectors)
    }
}

/// What a sample's outputs should be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target<'a> {
    Class(usize),
    Values(&'a [f32]),
}

impl<'a> Data<'a> {
    /// Number of samples.
    pub fn len(self) -> usize {
        match self {
            Self::Images(images) => images.len(),
            Self::Vectors(vectors) => vectors.len(),
        }
    }

    /// Never: there is at least one sample.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Numbers of a sample.
    pub fn width(self) -> usize {
        match self {
            Self::Images(images) => images.width(),
            Self::Vectors(vectors) => vectors.width(),
        }
    }

    /// Outputs that a network needs: at least so many for classes, exactly so many for values.
    pub fn outputs(self) -> usize {
        match self {
            Self::Images(images) => images.classes(),
            Self::Vectors(vectors) => vectors.outputs(),
        }
    }

    pub(crate) fn has_values(self) -> bool {
        matches!(self, Self::Vectors(Vectors { targets: Targets::Values { .. }, .. }))
    }

    pub(crate) fn target(self, sample: u32) -> Target<'a> {
        let sample = sample as usize;
        match self {
            Self::Images(images) => Target::Class(usize::from(images.labels()[sample])),
            Self::Vectors(vectors) => match &vectors.targets {
                Targets::Classes { labels, .. } => Target::Class(usize::from(labels[sample])),
                Targets::Values { values, width } => {
                    Target::Values(&values[sample * width..][..*width])
                }
            },
        }
    }

    /// Grey values become numbers by this table; vectors are what they are.
    pub(crate) fn copy(self, batch: &[u32], grey: &[f32; 256], out: &mut [f32]) {
        for (row, &sample) in out.chunks_exact_mut(self.width()).zip(batch) {
            match self {
                Self::Images(images) => {
                    row.fill(grey[0]);
                    for lit in images.image(sample as usize) {
                        row[usize::from(lit.index)] = grey[usize::from(lit.value)];
                    }
                }
                Self::Vectors(vectors) => {
                    let from = sample as usize * vectors.width;
                    row.copy_from_slice(&vectors.inputs[from..from + vectors.width]);
                }
            }
        }
    }

    /// The table for images of a scale.
    pub(crate) fn grey(scale: f64) -> [f32; 256] {
        grey_table(scale)
    }
}
