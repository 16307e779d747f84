use gainstage_spec::Activation;
fn main() {
    let w: Vec<f64> = (0..200).map(|i| 0.02 * f64::from(i + 1)).collect();
    let b: Vec<f64> = (0..200).map(|i| 0.005 * f64::from(i)).collect();
    for name in ["tanh", "erf", "gelu", "elu", "hard_tanh", "mish", "softsign", "relu6", "selu"] {
        let phi: Activation = name.parse().unwrap();
        let t = std::time::Instant::now();
        let r = gainstage_theory::phase_diagram(&phi, &w, &b, 1.0).unwrap();
        println!("{phi}: {:?} {}", t.elapsed(), r[50][150].c);
    }
}
