//! Code to paste, one function per framework: gains by layer in, layers or parameters out.

use gainstage_theory::{LayerAdvice, Recommendation, Request};

use crate::args::Framework;

pub(super) fn name(framework: Framework) -> &'static str {
    match framework {
        Framework::Pytorch => "PyTorch",
        Framework::Keras => "Keras",
        Framework::Jax => "JAX",
        Framework::Burn => "burn",
        Framework::Candle => "candle",
    }
}

pub(super) fn write(framework: Framework, request: &Request, found: &Recommendation) -> String {
    let layers = &found.layers;
    let what = format!(
        "{} through {} dense layers: {}",
        request.activation,
        layers.len(),
        found.chosen.name
    );
    let body = match framework {
        Framework::Pytorch => pytorch(layers),
        Framework::Keras => keras(layers),
        Framework::Jax => jax(layers, request.input),
        Framework::Burn => burn(layers),
        Framework::Candle => candle(layers),
    };
    let comment = if matches!(framework, Framework::Burn | Framework::Candle) { "//" } else { "#" };
    format!("{comment} {what}\n{body}")
}

/// A Python list, runs of equal numbers as `[x] * n`, alternating ones as `[x, y] * n`.
fn list(values: &[f64]) -> String {
    let number = |x: f64| format!("{x:?}");
    let mut parts = Vec::new();
    let mut rest = values;
    while let [first, ..] = rest {
        let run = rest.iter().take_while(|x| *x == first).count();
        let pairs = rest.chunks_exact(2).take_while(|pair| *pair == &rest[..2]).count();
        if run > 1 || pairs < 2 {
            let times = if run == 1 { String::new() } else { format!(" * {run}") };
            parts.push(format!("[{}]{times}", number(*first)));
            rest = &rest[run..];
        } else {
            parts.push(format!("[{}, {}] * {pairs}", number(rest[0]), number(rest[1])));
            rest = &rest[2 * pairs..];
        }
    }
    parts.join(" + ")
}

fn gains(layers: &[LayerAdvice]) -> String {
    list(&layers.iter().map(|l| l.gain).collect::<Vec<_>>())
}

fn is_orthogonal(layers: &[LayerAdvice]) -> bool {
    layers.first().is_some_and(|l| l.orthogonal)
}

fn bias_std(layers: &[LayerAdvice]) -> f64 {
    layers.first().map_or(0.0, |l| l.bias_std)
}

fn pytorch(layers: &[LayerAdvice]) -> String {
    let weights = if is_orthogonal(layers) {
        "nn.init.orthogonal_(layer.weight, gain * max(1.0, layer.out_features / layer.in_features) ** 0.5)"
    } else {
        "nn.init.normal_(layer.weight, std=gain / layer.in_features**0.5)"
    };
    format!(
        "from torch import nn

GAINS = {}
BIAS_STD = {:?}


def init_weights(model):
    \"\"\"For the first {} nn.Linear of the model, in order.\"\"\"
    linears = [m for m in model.modules() if isinstance(m, nn.Linear)]
    assert len(linears) >= len(GAINS), f\"{{len(linears)}} linear layers, {{len(GAINS)}} gains\"
    for layer, gain in zip(linears, GAINS):
        {weights}
        if layer.bias is not None:
            nn.init.normal_(layer.bias, std=BIAS_STD)
",
        gains(layers),
        bias_std(layers),
        layers.len()
    )
}

fn keras(layers: &[LayerAdvice]) -> String {
    let weights = if is_orthogonal(layers) {
        "keras.initializers.Orthogonal(gain * max(1.0, units / fan_in) ** 0.5)"
    } else {
        "keras.initializers.VarianceScaling(gain**2, \"fan_in\", \"untruncated_normal\")"
    };
    format!(
        "import keras

GAINS = {}
BIAS_STD = {:?}


def dense(fan_in, units, gain, **kwargs):
    \"\"\"A Dense layer; pass GAINS[i] to the i-th. keras seeds each initializer apart.\"\"\"
    return keras.layers.Dense(
        units,
        kernel_initializer={weights},
        bias_initializer=keras.initializers.RandomNormal(stddev=BIAS_STD),
        **kwargs,
    )
",
        gains(layers),
        bias_std(layers)
    )
}

