/// A number type that products and kernels are compiled for: `f32` or `f64`.
pub trait Real:
    Copy + Send + Sync + PartialEq + PartialOrd + std::fmt::Debug + sealed::Sealed + 'static
{
    /// Zero.
    const ZERO: Self;
    /// One.
    const ONE: Self;
    /// Rounded from f64.
    fn from_f64(value: f64) -> Self;
    /// Widened to f64.
    fn to_f64(self) -> f64;
    /// The product, rounded once.
    #[must_use]
    fn times(self, other: Self) -> Self;
    /// The sum, rounded once.
    #[must_use]
    fn plus(self, other: Self) -> Self;
}

mod sealed {
    pub trait Sealed: Sized {
        /// The values themselves, if they are f32.
        fn as_f32(_values: &[Self]) -> Option<&[f32]> {
            None
        }
    }
    impl Sealed for f32 {
        fn as_f32(values: &[Self]) -> Option<&[f32]> {
            Some(values)
        }
    }
    impl Sealed for f64 {}
}

impl Real for f32 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    fn from_f64(value: f64) -> Self {
        value as f32
    }
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
    fn times(self, other: Self) -> Self {
        self * other
    }
    fn plus(self, other: Self) -> Self {
        self + other
    }
}

impl Real for f64 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    fn from_f64(value: f64) -> Self {
        value
    }
    fn to_f64(self) -> f64 {
        self
    }
    fn times(self, other: Self) -> Self {
        self * other
    }
    fn plus(self, other: Self) -> Self {
        self + other
    }
}
