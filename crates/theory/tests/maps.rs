//! Maps, fixed points, phases and depth scales against published and independently computed values.

use gainstage_spec::Activation;
use gainstage_theory::{
    MeanField, Phase, VarianceLimit, cross_gap, cross_moment, edge_of_chaos, moments, phase_diagram,
};

fn close(got: f64, expected: f64, tolerance: f64, what: &str) {
    let error = (got - expected).abs() / expected.abs().max(f64::MIN_POSITIVE);
    assert!(error <= tolerance, "{what}: {got} against {expected}, relative {error:.1e}");
}

fn tanh(weight_variance: f64, bias_variance: f64) -> MeanField {
    MeanField::new(&Activation::Tanh, weight_variance, bias_variance).expect("valid")
}

fn fixed(limit: VarianceLimit) -> f64 {
    match limit {
        VarianceLimit::Fixed { point } => point.q,
        other => panic!("no fixed point: {other:?}"),
    }
}

#[test]
fn tanh_at_a_twentieth_of_bias_variance_has_its_fixed_points_and_depth_scales() {
    // Schoenholz et al. 2017, figures 1 to 4; sigma_w^2, q*, chi_1, c*, slope at c*, xi_q, xi_c, xi_grad.
    let table = [
        [0.1, 0.0549716637, 0.0907155224, 1.0, 0.0907155224, 0.400010, 0.416662, 0.416662],
        [1.0, 0.1935925202, 0.7590316472, 1.0, 0.7590316472, 1.747626, 3.626976, 3.626976],
        [1.5, 0.4180372005, 0.9386362682, 1.0, 0.9386362682, 1.682828, 15.790994, 15.790994],
        [1.76, 0.5694628399, 0.9997964242, 1.0, 0.9997964242, 1.521671, 4911.675293, 4911.675],
        [
            1.8,
            0.5941321720,
            1.0082231444,
            0.9504105464,
            0.9920813879,
            1.497884,
            125.784094,
            122.107300,
        ],
        [
            2.0,
            0.7217618727,
            1.0476659996,
            0.7440824195,
            0.9611147920,
            1.387976,
            25.213415,
            21.475434,
        ],
        [3.0, 1.4280084622, 1.2089344241, 0.2993176418, 0.8954047158, 1.041461, 9.051456, 5.270389],
        [4.0, 2.1954939280, 1.3424024144, 0.1650649620, 0.8665279956, 0.873293, 6.980274, 3.396037],
    ];
    for [s, q, chi, c, c_slope, xi_q, xi_c, xi_gradient] in table {
        let limit = tanh(s, 0.05).depth_limit(1.0).expect("valid");
        close(fixed(limit.variance), q, 1e-9, "q*");
        close(limit.chi_1, chi, 1e-9, "chi_1");
        close(limit.c, c, 1e-9, "c*");
        close(limit.c_slope, c_slope, 1e-9, "slope at c*");
        close(limit.xi_q, xi_q, 1e-5, "xi_q");
        close(limit.xi_c, xi_c, 1e-6, "xi_c");
        close(limit.xi_gradient, xi_gradient, 1e-6, "xi_gradient");
    }
}

#[test]
fn other_points_of_the_tanh_diagram() {
    let table = [
        (0.0, 1.5, 0.2868942294, 1.0405675650, 0.0, 52.362982),
        (0.0, 4.0, 2.1214735682, 1.3626733375, 0.0, 7.979633),
        (0.3, 1.0, 0.6055153216, 0.5565717514, 1.0, 1.706604),
        (0.3, 4.0, 2.5483620276, 1.2568716897, 0.5753947743, 6.549683),
        (1.0, 4.0, 3.4480690914, 1.0963101022, 0.9129222116, 12.518339),
    ];
    for (b, s, q, chi, c, xi_c) in table {
        let limit = tanh(s, b).depth_limit(1.0).expect("valid");
        close(fixed(limit.variance), q, 1e-9, "q*");
        close(limit.chi_1, chi, 1e-9, "chi_1");
        assert!((limit.c - c).abs() < 1e-9, "c* {} against {c}", limit.c);
        close(limit.xi_c, xi_c, 1e-6, "xi_c");
    }
}

