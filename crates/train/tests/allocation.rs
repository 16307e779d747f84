//! Steps of training allocate nothing.
#![allow(unsafe_code)] // an allocator that counts is an unsafe trait's

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use gainstage_spec::{Activation, Initializer, Layer, Network};
use gainstage_train::{Clip, Images, Loss, Model, Protocol, Training};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged; a constant thread-local cell without a
// destructor allocates nothing itself.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller's.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocations(run: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.with(Cell::get);
    run();
    ALLOCATIONS.with(Cell::get) - before
}

/// Allocations of the second epoch over so many samples.
fn of_an_epoch(network: &Network, protocol: &Protocol, samples: usize) -> usize {
    let pixels: Vec<u8> = (0..samples * 30).map(|i| (i * 37 % 256 * (i % 3)) as u8).collect();
    let labels: Vec<u8> = (0..samples).map(|i| (i % 3) as u8).collect();
    let images = Images::new(&pixels, 30, &labels, 3).expect("valid");
    let model = Model::new(network, Loss::CrossEntropy, 1).expect("draws");
    let mut training = Training::new(model, (&images).into(), protocol, 1).expect("fits");
    training.epoch();
    allocations(|| _ = training.epoch())
}

#[test]
fn an_epoch_of_many_steps_allocates_no_more_than_one_of_a_few() {
    let deep = |phi| {
        Network::perceptron(&[30, 40, 40, 40, 3], &Initializer::he_normal(), &phi).expect("valid")
    };
    let mut normalized = deep(Activation::Tanh);
    normalized.layers.insert(1, Layer::BatchNorm { epsilon: 1e-5 });
    normalized.layers.insert(3, Layer::Dropout { keep: 0.9 });
    let plain = Protocol { batch: 8, ..Protocol::notebook() };
    let clipped = Protocol { clip: Some(Clip::Norm { bound: 1.0 }), ..plain.clone() };
    let blocks = Protocol { batch: 80, ..Protocol::notebook() };
    for (name, network, protocol) in [
        ("plain", deep(Activation::Relu), &plain),
        ("clipped", deep(Activation::Gelu), &clipped),
        ("normalized, dropout", normalized, &plain),
        ("several blocks", deep(Activation::Relu), &blocks),
    ] {
        // Room for the losses and rates of all its steps is made when it begins.
        let few = of_an_epoch(&network, protocol, 10 * protocol.batch);
        let many = of_an_epoch(&network, protocol, 40 * protocol.batch);
        assert_eq!(few, many, "{name}");
    }
    // The twin: what allocates is counted.
    assert_eq!(allocations(|| drop(vec![0u8; 100])), 1);
}