fn jax(layers: &[LayerAdvice], input: usize) -> String {
    let weights = if is_orthogonal(layers) {
        "jax.nn.initializers.orthogonal(gain * max(1.0, fan_out / fan_in) ** 0.5)(w, (fan_in, fan_out))"
    } else {
        "gain / fan_in**0.5 * jax.random.normal(w, (fan_in, fan_out))"
    };
    let mut sizes = vec![input as f64];
    sizes.extend(layers.iter().map(|l| l.fan_out as f64));
    format!(
        "import jax

SIZES = {}
GAINS = {}
BIAS_STD = {:?}


def init_params(key):
    \"\"\"[(weight [fan_in, fan_out], bias [fan_out]), ...]\"\"\"
    params = []
    for fan_in, fan_out, gain in zip(SIZES, SIZES[1:], GAINS):
        key, w, b = jax.random.split(key, 3)
        weight = {weights}
        params.append((weight, BIAS_STD * jax.random.normal(b, (fan_out,))))
    return params
",
        list(&sizes).replace(".0", ""),
        gains(layers),
        bias_std(layers)
    )
}

/// The gains in words; Rust has no repeated lists.
fn spelled(layers: &[LayerAdvice]) -> String {
    format!("// Gains by layer, in Python's notation: {}\n", gains(layers))
}

fn burn(layers: &[LayerAdvice]) -> String {
    let weights = if is_orthogonal(layers) {
        "Initializer::Orthogonal { gain: gain * (fan_out as f64 / fan_in as f64).max(1.0).sqrt() }"
    } else {
        "Initializer::Normal { mean: 0.0, std: gain / (fan_in as f64).sqrt() }"
    };
    let bias = if bias_std(layers) > 0.0 {
        format!(
            "Tensor::random([fan_out], Distribution::Normal(0.0, {:?}), device)",
            bias_std(layers)
        )
    } else {
        "Tensor::zeros([fan_out], device)".to_owned()
    };
    let distribution =
        if bias_std(layers) > 0.0 { "Device, Distribution, Tensor" } else { "Device, Tensor" };
    format!(
        "{}use burn::module::Param;
use burn::nn::{{Initializer, Linear, LinearConfig}};
use burn::tensor::{{{distribution}}};

/// burn 0.22; the initializer would draw the bias too, so it is set apart.
fn linear(fan_in: usize, fan_out: usize, gain: f64, device: &Device) -> Linear {{
    let weights = {weights};
    let mut layer = LinearConfig::new(fan_in, fan_out).with_initializer(weights).init(device);
    layer.bias = Some(Param::from_tensor({bias}));
    layer
}}
",
        spelled(layers)
    )
}

fn candle(layers: &[LayerAdvice]) -> String {
    let note = if is_orthogonal(layers) {
        "// candle has no orthogonal initializer; this draws independent weights of the same variance.\n"
    } else {
        ""
    };
    let bias = if bias_std(layers) > 0.0 {
        format!("Init::Randn {{ mean: 0.0, stdev: {:?} }}", bias_std(layers))
    } else {
        "Init::Const(0.0)".to_owned()
    };
    format!(
        "{}{note}use candle_core::Result;
use candle_nn::{{Init, Linear, VarBuilder}};

fn linear(fan_in: usize, fan_out: usize, gain: f64, vb: VarBuilder) -> Result<Linear> {{
    let weights = Init::Randn {{ mean: 0.0, stdev: gain / (fan_in as f64).sqrt() }};
    let weight = vb.get_with_hints((fan_out, fan_in), \"weight\", weights)?;
    let bias = vb.get_with_hints(fan_out, \"bias\", {bias})?;
    Ok(Linear::new(weight, Some(bias)))
}}
",
        spelled(layers)
    )
}