#[test]
fn dropout_destroys_the_critical_point() {
    let table = [
        (0.99, 0.5809823162, 0.76578289, 14.47963),
        (0.95, 0.6276904091, 0.50940307, 6.77517),
        (0.8, 0.8560934152, 0.20063228, 2.94375),
        (0.5, 1.8233528332, 0.04846160, 1.19910),
    ];
    for (keep, q, c, xi_c) in table {
        let net = tanh(1.760954639607, 0.05).with_dropout(keep).expect("valid");
        let limit = net.depth_limit(1.0).expect("valid");
        close(fixed(limit.variance), q, 1e-9, "q*");
        close(limit.c, c, 1e-7, "c*");
        close(limit.xi_c, xi_c, 1e-5, "xi_c");
    }
    // ReLU with sigma_w^2 = 2 keep: c' = keep f(c).
    for (keep, c, xi_c) in [(0.99, 0.902932599116, 6.153327), (0.5, 0.217233628211, 0.796314)] {
        let net = MeanField::new(&Activation::Relu, 2.0 * keep, 0.0).expect("valid");
        let limit = net.with_dropout(keep).expect("valid").depth_limit(1.0).expect("valid");
        assert_eq!(limit.variance, VarianceLimit::Kept { q: 1.0 });
        close(limit.c, c, 1e-11, "c*");
        close(limit.xi_c, xi_c, 1e-6, "xi_c");
    }
}

#[test]
fn the_edge_of_chaos_runs_through_its_known_points() {
    let tanh = [
        (0.0, 0.0, 1.0),
        (0.0001, 0.04570907869528, 1.086026292500),
        (0.01, 0.2733009134582, 1.424205290489),
        (0.05, 0.5700478816408, 1.760954639607),
        (0.5, 1.971030613417, 2.843167459724),
        (2.0, 4.830586191420, 4.266396106127),
    ];
    let erf = [
        (0.0, 0.0, std::f64::consts::FRAC_PI_4),
        (0.01, 0.253209656331, 1.114280063404),
        (0.1, 0.726359229385, 1.552117855334),
    ];
    let sin = [(0.05, 0.552070102558, 1.502070102558)];
    for (phi, table) in
        [(Activation::Tanh, &tanh[..]), (Activation::Erf, &erf[..]), (Activation::Sin, &sin[..])]
    {
        for &(b, q, s) in table {
            let edge = edge_of_chaos(&phi, b).expect("valid");
            assert_eq!(edge.len(), 1, "{phi} {b}: {edge:?}");
            close(edge[0].weight_variance, s, 1e-11, "sigma_w^2");
            assert!((edge[0].fixed_point.q - q).abs() < 1e-10, "{phi} {b}: {edge:?}");
        }
    }
    let relu = edge_of_chaos(&Activation::Relu, 0.0).expect("valid");
    assert_eq!((relu.len(), relu[0].weight_variance), (1, 2.0));
}

#[test]
fn framework_gains_have_their_fixed_points() {
    let at = |phi: Activation, gain: f64| {
        MeanField::new(&phi, gain * gain, 0.0).expect("valid").depth_limit(1.0).expect("valid")
    };
    let tanh = at(Activation::Tanh, 5.0 / 3.0);
    close(fixed(tanh.variance), 1.178480490385, 1e-11, "tanh 5/3");
    close(tanh.chi_1, 1.2098313204, 1e-10, "tanh 5/3");
    let selu = at(Activation::Selu, 0.75);
    close(fixed(selu.variance), 0.0230337846, 1e-8, "selu 3/4");
    close(selu.chi_1, 1.0036703508, 1e-10, "selu 3/4");
    let sigmoid = at(Activation::Sigmoid, 1.0);
    close(fixed(sigmoid.variance), 0.264686875182, 1e-11, "sigmoid");
    close(sigmoid.chi_1, 0.0557207068, 1e-8, "sigmoid");
    let selu = at(Activation::Selu, 1.0);
    close(fixed(selu.variance), 1.0, 1e-12, "selu");
    assert!(selu.phase == Phase::Chaotic && selu.c.abs() < 1e-12, "{selu:?}");
    // sqrt(2) is not GELU's gain: the variance goes to zero.
    assert_eq!(fixed(at(Activation::Gelu, 2f64.sqrt()).variance), 0.0);
    let lecun = at(Activation::LecunTanh, 1.0);
    close(fixed(lecun.variance), 0.382440801297, 1e-11, "LeCun's tanh");
    close(lecun.chi_1, 1.0192495, 1e-7, "LeCun's tanh");
}

