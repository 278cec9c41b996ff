"""Domain-adversarial training: features that serve the task, and that no classifier can tell the domains apart by.

Two players share the features. The domain head learns to tell source from target; the feature extractor learns to
make that impossible. Both descend one loss with one optimiser, because `grad_reverse` between them turns the
gradient round: that is where the minus sign is. Without it both pull the same way, and the features become *more*
separable by domain.

The coefficient λ stands in one place, `grad_reverse(features, λ)`. The domain loss itself has weight 1, so that the
domain head learns at full speed however small λ is. What training cannot tell you, whether the domains overlap, is
asked of a fresh probe (`proxy_a_distance`); and which run to keep, of scores that need no target label.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from xlib import _sizes, _validate
from xlib.progress import tqdm

SOURCE, TARGET = 0, 1  # the classes of a domain head


class _Reverse(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x, coeff):
        return x.clone()  # and not a view of x, which an in-place ReLU behind it could not change

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.coeff = inputs[1]

    @staticmethod
    def backward(ctx, gradient):
        return -ctx.coeff * gradient, None


class _ForwardToo(_Reverse):
    """With forward mode; apart, because `torch.compile` does not take a function that has it."""

    @staticmethod
    def jvp(ctx, tangent, _):
        return -ctx.coeff * tangent


def grad_reverse(x: Tensor, coeff: float = 1.0) -> Tensor:
    """x on the way forward; on the way back, the gradient times -coeff: R(x) = x, dR/dx = -coeff * identity.

    What comes after it descends the loss as usual; what comes before it climbs. A loss with a minus sign is not the
    same: it would make the domain head climb as well, and be trained to be wrong.

    Args: x, floating, of any shape; coeff, 0 (no gradient passes) or above, λ of the paper, anew in each step.
    Returns: a copy of x. A second derivative through it passes it twice, and is taken times coeff².
    Raises: TypeError or ValueError that names the argument.
    Relations: twice in a row with coeff 1, the identity; with coeff 0, like `detach` but for a gradient of zeros.
    Source: Ganin et al. 2016 (JMLR 17, arXiv 1505.07818), eqs. 16 and 17.

    Example:
        >>> x = torch.tensor(3.0, requires_grad=True)
        >>> torch.autograd.grad(grad_reverse(x, 0.5) ** 2, x)  # 2 x, times -0.5
        (tensor(-3.00),)
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"x must be a torch.Tensor, got {type(x).__name__}")
    if not x.is_floating_point():
        raise TypeError(f"x must hold floating-point numbers, as gradients do, got {x.dtype}")
    coeff = _validate.number("coeff", coeff)
    if _validate.reads_values(coeff) and not 0 <= coeff <= torch.finfo(x.dtype).max:
        raise ValueError(
            f"coeff must be 0 or above (the minus sign is grad_reverse's), and fit into x's {x.dtype}, got {coeff}"
        )
    return (_Reverse if torch.compiler.is_compiling() else _ForwardToo).apply(x, coeff)


def dann_coeff(progress: float, gamma: float = 10.0) -> float:
    """The schedule of λ: 0 at the start, while the domain head knows nothing, and soon nearly 1.

        λ(p) = 2 / (1 + exp(-γ p)) - 1,    p = steps done / all steps

    progress: 0 to 1. gamma: above 0. Raises TypeError or ValueError naming the argument.
    Relations: tanh(γ p / 2). Source: Ganin et al. 2016 (JMLR 17), section 5.2.2.

    Example:
        >>> steps = 10
        >>> [dann_coeff(step / steps) for step in (0, 1, 5, 10)]
        [0.0000, 0.4621, 0.9866, 0.9999]
    """
    progress = _validate.number("progress", progress)
    if not 0 <= progress <= 1:
        raise ValueError(f"progress must be from 0 to 1 (steps done / all steps), got {progress}")
    return math.tanh(_validate.positive("gamma", gamma) * progress / 2)  # the same, and exp cannot overflow


class FeatureExtractor(nn.Module):
    """Images (N, 3, 28, 28) float to features (N, 800): 50 maps of 4 × 4, one row an image.

    Source and target go through it in one batch, normalised by the same constants.

    Example:
        >>> extractor = FeatureExtractor()
        >>> extractor(torch.zeros(2, 3, 28, 28)).shape, sum(weight.numel() for weight in extractor.parameters())
        (torch.Size([2, 800]), 84914)
    """

    def __init__(self):
        super().__init__()
        first = [nn.Conv2d(3, 64, 5), nn.ReLU(), nn.MaxPool2d(2)]  # (N, 64, 12, 12)
        second = [nn.Conv2d(64, 50, 5), nn.ReLU(), nn.MaxPool2d(2)]  # (N, 50, 4, 4)
        self.conv = nn.Sequential(*first, *second, nn.Flatten())

    def forward(self, images: Tensor) -> Tensor:
        if images.ndim != 4 or images.shape[1:] != (3, 28, 28):
            raise ValueError(f"images must have shape (N, 3, 28, 28), got {tuple(images.shape)}")
        return self.conv(images)  # (N, 800)


