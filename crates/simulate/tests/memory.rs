//! Deeper networks take memory for their signals only: one layer's weights are alive at a time.
#![allow(unsafe_code)] // an allocator that counts is an unsafe trait's

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use gainstage_simulate::{Setup, measure};
use gainstage_spec::{Activation, Initializer, Network};

struct Counting;

static ALIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged; atomics allocate nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let alive = ALIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(alive, Ordering::Relaxed);
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        ALIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const WIDTH: usize = 1000;
const BATCH: usize = 4;

/// The most bytes alive during a dense draw, less those before it.
fn peak(depth: usize, activation: &Activation) -> usize {
    let network = Network::uniform(WIDTH, depth, &Initializer::he_normal(), activation);
    let network = network.expect("valid");
    let setup = Setup { trials: 1, batch: BATCH, ..Setup::default() };
    let before = ALIVE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    drop(measure(&network, &setup).expect("runs"));
    PEAK.load(Ordering::Relaxed) - before
}

#[test]
fn memory_grows_with_depth_by_what_the_way_back_needs() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    pool.install(|| {
        // Beside a layer's signals: its statistics, which no width enters.
        let statistics = 1536;
        // What the products' library sets up once.
        peak(1, &Activation::Relu);
        for (activation, of_signals) in [
            (Activation::Relu, WIDTH * BATCH / 8),
            (Activation::Tanh, WIDTH * BATCH * size_of::<f32>()),
        ] {
            let peaks = [1, 10, 100].map(|depth| peak(depth, &activation));
            let one_layer = WIDTH * WIDTH * size_of::<f32>();
            assert!(peaks[0] > one_layer, "a layer's weights are drawn: {peaks:?}");
            assert!(peaks[0] < one_layer + 64 * WIDTH * BATCH, "and little else: {peaks:?}");
            for (depths, few, many) in [(9, peaks[0], peaks[1]), (90, peaks[1], peaks[2])] {
                let a_layer = many.saturating_sub(few) / depths;
                assert!(
                    (of_signals..of_signals + statistics).contains(&a_layer),
                    "{activation}: {a_layer} bytes a layer, {of_signals} of its signals; {peaks:?}"
                );
            }
        }
    });
}