#[test]
fn relu_diverges_above_two_and_is_kept_at_two() {
    let relu = |s, b| MeanField::new(&Activation::Relu, s, b).expect("valid");
    let limit = |s, b| relu(s, b).variance_limit(1.0).expect("valid");
    assert_eq!(limit(2.0, 0.0), VarianceLimit::Kept { q: 1.0 });
    assert_eq!(limit(2.1, 0.0), VarianceLimit::Diverges);
    assert_eq!(limit(2.0, 0.1), VarianceLimit::Diverges);
    close(fixed(limit(1.0, 0.1)), 0.2, 1e-15, "q* = sigma_b^2 / (1 - sigma_w^2/2)");
    assert_eq!(fixed(limit(1.0, 0.0)), 0.0);
    let swish = MeanField::new(&Activation::Silu, 2.5, 0.0).expect("valid");
    assert_eq!(
        swish.variance_limit(1.0).expect("valid"),
        VarianceLimit::Fixed { point: swish.fixed_points()[0] }
    );
    assert_eq!(swish.variance_limit(50.0).expect("valid"), VarianceLimit::Diverges);
    let diverging = relu(3.0, 0.0).depth_limit(1.0).expect("valid");
    assert_eq!((diverging.variance, diverging.chi_1), (VarianceLimit::Diverges, 1.5));
}

#[test]
fn relus_correlation_gap_shrinks_like_nine_pi_squared_over_two_l_squared() {
    // Hayou et al. 2019. l^2 (1 - c_l) over 9 pi^2 / 2, from orthogonal inputs.
    let he = MeanField::new(&Activation::Relu, 2.0, 0.0).expect("valid");
    let (mut q, mut gap) = (1.0, 1.0);
    let rate = 4.5 * std::f64::consts::PI.powi(2);
    for l in 1..=10_000u32 {
        (q, gap) = he.step(q, gap).expect("valid");
        let ratio = gap * f64::from(l * l) / rate;
        match l {
            10 => close(ratio, 0.2892483, 1e-6, "l = 10"),
            100 => close(ratio, 0.8053578, 1e-6, "l = 100"),
            1000 => close(ratio, 0.9711012, 1e-6, "l = 1000"),
            10_000 => close(ratio, 0.9963684, 1e-6, "l = 10000"),
            _ => {}
        }
    }
}

/// E f(u, v) by the trapezoid rule on a fine grid of independent normals: no cuts, no parities.
fn trapezoid(phi: &Activation, q: f64, c: f64, f: impl Fn(f64, f64) -> f64) -> f64 {
    let (h, n) = (0.02, 450);
    let s = (1.0 - c * c).sqrt();
    let weight = |t: f64| (-0.5 * t * t).exp();
    let mut sum = 0.0;
    for i in -n..=n {
        let x = f64::from(i) * h;
        let u = phi.value(q.sqrt() * x);
        let inner: f64 = (-n..=n)
            .map(|j| f64::from(j) * h)
            .map(|y| weight(y) * f(u, phi.value(q.sqrt() * (c * x + s * y))))
            .sum();
        sum += weight(x) * inner;
    }
    sum * h * h / (2.0 * std::f64::consts::PI)
}

