//! The kernels of training, compiled for several instruction sets.
//!
//! Each unit's additions happen in the same order whatever its column, the width and the instruction
//! set, so units that start equal stay equal to the last bit. Multiplication and addition are fused in the
//! sums of products, [`product`]'s and the first layer's, and nowhere else, so all processors agree on the
//! others, and those with a fused instruction on all.
#![allow(unsafe_code)] // calls of functions compiled for a processor feature, after its detection

/// Compiles a kernel for several instruction sets and chooses at run time.
macro_rules! dispatched {
    ($(#[$doc:meta])* $name:ident, $body:ident, ($($arg:ident: $t:ty),* $(,)?)) => {
        $(#[$doc])*
        #[allow(clippy::too_many_arguments)]
        pub(crate) fn $name($($arg: $t),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw")]
                #[allow(clippy::too_many_arguments)]
                fn avx512($($arg: $t),*) {
                    $body($($arg),*);
                }
                #[target_feature(enable = "avx2")]
                #[allow(clippy::too_many_arguments)]
                fn avx2($($arg: $t),*) {
                    $body($($arg),*);
                }
                let wide = is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512bw");
                if wide {
                    // SAFETY: the features that the function was compiled for were detected just now.
                    return unsafe { avx512($($arg),*) };
                }
                if is_x86_feature_detected!("avx2") {
                    // SAFETY: as above.
                    return unsafe { avx2($($arg),*) };
                }
            }
            $body($($arg),*);
        }
    };
}

mod elementwise;
mod first_layer;
mod product;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod tiles;
mod vector;

pub(crate) use elementwise::{Curve, add_rows, squash, squash_back, update};
pub(crate) use first_layer::{LitGradient, catch_up, forward, prefetch};
pub(crate) use product::{Left, Start, product};
pub(crate) use vector::{LANES, Vector};