class _Head(nn.Module):
    def __init__(self, classes: int):
        super().__init__()
        self.fc = nn.Sequential(nn.Linear(50 * 4 * 4, 100), nn.ReLU(), nn.Linear(100, classes))

    def forward(self, features: Tensor) -> Tensor:
        if features.ndim != 2 or features.shape[1] != 50 * 4 * 4:
            raise ValueError(f"features must have shape (N, 800), got {tuple(features.shape)}")
        return self.fc(features)  # (N, 100) to (N, classes)


class LabelPredictor(_Head):
    """Features (N, 800) to the logits of ten classes, (N, 10): no softmax, cross-entropy has one.

    Example:
        >>> logits = LabelPredictor()(FeatureExtractor()(torch.zeros(2, 3, 28, 28)))
        >>> logits.shape, logits.softmax(dim=1).sum(dim=1).tolist()
        (torch.Size([2, 10]), [1.00, 1.00])
    """

    def __init__(self):
        super().__init__(10)


class DomainClassifier(_Head):
    """Features (N, 800) to the logits of two domains, (N, 2): 0 is the source, 1 the target; no softmax either.

    It reverses nothing by itself: feed it with `grad_reverse(features, coeff)`.

    Example:
        >>> features, head = torch.ones(4, 800, requires_grad=True), DomainClassifier()
        >>> domain_loss(*head(grad_reverse(features, 0.0)).split(3)).backward()  # three source rows, one target row
        >>> features.grad.abs().sum().item(), head.fc[2].bias.grad.norm().item() > 0  # λ = 0: the head learns alone
        (0.0, True)
    """

    def __init__(self):
        super().__init__(2)


def domain_loss(source_logits: Tensor, target_logits: Tensor) -> Tensor:
    """The domain head's cross-entropy, in nats: half the mean over the source, half the mean over the target.

        L = -1/2 mean_i log softmax(source_logits[i])[0] - 1/2 mean_j log softmax(target_logits[j])[1]

    Each domain counts one half: a mean over all rows would reward a head for calling all by the bigger one's name.
    A blind guess costs log 2. But a loss of log 2 says only that *this* head cannot tell the domains apart: it may be
    too weak, or just lost. Ask `proxy_a_distance`.

    Args: source_logits (N, 2) and target_logits (M, 2), floating, same dtype and device; before any softmax.
    Returns: a scalar in float32, or float64 like the logits. Raises TypeError or ValueError naming the argument.
    Relations: `F.cross_entropy` over all rows where N = M, and otherwise with weight=1/N, 1/M of the classes.

    Example:
        >>> blind, target = torch.zeros(1, 2), torch.tensor([[0.0, 5.0]])  # no opinion; "it is the target"
        >>> [domain_loss(*both).item() for both in ((blind, blind), (target, target), (target, target.expand(9, 2)))]
        [0.693, 2.507, 2.507]
    """
    _validate.embeddings("source_logits", source_logits)
    _validate.embeddings("target_logits", target_logits, like=source_logits, like_name="source_logits", same="width")
    if source_logits.shape[1] != 2:
        raise ValueError(f"source_logits must have 2 columns, one a domain, got shape {tuple(source_logits.shape)}")
    source, target = _log_softmax(source_logits), _log_softmax(target_logits)
    loss = -(source[:, SOURCE].mean() + target[:, TARGET].mean()) / 2
    return _sizes.held(loss, source_logits=source_logits, target_logits=target_logits)


def multilinear_map(features: Tensor, logits: Tensor) -> Tensor:
    """What CDAN shows its domain head in place of the features: each feature times the probability of each class.

        h[i] = f[i] ⊗ softmax(logits[i]),    (d C,) numbers a row

    So the head compares the domains class by class, where the predictions are sure of the class; where they are
    blind, it sees the features alone, C times over. No gradient reaches the logits through it: or else the label head
    could fool the domain head by being unsure.

    Args: features (N, d) and logits (N, C), floating, same dtype and device. Returns: (N, d C), in their dtype.
    Raises: TypeError or ValueError that names the argument.
    Relations: the sum over the classes gives the features back; `einsum("nd,nc->ndc")`, flattened.
    Source: Long et al. 2018 (NeurIPS, arXiv 1705.10667), eq. 4, without its weights by entropy.

    Example:
        >>> features, logits = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 0.0]])  # two classes, a blind guess
        >>> multilinear_map(features, logits)
        tensor([[0.50, 0.50, 1.00, 1.00]])
    """
    _validate.embeddings("features", features)
    _validate.embeddings("logits", logits, like=features, like_name="features", same="rows")
    p = _log_softmax(logits.detach()).exp().to(features.dtype)
    return (features[:, :, None] * p[:, None, :]).flatten(1)