#[test]
fn kernels_agree_with_a_trapezoid_rule() {
    for phi in Activation::all() {
        // The trapezoid rule errs by h^2 at kinks, and by nothing to speak of where phi is smooth.
        let tolerance = if phi.kinks().is_empty() { 1e-11 } else { 2e-4 };
        for (q, c) in [(0.3, -0.7), (1.0, 0.2), (2.0, 0.9)] {
            let kernel = cross_moment(&phi, q, q, c).expect("valid");
            let grid = trapezoid(&phi, q, c, |u, v| u * v);
            let size = moments(&phi, q).expect("valid").second_moment;
            assert!((kernel - grid).abs() < tolerance * size, "{phi} {q} {c}: {kernel} {grid}");
            let gap = cross_gap(&phi, q, 1.0 - c).expect("valid");
            assert!((gap - (size - kernel)).abs() < 1e-11 * size, "{phi} {q} {c}: gap {gap}");
        }
    }
}

#[test]
fn kernels_stay_accurate_as_the_correlation_tends_to_one() {
    // E (phi(u) - phi(v))^2 / 2 -> gap q E phi'^2, with a remainder of order sqrt(gap) at kinks.
    for phi in Activation::all() {
        for (gap, kinked, smooth) in [(1e-4, 0.1, 1e-2), (1e-8, 1e-3, 1e-6), (1e-12, 1e-5, 1e-9)] {
            let q = 1.3;
            let first = gap * q * moments(&phi, q).expect("valid").derivative_second_moment;
            let got = cross_gap(&phi, q, gap).expect("valid");
            let tolerance = if phi.kinks().is_empty() { smooth } else { kinked };
            close(got, first, tolerance, &format!("{phi} at gap {gap:e}"));
        }
    }
}

