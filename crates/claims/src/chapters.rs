//! The story between the claims.

use crate::claim::Chapter;

/// A chapter with its anchor, its title and what it says before its claims.
pub(crate) type Told = (Chapter, &'static str, &'static str, &'static [&'static str]);

/// In the order of the report.
pub(crate) const CHAPTERS: [Told; 14] = [
    (
        Chapter::Symmetry,
        "zero",
        "Why zero fails",
        &[
            "A layer's units differ by their weights alone. Units that start equal receive equal gradients from every batch, so they stay \
              equal: the layer is one unit, however wide. Zero is the extreme case, since a ReLU network of zeros passes neither signal nor \
              gradient; only the output bias learns, and the best it can learn is how often each class occurs.",
        ],
    ),
    (
        Chapter::Signal,
        "naive",
        "Why naive random scales fail with depth",
        &[
            "Random weights break the symmetry, but their scale multiplies the signal once per layer. With n inputs of second moment q the \
              pre-activations have second moment n Var[w] q: a factor of 0.5 or 2 per layer is 10⁻¹⁵ or 10¹⁵ after fifty. The figures show \
              theory's line, the band in which 95% of random networks of this width lie, and networks that were drawn.",
        ],
    ),
    (
        Chapter::Xavier,
        "xavier",
        "What Xavier fixes",
        &[
            "Glorot and Bengio (2010) asked for n_in Var[w] = 1 to keep the signal and n_out Var[w] = 1 to keep its gradient, and settled for \
              2/(n_in + n_out). Without an activation and with equal widths that keeps both. ReLU halves what is left, tanh loses a little in \
              every layer, and unequal widths pay on one side.",
        ],
    ),
    (
        Chapter::He,
        "he",
        "What He fixes",
        &[
            "He and colleagues (2015) put ReLU's half into the rule: Var[w] = 2/n_in keeps the second moment exactly in expectation, at any \
              width. It is the **mean over networks** that is kept: one network's signal wanders, by a factor whose logarithm has variance \
              5L/n, and the typical network shrinks a little.",
        ],
    ),
    (
        Chapter::Gains,
        "gains",
        "Every activation asks for its own gain",
        &[
            "The gain 1/√(E φ²) keeps a unit signal, the gain 1/√(E φ'²) its gradient, and only for activations that are linear on each side of \
              zero are the two the same. Framework tables name one number per activation; these claims say what that number keeps and what it \
              lets go.",
        ],
    ),
    (
        Chapter::MeanField,
        "chaos",
        "Order, chaos and the edge between them",
        &[
            "In wide networks the variance of the pre-activations and the correlation of two inputs follow two maps from layer to layer (Poole \
              et al. 2016). Where the weights are small all inputs end up alike and gradients vanish; where they are large nearby inputs part and \
              gradients explode; on the line between, χ₁ = 1, a signal reaches deepest.",
        ],
    ),
    (
        Chapter::FiniteWidth,
        "width",
        "One network is not the mean over networks",
        &[
            "What initialization rules keep is a mean over draws. One draw of a linear or ReLU network multiplies independent chi-square factors, \
              one a layer, so that its logarithm wanders with variance 2L/n or 5L/n. The law is exact, and so are the bands drawn from it; a fixed \
              tolerance is not.",
        ],
    ),
    (
        Chapter::Exact,
        "exact",
        "Exact without matrices",
        &[
            "A batch H sees a Gaussian layer W only through Z = W H, whose rows are independent and normal with covariance (σ²/n) HᵀH, and the way               back only through WᵀD. Given Z, the part of W that acts within the span of H is known; what acts outside of it is independent of               everything so far and normal. So WᵀD is H (HᵀH)⁺ ZᵀD plus fresh normal rows of covariance (σ²/n) DᵀD off that span. Nothing is               approximated and no weight is drawn: a layer of n units costs of order n B² for B inputs, where its matrix has n² entries. Orthogonal               weights are drawn likewise.",
        ],
    ),
    (
        Chapter::Structure,
        "beyond",
        "Beyond mean squares: singular values, skips, normalization",
        &[
            "A mean square kept is an average over directions. The singular values of the input-output Jacobian say what happens to each of them; \
              residual branches add to the signal instead of multiplying it; normalization fixes the signal and moves the explosion to the gradient.",
        ],
    ),
    (
        Chapter::Training,
        "training",
        "Does a better start train better?",
        &[
            "What holds at birth matters as far as training feels it. Here networks are trained: how deep a network still learns, how many steps \
              it takes to one and the same loss, and whether the test images notice where the weights began.",
        ],
    ),
    (
        Chapter::Mitigations,
        "mitigations",
        "What repairs a bad start",
        &[
            "Scaling by the layer's size, normalization, clipping, dropout, weight decay: each acts on the signal, on the gradient, or on neither. \
              The measurements say on which.",
        ],
    ),
    (
        Chapter::Frameworks,
        "frameworks",
        "What the frameworks' defaults are",
        &[
            "A layer that is made without a word about its weights starts by its framework's default, and the defaults differ in \
              variance and in shape. These claims read files that the frameworks wrote and hold each against the law that its documentation states.",
        ],
    ),
    (
        Chapter::Notebook,
        "notebook",
        "What the notebook shows, and what it does not",
        &[
            "The seed document ends in a notebook that trains one hidden layer of 128 units from four initializations. With one hidden layer, \
              scales that differ by a factor of four are all good enough: the experiment tells zero from the rest and nothing more. Its large \
              test losses are those of test pixels that were never divided by 255.",
        ],
    ),
    (
        Chapter::Choosing,
        "choosing",
        "How to choose",
        &[
            "Which start to take depends on the activation, on depth, on normalization and on the scale of the data, and much less on the task. \
              These claims measure what each of them changes.",
        ],
    ),
];