def class_confusion(logits: Tensor, *, temperature: float = 2.5) -> Tensor:
    """How much the predictions for target images waver between classes: 0 (never) to nearly 1. To be minimised.

        C = Yᵀ diag(w) Y,    Y = softmax(logits / temperature),    w[i] ∝ 1 + exp(-H(Y[i])), of mean 1
        the mean over classes j of the share of row j of C that lies off the diagonal

    It aligns no domains. A class's row counts the same however often the class is predicted, so that giving
    everything one name does not pay as it does with `entropy`. Sure rows weigh up to twice as much; weights get no
    gradient.

    Args: logits (N, C), floating, of unlabelled target images, N several times C; temperature above 0.
    Returns: a scalar with a gradient; in float32 at least. Raises: TypeError or ValueError that names the argument.
    Relations: blind guesses cost 1 - 1/C, sure ones that use every class 0.
    Source: Jin et al. 2020 (ECCV, arXiv 1912.03699), eqs. 3 to 7; temperature 2.5 is theirs.

    Example:
        >>> blind, sure = torch.zeros(4, 4), 99 * torch.eye(4)
        >>> class_confusion(blind).item(), class_confusion(sure).item()
        (0.75, 0.00)
    """
    _validate.embeddings("logits", logits)
    temperature = _validate.positive("temperature", temperature)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))  # first: in 16 bits a quotient may overflow
    log_p = (logits / temperature).log_softmax(dim=1)
    p = log_p.exp()
    weight = 1 + torch.exp(-_entropy(log_p.detach()))  # (N,)
    confusion = p.T @ (p * (weight / weight.mean())[:, None])  # (C, C)
    own = confusion.diagonal() / confusion.sum(dim=1).clamp(min=torch.finfo(p.dtype).tiny)
    return _sizes.held(1 - own.mean(), logits=logits, temperature=temperature)


def proxy_a_distance(x: Tensor, y: Tensor, *, seed: int = 0) -> float:
    """How well a fresh linear probe tells the rows of x from the rows of y: 0 (not at all) to 2 (without a mistake).

        d_A = 2 (1 - 2 ε),  kept within [0, 2];    ε = (error on held-out x + error on held-out y) / 2

    ε comes from five folds: a probe is trained on four, asked about the fifth, and thrown away. It is a logistic
    regression on standardised features; standardisation and strength of the penalty are chosen inside the four (three
    folds again). Each domain counts one half, in training and in ε. The probe sees no difference that is not linear:
    0 does not prove that the distributions are equal.

    Args:
        x, y: (N, d) and (M, d), floating, same dtype and device, at least 10 rows each; features of *different*
            items that the trained networks have not seen. Some hundred rows of some hundred dimensions take seconds.
        seed: of the shuffle before the folds; the same seed gives the same number.
    Raises: TypeError or ValueError that names the argument.
    Relations: above 0, the probe's cross-validated `sklearn.metrics.balanced_accuracy_score` is 1/2 + d_A / 4.
    Source: Ben-David et al. 2007 (NIPS 19); Ganin et al. 2016 (JMLR 17), section 5.1.5.

    Example:
        >>> x = torch.arange(20.0)[:, None]
        >>> proxy_a_distance(x, x + 100), proxy_a_distance(x, x)
        (2.0, 0.0)
    """
    _validate.embeddings("x", x, wait=True)
    _validate.embeddings("y", y, like=x, like_name="x", same="width", wait=True)
    for name, part in (("x", x), ("y", y)):
        if len(part) < 10:
            raise ValueError(f"{name} must have at least 10 rows, for five folds, got {len(part)}")
    _validate.whole("seed", seed, least=0, most=2**32 - 1)
    rows = torch.cat([x, y]).detach().cpu().double().numpy()
    rows = rows / 2.0 ** np.frexp(np.abs(rows).max(axis=0))[1].clip(-1000, 1000)  # or else variances overflow
    domain = np.repeat([SOURCE, TARGET], [len(x), len(y)])
    probe = GridSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000)),
        {"logisticregression__C": [1e-4, 1e-3, 1e-2, 1e-1, 1.0]},
        scoring="balanced_accuracy",
        cv=StratifiedKFold(3, shuffle=True, random_state=seed),
    )
    guess = np.empty_like(domain)
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    for train, test in tqdm(folds.split(rows, domain), total=5, desc="domain probe", leave=False):
        guess[test] = probe.fit(rows[train], domain[train]).predict(rows[test])
    error = 1 - recall_score(domain, guess, average="macro")
    return min(max(2 * (1 - 2 * float(error)), 0.0), 2.0)