#[test]
fn clipped_lines_have_the_kernel_of_bivariate_normal_probabilities() {
    // hard tanh: dK/dc = q P(|u| < 1, |v| < 1), whose own slope is known; checked by a difference.
    let phi = Activation::HardTanh;
    for c in [0.3, 0.95, 0.9999] {
        let (q, h) = (1.5, 1e-3 * (1.0 - c));
        let slope = (cross_moment(&phi, q, q, c + h).expect("valid")
            - cross_moment(&phi, q, q, c - h).expect("valid"))
            / (2.0 * h);
        // P(|u| < 1, |v| < 1) by the midpoint rule over u, v given u exactly.
        let n = 20_000;
        let s = (1.0f64 - c * c).sqrt();
        let cdf = |x: f64| 0.5 * libm::erfc(-x / 2f64.sqrt());
        let edge = 1.0 / f64::sqrt(q);
        let inside: f64 = (0..n)
            .map(|i| -edge + (f64::from(i) + 0.5) * 2.0 * edge / f64::from(n))
            .map(|x| {
                let density = (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
                density * (cdf((edge - c * x) / s) - cdf((-edge - c * x) / s))
            })
            .sum::<f64>()
            * 2.0
            * edge
            / f64::from(n);
        close(slope, q * inside, 1e-5, "slope of hard tanh's kernel");
    }
}

#[test]
fn parameters_out_of_their_domain_are_refused() {
    let error = |r: Result<MeanField, _>| match r {
        Err(e) => format!("{e}"),
        Ok(_) => panic!("must be refused"),
    };
    assert!(error(MeanField::new(&Activation::Tanh, -1.0, 0.0)).contains("weight variance is -1"));
    assert!(error(MeanField::new(&Activation::Tanh, 1.0, f64::NAN)).contains("NaN"));
    assert!(error(tanh(1.0, 0.0).with_dropout(0.0)).contains("keep probability is 0"));
    assert!(cross_moment(&Activation::Tanh, 1.0, 1.0, 1.1).is_err());
    assert!(cross_gap(&Activation::Tanh, 1.0, -0.1).is_err());
    assert!(tanh(1.0, 0.0).step(-1.0, 0.0).is_err());
}

#[test]
fn a_phase_diagram_agrees_with_its_points() {
    let weights: Vec<f64> = (0..12).map(|i| 0.2 + 0.35 * f64::from(i)).collect();
    let biases = [0.0, 0.01, 0.3, 1.5];
    for phi in
        [Activation::Tanh, Activation::Elu { alpha: 1.0 }, Activation::HardTanh, Activation::Relu]
    {
        let rows = phase_diagram(&phi, &weights, &biases, 1.0).expect("valid");
        for (row, &b) in rows.iter().zip(&biases) {
            for (cell, &w) in row.iter().zip(&weights) {
                let exact =
                    MeanField::new(&phi, w, b).expect("valid").depth_limit(1.0).expect("valid");
                assert_eq!(cell.variance, exact.variance, "{phi} {w} {b}");
                assert_eq!(cell.chi_1, exact.chi_1);
                assert!((cell.c - exact.c).abs() < 1e-8, "{phi} {w} {b}: {} {}", cell.c, exact.c);
                let slopes = (cell.c_slope - exact.c_slope).abs();
                assert!(slopes < 1e-7, "{phi} {w} {b}: {cell:?} {exact:?}");
            }
        }
    }
}

#[test]
fn folds_of_the_variance_map_show_both_fixed_points() {
    // Just past the fold GELU with bias has a stable and an unstable fixed point close together.
    let phi = Activation::Gelu;
    let at = |w: f64| MeanField::new(&phi, w, 0.01).expect("valid").fixed_points();
    let (mut none, mut two) = (4.0, 2.2);
    assert!(at(none).is_empty() && at(two).len() == 2);
    for _ in 0..20 {
        let middle = 0.5 * (none + two);
        if at(middle).is_empty() { none = middle } else { two = middle }
    }
    let pair = at(two);
    assert_eq!(pair.len(), 2);
    assert!(pair[0].is_stable() && !pair[1].is_stable() && pair[1].q / pair[0].q < 1.1, "{pair:?}");
}

/// E phi(m + s y) over y standard normal in closed form, for activations with kinks.
fn inner(phi: &Activation, m: f64, s: f64) -> f64 {
    let cdf = |x: f64| 0.5 * libm::erfc(-x / 2f64.sqrt());
    let pdf = |x: f64| (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
    // E max(z - k, 0)
    let ramp = |k: f64| (m - k) * cdf((m - k) / s) + s * pdf((m - k) / s);
    match phi {
        Activation::HardTanh => ramp(-1.0) - ramp(1.0) - 1.0,
        Activation::Relu6 => ramp(0.0) - ramp(6.0),
        Activation::Elu { .. } => {
            ramp(0.0) + (m + 0.5 * s * s).exp() * cdf(-m / s - s) - cdf(-m / s)
        }
        other => panic!("no closed form for {other}"),
    }
}

#[test]
fn kernels_of_activations_with_kinks_have_ten_digits() {
    for phi in [Activation::HardTanh, Activation::Relu6, Activation::Elu { alpha: 1.0 }] {
        for (q, c) in [(0.4, 0.3), (1.7, -0.6), (1.7, 0.99), (30.0, 0.9)] {
            let (std, s) = (f64::sqrt(q), f64::sqrt(q * (1.0 - c * c)));
            let mut cuts: Vec<f64> = vec![-9.0, 9.0];
            cuts.extend(phi.kinks().iter().map(|k| k / std).filter(|k| k.abs() < 9.0));
            cuts.sort_by(f64::total_cmp);
            // Simpson's rule on 20,000 steps between kinks.
            let simpson = |a: f64, b: f64| {
                let n = 20_000;
                let h = (b - a) / f64::from(n);
                let f = |x: f64| {
                    let inside = a + (b - a) * 1e-15;
                    let u = std * x.max(inside);
                    (-0.5 * x * x).exp() * phi.value(u) * inner(&phi, c * std * x, s)
                };
                let sum: f64 = (1..n)
                    .map(|i| f64::from(2 + 2 * (i % 2)) * f(a + f64::from(i) * h))
                    .sum::<f64>()
                    + f(a)
                    + f(b);
                sum * h / 3.0
            };
            let exact = cuts.windows(2).map(|p| simpson(p[0], p[1])).sum::<f64>()
                / (2.0 * std::f64::consts::PI).sqrt();
            let got = cross_moment(&phi, q, q, c).expect("valid");
            let size = moments(&phi, q).expect("valid").second_moment;
            assert!((got - exact).abs() < 1e-10 * size, "{phi} {q} {c}: {got} against {exact}");
        }
    }
}
