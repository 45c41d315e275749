"""The null splice-site model: a table read along a sequence, with as few sites as a network has."""

import numpy as np
import pytest

from splicebert_vep.model.null import NullSpliceModel
from splicebert_vep.sequence.tokens import encode
from splicebert_vep_spec import Edit

MODEL = NullSpliceModel()


def test_sites_are_few_and_stand_at_ggt_and_agg():
    bases = np.random.default_rng(1).choice(list("ACGT"), 60_000)
    text = "".join(bases)
    p = MODEL.along(encode(text.encode()))
    for column, triple in enumerate(("GGT", "AGG")):
        seen = {text[at : at + 3] for at in np.flatnonzero(p[:, column] >= 0.2)}
        assert seen == {triple}
        assert np.mean(p[:, column] >= 0.2) == pytest.approx(1 / 64, rel=0.15)


def test_an_edit_has_the_answers_of_the_changed_sequence_beside_many_others():
    rng = np.random.default_rng(2)
    tokens = encode("".join(rng.choice(list("ACGTN"), 400)).encode())
    edits = []
    for _ in range(300):
        start = int(rng.integers(30, 360))
        end, new = start + int(rng.integers(0, 4)), rng.integers(6, 10, rng.integers(0, 4))
        edits.append(Edit(start, end, tuple(new.tolist()), *rng.integers(0, 25, 2).tolist()))
    for edit, (ref, alt) in zip(edits, MODEL.alternatives(tokens, edits), strict=True):
        changed = np.concatenate([tokens[: edit.start], np.array(edit.bases, np.uint8), tokens[edit.end :]])
        first = edit.start - edit.left - 1  # answers begin with that of the second token
        assert (ref == MODEL.along(tokens)[first : first + edit.counts[0]]).all()
        assert (alt == MODEL.along(changed)[first : first + edit.counts[1]]).all()
        assert (len(ref), len(alt)) == edit.counts
    assert MODEL.alternatives(tokens, []) == []
