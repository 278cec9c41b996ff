"""What the explorer shows and what is chosen in it. Pure Python: tests drive it without a browser."""

import math
import re
import unicodedata
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
import traitlets as T

from xlib import _validate
from xlib.explore import clips, inputs, looks, projections
from xlib.explore.projections import Layout
from xlib.progress import tqdm

MATRIX = 64  # rows and columns of the matrix of cosines, at most
HUBS = 20  # of them listed, at most
BLOCK = 4_000_000  # cosines at once: 16 MB
ANSWERED = ("step", "selected", "among", "listing", "projection", "axis", "typed", "revision")  # of the answers


class ExplorerModel(T.HasTraits):
    """Snapshots of an embedding, pictures of it, and the answers to what is chosen in it.

    What can be set: `step` (a snapshot's index; clipped), `hover` (a row, or −1), `selected` (a list of rows),
    `query` (text searched in the captions), `among` (where neighbours are looked for: "all", "other" for the other
    modality only, or "" for what is usual: all, and for a typed caption what has a picture, which sounds have too),
    `listing` (what is listed beside the map: "pairs", those with the lowest cosine, "hubs", or "" for neither),
    `projection` ("pca", "umap", "axis", or "given" where there are coordinates), `axis` (two texts that span the
    projection "axis"; setting it shows it),
    `compare` ("", or one of `comparisons`: two maps side by side) and `typed` (a caption of your own).

    What follows: `matches` of the query, exact ones first, then those where a word begins with it, then the rest;
    for one selected row or the typed text `neighbours` ((row, cosine) pairs, nearest first), `note`, and `warning`
    where the picture misleads; `ranks` ([there, back]: where its counterpart stands among the rivals seen from it,
    and it among its own rivals seen from the counterpart; 1 is nearest, 0 means no pair); `asked` (what these answers
    are of: [row or −1, typed, among, listing]); `alt_text`. `computing` says what is being worked on while it takes
    long. `sounds` are N MP3 files, b"" for an item without one; `spoken` is that of the typed text.

    With `listing` "hubs" `hubs` holds [row, count] pairs, the highest count first: the items that are among the k
    nearest of more than twice as many others as on average, see `occurrences`. For one selected row `neighbours` then
    are those whose neighbour it is.

    `append` adds snapshots while something is being trained, and `finish` makes the usual maps of all of them.
    Arguments as for `explore`.

    Example:
        >>> z = np.array([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.1], [0.1, 1.0]], [[1.0, 0.2], [0.9, 0.2]]])
        >>> model = ExplorerModel(z, captions=["a picture", "its caption"], steps=[0, 50, 100])
        >>> model.selected = [0]
        >>> [(setattr(model, "step", step), model.neighbours)[1] for step in (0, 2)]  # the other row and its cosine
        [[(1, 0.00)], [(1, 1.00)]]
    """

    step = T.Int(0)
    hover = T.Int(-1)
    selected = T.List(T.Int())
    query = T.Unicode("")
    among = T.Enum(("", "all", "other"), "")
    listing = T.Enum(("", "pairs", "hubs"), "")
    projection = T.Unicode("pca")
    axis = T.List(T.Unicode())
    compare = T.Unicode("")
    typed = T.Unicode("")
    matches = T.List(T.Int())
    neighbours = T.List()
    ranks = T.List(T.Int(), [0, 0])
    hubs = T.List()
    asked = T.List()
    note = T.Unicode("")
    warning = T.Unicode("")
    alt_text = T.Unicode("")
    computing = T.Unicode("")  # such as "computing UMAP…", or ""
    live = T.Bool(False)  # from the first `append` until `finish`
    revision = T.Int(0)  # goes up whenever there are other snapshots, or other maps of the same ones

    def __init__(
        self,
        embeddings,
        *,
        captions=None,
        images=None,
        sounds=None,
        labels=None,
        values=None,
        domains=None,
        modality=None,
        pairs=None,
        steps=None,
        coordinates=None,
        projection="pca",
        encode=None,
        suggestions=(),
        speak=None,
        hear=None,
        title="",
        k=None,
    ):
        _validate.choice("projection", projection, ("pca", "umap"))
        z = inputs.snapshots(embeddings)
        n = z.shape[1]
        k = min(8, n - 1) if k is None else k
        _validate.whole("k", k, least=1, most=n - 1)
        if encode is not None and not callable(encode):
            raise TypeError(f"encode must be a function of a list of texts, got {type(encode).__name__}")
        self.suggestions = inputs.suggestions(suggestions, encode)
        for name, given, needed in (("speak", speak, encode), ("hear", hear, speak)):
            if given is not None and not callable(given):
                raise TypeError(f"{name} must be a function, got {type(given).__name__}")
            if given is not None and needed is None:
                raise ValueError(f"{name} needs {'encode' if name == 'speak' else 'speak'} as well, got None")
        self.captions = inputs.captions(captions, n)
        self.labels = inputs.labels(labels, n)
        self.values = inputs.values(values, n)
        self.domains = inputs.domains(domains, n)
        self.pairs = inputs.pairs(pairs, n)
        self.steps = inputs.steps(steps, len(z))
        places = None if coordinates is None else inputs.coordinates(coordinates, n, len(z))
        heard = inputs.sounds(sounds, n)
        self.sprites, self.thumbnails = inputs.thumbnails(images, n)
        self.modality = inputs.modality(modality, n, self.sprites, heard)
        self.sprites, self.thumbnails = clips.with_spectrograms(self.sprites, self.thumbnails, heard)
        # (N,) MP3 files, b"" for none
        self.sounds = [b"" if clip is None else clips.mp3(clip)
                       for clip in tqdm(heard, desc="sounds", leave=False, delay=1)]  # fmt: skip

        super().__init__()
        self.embeddings, self.encode, self.k = z, encode, int(k)
        self.speak, self.hear = speak, hear
        self.title = "" if title is None else str(title).encode("utf-8", "replace").decode("utf-8")
        self.classes = sorted(set(self.labels) - {None}, key=lambda c: (isinstance(c, str), c))
        places_of = {c: i for i, c in enumerate(self.classes)}
        self.class_of = np.array([places_of.get(c, -1) for c in self.labels])  # (N,) index of the class, −1 for none
        self.modalities, self._kind = inputs.codes(self.modality)
        self.groups, self.group, shared = looks.shapes(self.domains, self.modality)  # what is told apart by shape
        if self.values is None:
            self.colours = looks.of_classes(self.classes, self.class_of)
        else:
            self.colours = looks.of_values(self.values)
        self.remarks = [remark for remark in (shared, self.colours.remark) if remark]
        self.unit = [projections.unit(x) for x in z]  # of each snapshot: (N, d)
        self.pair_similarity = np.stack([self._pair_similarity(unit) for unit in self.unit])  # (T, N)
        self._folded = [fold(caption) for caption in self.captions]
        self.typed_vector, self.spoken, self.heard_vector = None, b"", None  # of the text typed, and of its sound
        self.layouts: dict[str, Layout] = {}  # by name, as far as they have been asked for
        if places is not None:
            self.layouts["given"] = projections.given(z, places)
            self.layout("pca")  # quick, and so the two can be told apart in a page without a kernel
            projection = "given" if projection == "pca" else projection
        self.layout(projection)
        self._answered, self._lists = None, (None, None)
        self.projection = projection
        self._follow(None)

    # ---- pictures

    @property
    def frames(self):
        """(T, N, 2): where the items lie in the projection shown, at every snapshot."""
        return self.layouts[self.projection].frames

    @property
    def axes(self):
        """The names of the two axes of the projection shown."""
        return self.layouts[self.projection].axes

    def layout(self, name) -> Layout:
        """The projection of this name, computed when it is first asked for."""
        if name not in self.layouts:
            with self.saying(f"computing {name.upper()}…"):
                self.layouts[name] = getattr(projections, name)(self.embeddings)
        return self.layouts[name]

    @contextmanager
    def saying(self, what):
        """Set `computing` for as long as something is being worked on."""
        before, self.computing = self.computing, what or self.computing
        try:
            yield
        finally:
            self.computing = before

    def long_work(self, chosen):
        """What has to be computed, in words, before these choices (name: value) can be shown; "" if next to
        nothing."""
        umap = chosen.get("projection") == "umap" or chosen.get("compare") == "projection"
        if umap and "umap" not in self.layouts:
            return "computing UMAP…"
        return "computing the axis…" if chosen.get("axis") else ""

    def step_name(self, t):
        """A snapshot in words: "step 1,200", or the name that it was given."""
        step = self.steps[t]
        return step if isinstance(step, str) else f"step {step:,}"

    @property
    def comparisons(self):
        """What `compare` can be, "" for a single map: name → what the two maps show."""
        options = {"steps": [self.step_name(0), self.step_name(-1)]} if len(self.steps) > 1 else {}
        for name, values in (("modality", self.modality), ("domains", self.domains)):
            found = list(dict.fromkeys(v for v in values if v is not None))
            if len(found) > 1:
                few = len(found) <= 4
                options[name] = [found[0], " and ".join(found[1:]) if few else f"the other {len(found) - 1:,}"]
        return options | {"projection": ["PCA", "UMAP"]}

    # ---- more snapshots

    def append(self, step, embeddings, *, drawn=True):
        """Show one more snapshot while its model is being trained: (N, d) of the same items, at a training step.

        The map becomes the PCA of each snapshot by itself, turned onto the one before; what is chosen stays chosen,
        but for a typed caption, whose encoder has changed. From this step on nothing is kept: a training that starts
        anew starts the snapshots anew. drawn=False is for one that nobody has the time to look at: it costs next to
        nothing, and has a map only after `finish`.
        Raises ValueError for another shape, and TypeError for a step that is no whole number.

        Example:
            >>> model = ExplorerModel(np.eye(3), captions=["cat", "kitten", "car"])  # before training: step 0
            >>> model.append(10, np.array([[1.0, 0.0, 0.0], [0.9, 0.1, 0.0], [0.0, 0.0, 1.0]]))
            >>> model.steps, model.step, model.live
            ([0, 10], 1, True)
        """
        if not isinstance(step, int) or any(isinstance(known, str) for known in self.steps):
            raise TypeError(f"step must be a whole number, as all steps before it, got {step!r} after {self.steps}")
        z = inputs.snapshots(embeddings)
        if z.shape != (1, *self.embeddings.shape[1:]):
            shape = self.embeddings.shape[1:]
            got = z.shape if len(z) > 1 else z.shape[1:]
            raise ValueError(f"embeddings must have shape {shape}, as those before, got {got}")
        kept = sum(known < step for known in self.steps)
        frames = self.layouts["pca"].frames[:kept] if self.live else projections.each(self.embeddings[:kept])
        if drawn or not len(frames):
            layout = projections.follow(frames, z[0])
        else:
            layout = replace(self.layouts["pca"], frames=np.concatenate([frames, frames[-1:]]))
        unit = projections.unit(z[0])
        similarity = self._pair_similarity(unit)[None]
        with self.hold_trait_notifications():  # who listens hears of it when all of it is here
            self.steps = [*self.steps[:kept], step]
            self.embeddings = np.concatenate([self.embeddings[:kept], z])
            self.unit = [*self.unit[:kept], unit]
            self.pair_similarity = np.concatenate([self.pair_similarity[:kept], similarity])
            self.layouts = {"pca": layout}
            self.live, self.typed, self.axis, self.compare, self.projection = True, "", [], "", "pca"
            self.listing = ""  # it would take too long at each step
            self.step = kept
            self.revision += 1

    def finish(self):
        """After the last `append`: one PCA for all snapshots, as `explore` makes it. Nothing to do without one."""
        if self.live:
            layout = projections.pca(self.embeddings)
            with self.hold_trait_notifications():
                self.layouts, self.live = {"pca": layout}, False
                self.revision += 1

    def _pair_similarity(self, unit):
        """(N,) cosines of items with their counterparts, NaN for those without one."""
        cosines = np.einsum("nd,nd->n", unit, unit[self.pairs])
        return np.where(self.pairs < 0, np.nan, cosines)

    # ---- choices

    @T.validate("step")
    def _clip(self, proposal):
        return min(max(proposal["value"], 0), len(self.steps) - 1)

    @T.validate("hover")
    def _one_row(self, proposal):
        return self._row("hover", proposal["value"], " or −1", -1)

    @T.validate("selected")
    def _rows(self, proposal):
        return list(dict.fromkeys(self._row("selected", i, "", 0) for i in proposal["value"]))

    def _row(self, name, i, otherwise, least):
        if not least <= i < len(self.captions):
            raise T.TraitError(f"{name} must hold rows, 0 to {len(self.captions) - 1}{otherwise}, got {i}")
        return i

    @T.validate("projection")
    def _projection(self, proposal):
        name, names = proposal["value"], ["pca", "umap", "axis", *(["given"] if "given" in self.layouts else [])]
        if name not in names:
            raise T.TraitError(f"projection must be one of {', '.join(map(repr, names))}, got {name!r}")
        if name == "axis" and name not in self.layouts:
            raise T.TraitError("projection 'axis' needs two texts first: set axis = [one, other]")
        self.layout(name)
        return name

    @T.validate("axis")
    def _axis(self, proposal):
        texts = [text.strip() for text in proposal["value"]]
        if texts and (len(texts) != 2 or not all(texts)):
            raise T.TraitError(f"axis must hold two texts, got {proposal['value']!r}")
        if texts:
            with self.saying("computing the axis…"):
                ends = [self._direction(text) for text in texts]
                layout = projections.between(self.embeddings, *ends, texts)
            if np.ptp(layout.frames[-1, :, 0]) < 1e-6:
                raise T.TraitError(f"axis must hold two texts that differ in the embedding, got {texts!r}")
            self.layouts["axis"] = layout
        return texts

    @T.validate("compare")
    def _compare(self, proposal):
        if proposal["value"] and proposal["value"] not in self.comparisons:
            options = ", ".join(map(repr, self.comparisons))
            raise T.TraitError(f"compare must be '' or one of {options}, got {proposal['value']!r}")
        if proposal["value"] == "projection":
            self.layout("umap"), self.layout("pca")
        return proposal["value"]

    @T.validate("typed")
    def _typed(self, proposal):
        text = proposal["value"].strip()
        if text and self.encode is None:
            raise T.TraitError("typed needs an encoder: explore(..., encode=...)")
        vector = self._encoded(text) if text else None
        self.spoken, self.heard_vector = self._said(text) if text and self.speak else (b"", None)
        self.typed_vector = vector
        return text

    def _encoded(self, text):
        """The vector (d,) of a text that is no item."""
        if self.encode is None:
            raise T.TraitError(f"{text!r} is the caption of no item, and explore() was given no encode")
        return self._vector("encode", text, text, "text")

    def _said(self, text):
        """A text as it is spoken, an MP3 file, and the vector (d,) of that sound, or None where nothing hears it."""
        try:
            clip = self.speak(text)
        except Exception as error:
            raise T.TraitError(f"speak failed for {text!r}: {error}") from error
        if clip is None:
            return b"", None
        try:
            spoken = clips.mp3(clips.checked("what speak returns", clip, clips.SPOKEN))
        except (TypeError, ValueError) as error:
            raise T.TraitError(f"{error}, for {text!r}") from error
        return spoken, None if self.hear is None else self._vector("hear", clip, text, "clip")

    def _vector(self, name, given, text, what):
        """The vector (d,) that a function of this name makes of a text, or of the sound of one."""
        d = self.embeddings.shape[2]
        try:
            found = torch.as_tensor(getattr(self, name)([given])).detach().float().cpu().numpy()
        except Exception as error:
            raise T.TraitError(f"{name} failed for {text!r}: {error}") from error
        if found.shape != (1, d):
            raise T.TraitError(f"{name} must return a tensor of shape (1, {d}) for one {what}, got {found.shape}")
        if not np.isfinite(found).all():
            raise T.TraitError(f"{name} must return finite numbers, got NaN or infinity for {text!r}")
        return found[0]

    def _direction(self, text):
        """The vector of a text: the mean of the items with this caption, those without a picture if there are any, at
        the last snapshot; or else what `encode` makes of it."""
        rows = np.array([i for i, caption in enumerate(self._folded) if caption == fold(text)], int)
        if not len(rows):
            return self._encoded(text)
        words = rows[self.sprites[rows] < 0]
        return self.unit[-1][words if len(words) else rows].mean(0)

    # ---- answers

    @T.observe("query")
    def _search(self, change):
        needle = fold(self.query.strip())
        word = re.compile(rf"(?<!\w){re.escape(needle)}")  # as in data.js

        def rank(i):
            text = self._folded[i]
            return 0 if text == needle else 1 if word.search(text) else 2

        found = [i for i, text in enumerate(self._folded) if needle in text] if needle else []
        self.matches = sorted(found, key=rank)

    @T.observe("axis")
    def _show_axis(self, change):
        if self.axis:
            self.projection = "axis"

    @T.observe("typed")
    def _show_typed(self, change):
        if self.typed:
            self.selected, self.step = [], len(self.steps) - 1  # the encoder is the trained one

    @T.observe("selected")
    def _drop_typed(self, change):
        if self.selected:
            self.typed = ""

    @T.observe(*ANSWERED)
    def _follow(self, change):
        chosen = [getattr(self, name) for name in ANSWERED]
        if chosen == self._answered:  # it is called for each of several that have changed at once
            return
        self._answered = chosen
        with self.hold_trait_notifications():  # who listens hears of a complete answer
            one = self.selected[0] if len(self.selected) == 1 and not self.typed else -1
            self.asked = [one, self.typed, self.among, self.listing]
            self.hubs = self._hubs() if self.listing == "hubs" and not self.live else []
            self.neighbours, self.ranks, self.note, self.warning = self._nearest()
            self.alt_text = self.describe(self.step, self.projection) + self._describe_choice()

    def _nearest(self):
        layout = self.layouts[self.projection]
        if self.typed:
            x = projections.unit(self.typed_vector)
            pictures = self.sprites >= 0
            others = pictures if self.among == "other" or (not self.among and pictures.any()) else self.sprites >= -1
            step = len(self.steps) - 1
            found = self.retrieve(x[None], others[None], step)
            both = self.agreeing(found[0], others[None], step, layout, layout.place(self.typed_vector)[None])
            ranks = [0, 0]
        elif len(self.selected) == 1:
            i, step = self.selected[0], self.step
            if self.listing == "hubs" and not self.live:
                return self._whose(i, step), self.pair_ranks([i], step)[0].tolist(), "", ""
            others = self.others([i], self.among)
            found = self.retrieve(self.unit[step][[i]], others, step)
            both = self.agreeing(found[0], others, step, layout, self.frames[step, [i]])
            ranks = self.pair_ranks([i], step)[0].tolist()
        else:
            return [], [0, 0], "", ""
        pairs = [(j, round(cosine, 4)) for j, cosine in zip(*(a[0].tolist() for a in found), strict=True) if j >= 0]
        note, warning = self._agreement(int(both[0]), len(pairs), step)
        if self.typed and self.heard_vector is not None:
            cosine = float(projections.unit(self.heard_vector) @ projections.unit(self.typed_vector))
            note += f" Spoken, it lands at cosine {cosine:.2f} with its text."
        return pairs, ranks, note, warning

    def nearest(self, step, among="all"):
        """(N, k): of each item the k rows nearest to it at a step, among "all" others or those of the "other"
        modality; −1 for where there are fewer. Takes seconds for some thousand items, and grows with their square.

        Example:
            >>> z = np.array([[1.0, 0.0], [0.9, 0.1], [0.8, 0.3], [0.0, 1.0]])
            >>> ExplorerModel(z, k=1).nearest(0).tolist()
            [[1], [0], [1], [2]]
        """
        _validate.whole("step", step, least=0, most=len(self.steps) - 1)
        _validate.choice("among", among, ("all", "other"))
        key = step, among, self.revision
        if self._lists[0] != key:
            n = len(self.captions)
            blocks = np.array_split(np.arange(n), max(1, math.ceil(n * n / BLOCK)))
            near = [self.retrieve(self.unit[step][rows], self.others(rows, among), step)[0] for rows in blocks]
            self._lists = key, np.concatenate(near)
        return self._lists[1]

    def occurrences(self, step, among="all"):
        """(N,) among the k nearest of how many others each item is at a step: N_k of Radovanović, Nanopoulos and
        Ivanović, "Hubs in space" (2010). Their mean is k; in many dimensions a few items have far more, the hubs.

        Example:
            >>> z = np.array([[1.0, 0.0], [0.9, 0.1], [0.8, 0.3], [0.0, 1.0]])
            >>> ExplorerModel(z, k=1).occurrences(0).tolist()
            [1, 2, 1, 0]
        """
        near = self.nearest(step, among)
        return np.bincount(near[near >= 0], minlength=len(near))

    def _hubs(self):
        among = self.among or "all"
        counts = self.occurrences(self.step, among)
        # In the other modality there may be more, or fewer, who choose.
        group = self._kind if among == "other" else np.zeros_like(self._kind)
        mean = (np.bincount(group, counts) / np.maximum(np.bincount(group), 1))[group]
        rows = np.argsort(-counts, kind="stable")[:HUBS]
        return [[i, int(counts[i])] for i in rows.tolist() if counts[i] > 2 * mean[i]]

    def _whose(self, i, step):
        """(row, cosine) pairs of those whose neighbour item i is, the nearest first."""
        rows = np.flatnonzero((self.nearest(step, self.among or "all") == i).any(1))
        cosines = self.unit[step][rows] @ self.unit[step][i]
        order = np.argsort(-cosines, kind="stable")
        return [
            (j, round(cosine, 4)) for j, cosine in zip(rows[order].tolist(), cosines[order].tolist(), strict=True)
        ]

    def others(self, rows, among):
        """(M, N) True for the items that these M rows are compared with: all others, or those of another modality."""
        rows = np.asarray(rows)[:, None]
        return self._kind != self._kind[rows] if among == "other" else np.arange(len(self._kind)) != rows

    def retrieve(self, x, others, step):
        """For unit vectors x (M, d), the k rows nearest to each by cosine among `others` (M, N), and their cosines;
        (M, k) both, −1 and 0 for where there are fewer."""
        cosines = x @ self.unit[step].T
        near = _first(self.k, -cosines, others)
        return near, np.where(near < 0, 0, np.take_along_axis(cosines, near, 1))

    def agreeing(self, near, others, step, layout, places):
        """(M,) how many of the rows `near` (M, k) are also among the k nearest to these places (M, 2) of a layout."""
        x, y = layout.frames[step].T
        drawn = _first(self.k, np.hypot(x - places[:, :1], y - places[:, 1:]), others)
        is_drawn = np.zeros((len(near), len(x) + 1), bool)
        np.put_along_axis(is_drawn, drawn, True, 1)
        is_drawn[:, -1] = False  # where −1 points
        return np.take_along_axis(is_drawn, near, 1).sum(1)

    def _agreement(self, both, k, step):
        """A sentence on how far the map agrees with the truth, and a warning where that is little: there the warning
        says it, and the sentence need not. A typed caption is warned of nothing: it lies in no map that was made
        for it."""
        if not k:
            return "", ""
        agreement = f"{both} of these {k} are also among the nearest {k} on the map."
        misleads = k > 1 and both < k / 2 and not self.typed
        note = f"By cosine in all {self.embeddings.shape[2]} dimensions"
        note += "." if misleads else f"; {agreement}"
        trust = None if self.live else self.trustworthiness(self.projection, step)  # it takes a moment
        if trust is not None:
            note += f" The map's trustworthiness: {trust:.2f} (1 is perfect, chance about 0.5)."
        return note, f"Only {agreement}" if misleads else ""

    def trustworthiness(self, name, step):
        """How far what is near on this map is near in truth, see `projections.trust`; None for too few items."""
        layout = self.layouts[name]
        if step not in layout.trust:
            layout.trust[step] = projections.trust(self.embeddings[step], layout.frames[step], self.k)
        return layout.trust[step]

    def pair_ranks(self, rows, step):
        """(M, 2): where the counterpart of each of these rows stands among its rivals, seen from the row, and the row
        among its own, seen from there; 0 without a counterpart."""
        rows = np.asarray(rows)
        there, ranks = self.pairs[rows], np.zeros((len(rows), 2), int)
        paired = there >= 0
        here, there = rows[paired], there[paired]
        ranks[paired] = np.stack([self._ranks(here, there, step), self._ranks(there, here, step)], 1)
        return ranks

    def _ranks(self, rows, of, step):
        """(M,) the rank of the items `of` among all of their modality but the row, by their cosine with the row."""
        cosines = self.unit[step][rows] @ self.unit[step].T
        rivals = (self._kind == self._kind[of][:, None]) & (np.arange(len(self._kind)) != rows[:, None])
        return 1 + (rivals & (cosines > np.take_along_axis(cosines, of[:, None], 1))).sum(1)

    @cached_property
    def _edges(self):
        """(E, 2): the rows of each pair, once, one modality a side even where both point at each other; and the rows
        on either side."""
        rows = np.flatnonzero(self.pairs >= 0)
        edges = np.stack([rows, self.pairs[rows]], 1)
        order = self._kind * len(self.pairs) + np.arange(len(self.pairs))
        swap = order[edges[:, 0]] > order[edges[:, 1]]
        edges[swap] = edges[swap, ::-1]
        edges = np.unique(edges, axis=0)
        return edges, *(np.unique(side) for side in edges.T)

    def pair_contrast(self, step):
        """Mean cosine of pairs, and of all other combinations of their two sides, at a step."""
        (edges, a, b), unit = self._edges, self.unit[step].astype(np.float64)
        paired = (unit[edges[:, 0]] * unit[edges[:, 1]]).sum()
        rest = len(a) * len(b) - len(edges)
        unpaired = (unit[a].sum(0) @ unit[b].sum(0) - paired) / rest if rest else np.nan
        return paired / max(len(edges), 1), unpaired

    def matrix(self):
        """Rows and columns (at most MATRIX of each, spread over the classes) of the matrix, and its cosines
        (T, rows, columns): items beside their counterparts, or, without pairs, beside themselves."""
        paired = self.pairs >= 0
        sides = np.flatnonzero(paired & (self._kind == min(self._kind[paired], default=0)))
        rows = sides if len(sides) > 1 else np.arange(len(self.captions))
        rows = rows[np.argsort(self.class_of[rows], kind="stable")]
        rows = rows[np.linspace(0, len(rows) - 1, min(MATRIX, len(rows))).round().astype(int)]
        columns = self.pairs[rows] if len(sides) > 1 else rows
        return rows, columns, np.stack([unit[rows] @ unit[columns].T for unit in self.unit])

    def describe(self, step, name):
        """The map of this name at a step, in words."""
        layout = self.layouts[name]
        counts = " and ".join(f"{n:,} {name}" for name, n in Counter(self.modality).items())
        counts = counts.removesuffix(" item")  # where nothing has a picture
        parts = [f"{self.title or 'Embedding'}: {counts} items; axes {layout.axes[0]} and {layout.axes[1]}."]
        if heard := sum(map(bool, self.sounds)):
            parts.append(f"{heard:,} can be heard.")
        if len(self.steps) > 1:
            name = self.step_name(step)
            parts.append(f"{name[0].upper()}{name[1:]} ({step + 1} of {len(self.steps)} snapshots).")
        if (self.pairs >= 0).any():
            paired, unpaired = self.pair_contrast(step)
            others = "" if np.isnan(unpaired) else f", of other combinations {unpaired:.2f}"
            parts.append(f"Mean cosine of pairs {paired:.2f}{others}.")
        if scale := self.colours.scale:
            low, high, missing = scale["low"], scale["high"], scale["missing"]
            values = f"values from {low} to {high}" if low != high else f"one value, {low}"
            parts.append(f"Colour: {values}{f', {missing:,} missing' * bool(missing)}.")
        return " ".join(parts + self.remarks_at(layout, step))

    def remarks_at(self, layout, step):
        """Sentences on what shares a colour or a shape, and on items that lie beyond the edge of a map at a step."""
        return [words for words in (*self.remarks, looks.beyond(int(layout.far(step).sum()))) if words]

    def _describe_choice(self):
        if len(self.selected) > 1:
            return f" {len(self.selected):,} items selected."
        if not self.neighbours:
            return ""
        what = f"Typed: {self.typed}" if self.typed else f"Selected: {self._name(self.selected[0])}"
        j, cosine = self.neighbours[0]
        return f" {what}; nearest: {self._name(j)}, cosine {cosine:.2f}."

    def _name(self, i):
        return f"{self.captions[i]} ({self.modality[i]})" if len(self.modalities) > 1 else self.captions[i]


def fold(text):
    """What of a text is searched: letters are alike whatever their case, width, or way of writing an accent. The same
    in data.js, which knows no case folding: ß is SS in capitals, and Turkish İ and ı are I.

    Example:
        >>> fold("CAFE\u0301"), fold("Straße"), fold("İSTANBUL")
        ('café', 'strasse', 'istanbul')
    """
    text = unicodedata.normalize("NFKC", text).upper().lower()
    return unicodedata.normalize("NFC", text.replace("ς", "σ").replace("i\u0307", "i"))


def _first(k, cost, allowed):
    """(M, k): of each row of `cost` (M, N) the columns with the k lowest costs among those allowed, lowest first and
    ties in their order; −1 for where there are fewer."""
    cost = np.where(allowed, cost, np.inf)
    most = np.partition(cost, k - 1, axis=1)[:, k - 1 : k]  # most columns need no sorting
    rows, columns = np.nonzero((cost <= most) & allowed)
    order = np.lexsort((cost[rows, columns], rows))
    place = np.arange(len(rows)) - np.searchsorted(rows, rows)
    found = np.full((len(cost), k), -1)
    kept = place < k
    found[rows[kept], place[kept]] = columns[order[kept]]
    return found