def entropy(logits: Tensor) -> Tensor:
    """How unsure the predictions are: the mean over the rows of H(p), in nats. 0 is certain, log C is a blind guess.

    A score for choosing a model by its predictions on the target, without labels: lower is better. A model that
    calls everything by one name, with confidence, gets the best score: read it beside `information_maximisation`.

    Args: logits (N, C), floating. Returns: a scalar with a gradient; in float32 at least.
    Relations: `F.cross_entropy(logits, logits.softmax(dim=1))`.
    Source: as a training term, Grandvalet & Bengio 2004 (NIPS 17).

    Example:
        >>> blind, sure = torch.zeros(2, 4), torch.tensor([[99.0, 0.0, 0.0, 0.0]])
        >>> entropy(blind).item(), entropy(sure).item()
        (1.386, 0.000)
    """
    _validate.embeddings("logits", logits)
    return _entropy(_log_softmax(logits)).mean()


def information_maximisation(logits: Tensor) -> Tensor:
    """How much the predictions say about the input: H(mean of p) - mean of H(p), in nats, from 0 to log C.

    It is high when each prediction is sure and all classes get their share. As a score for choosing a model without
    target labels: higher is better. As a training term, on unlabelled target images: subtract weight times it.
    It takes the classes to be about equally frequent in the batch; where they are not, it pushes the wrong way.

    Args: logits (N, C), floating; the mean is over these N rows, so N should be several times C, or at least near it.
    Returns: a scalar with a gradient; in float32 at least.
    Relations: entropy(logits.softmax(1).mean(0, keepdim=True).log()) - entropy(logits).
    Source: Shi & Sha 2012 (arXiv 1206.6438); for deep networks, Liang et al. 2020 (arXiv 2002.08546).

    Example:
        >>> sure, collapsed = 99 * torch.eye(4), 99 * torch.eye(4)[[0, 0, 0, 0]]  # `entropy` is 0 for both
        >>> information_maximisation(sure).item(), information_maximisation(collapsed).item()
        (1.386, 0.000)
    """
    _validate.embeddings("logits", logits)
    log_p = _log_softmax(logits)
    log_mean = log_p.logsumexp(dim=0) - math.log(len(log_p))  # the mean as a logarithm: one of 0 has no gradient
    return _entropy(log_mean) - _entropy(log_p).mean()


def soft_neighbourhood_density(logits: Tensor, *, temperature: float = 0.05) -> Tensor:
    """How many neighbours with like predictions each row has: mean entropy, in nats, of a softmax over the others.

        S[i, j] = cos(p[i], p[j]) / temperature  for j ≠ i,    p = softmax(logits);    mean over i of H(softmax(S[i]))

    High, up to log(N - 1), where targets lie in dense clusters; low, where single ones stand apart. A score for
    choosing a model without target labels: higher is better. Everything in one cluster is the highest of all, so a
    collapsed model wins: read it beside `information_maximisation`.

    Args: logits (N, C), floating, N at least 2; temperature above 0. Time O(N² C), memory O(N²).
    Returns: a scalar; in float32 at least.
    Relations: `entropy` of `space.cosine_similarity_matrix(p, p) / temperature` without its diagonal.
    Source: Saito et al. 2021 (arXiv 2108.10860); temperature .05 is theirs.

    Example:
        >>> sure = 99 * torch.eye(3)  # three classes, and so many rows in each: all but one are neighbours
        >>> [soft_neighbourhood_density(sure.repeat(rows, 1)).item() for rows in (2, 5)]
        [0.000, 1.386]
    """
    _validate.embeddings("logits", logits)
    if len(logits) < 2:
        raise ValueError(f"logits must have at least 2 rows, got {len(logits)}")
    temperature = _validate.positive("temperature", temperature)
    p = F.normalize(_log_softmax(logits).exp(), dim=1)
    n = len(p)
    # off the diagonal: leave the first entry out, and then each (n + 1)-th one (a mask would make a GPU wait)
    others = (p @ p.T).flatten()[1:].view(n - 1, n + 1)[:, :-1].reshape(n, n - 1) / temperature  # (N, N - 1)
    return _sizes.held(_entropy(others.log_softmax(dim=1)).mean(), logits=logits, temperature=temperature)


def _log_softmax(logits: Tensor) -> Tensor:
    """Along the rows, in float32 at least."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(dim=-1)


def _entropy(log_p: Tensor) -> Tensor:
    """Of the distributions along the last axis, given as logarithms."""
    log_p = log_p.clamp(min=torch.finfo(log_p.dtype).min)  # 0 * -inf is NaN; logits 1e38 apart give that
    return -(log_p.exp() * log_p).sum(dim=-1)
