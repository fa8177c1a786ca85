"The audit of anybody's network: golds that are trained, inputs that are no single tensor"
import copy
import pytest, torch
from fastai.basics import CrossEntropyLossFlat, DataLoaders, Learner
from forgetprune.audit import audit, references
from forgetprune.forget import row_zeroed
from forgetprune.golds import get_golds
from forgetprune.rows import in_rows
from forgetprune.watch import outputs_on
from forgetprune.witnesses import reinitialised
from test_anybody import (Bag, image_dls, padded_texts, pictures, quiet, small_cnn, table,
    table_dls, text_dls, topics, trained_by_hand, untouched)

few = dict(repeats=1, most=3000, goal=0.5, progress=False)

@pytest.fixture
def golds(monkeypatch):
    "The golds that an audit has trained, to be judged as well"
    kept = []
    def keep(*args):
        kept[:] = get_golds(*args)
        return kept
    monkeypatch.setattr('forgetprune.audit.get_golds', keep)
    return kept

def judged(learn, target, golds, make=None):
    "Networks whose answer is known, and one that was cut, judged by the same golds"
    base = copy.deepcopy(learn.model)
    cut = learn.forget(target, budget=0.1, progress=False).cut
    with untouched(learn.model, *learn.dls.loaders):
        refs = references(learn, target, before=base, make=make,
            **{k: v for k,v in few.items() if k!='repeats'})
        res = {'cut': audit(learn, target, refs, cut, **few)}
    known = {'known': base, 'silent': row_zeroed(base, refs.target),
        'gold': copy.deepcopy(golds[0])}
    for n,net in known.items():
        learn.model = net
        res[n] = audit(learn, target, refs, **few)
    learn.model = base
    return res, refs

def check(res, refs, learn, target):
    assert res['known'].verdict=='present'
    assert res['gold'].verdict in ('erased', 'unclear')
    for n in ('cut', 'silent'): assert res[n].verdict!='erased'
    for r in res.values():
        t = r.table.subject
        assert r.name==target and t['accuracy'].between(0, 1).all()
        assert t['probe'].notna().all() and t['relearning, images'].notna().all()
        assert r.to_json()
    # what is held in memory answers as the learner's own network on its own loader
    own = outputs_on(learn.model, learn.dls.valid)[0]
    held = outputs_on(refs.data.taking(learn.model), refs.data.dl)[0]
    assert torch.allclose(own.sort(0)[0], held.sort(0)[0], atol=1e-4)

@pytest.mark.slow
def test_table(tmp_path, golds):
    from fastai.tabular.all import CategoryBlock, tabular_learner
    torch.manual_seed(0)
    dls = table_dls(table(tmp_path/'digits.csv'), y_block=CategoryBlock())
    learn = quiet(tabular_learner(dls, layers=[80, 60, 40]), 5, 1e-2)
    res,refs = judged(learn, 'seven', golds)
    assert refs.data.packing.names is None and len(refs.data.packing.shapes)==2
    check(res, refs, learn, 'seven')

@pytest.mark.slow
def test_pictures(tmp_path, golds):
    torch.manual_seed(0)
    learn = Learner(image_dls(pictures(tmp_path)), small_cnn(), loss_func=CrossEntropyLossFlat())
    quiet(learn, 6, 1e-2)
    res,refs = judged(learn, '7', golds)
    assert refs.data.packing is None
    check(res, refs, learn, '7')

def sequence_learner():
    T = pytest.importorskip('transformers')
    train,valid,words = padded_texts()
    config = T.BertConfig(vocab_size=len(words)+1, hidden_size=32, num_hidden_layers=1,
        num_attention_heads=2, intermediate_size=48, max_position_embeddings=16, num_labels=3)
    def make(dls): return trained_by_hand(T.BertForSequenceClassification(config), dls.train, 4)
    torch.manual_seed(0)
    dls = DataLoaders(train, valid)
    dls.vocab = list(topics)
    return Learner(dls, make(dls), loss_func=CrossEntropyLossFlat()), make

@pytest.mark.slow
def test_sequence_classifier(golds):
    learn,make = sequence_learner()
    res,refs = judged(learn, 'wood', golds, make)
    assert refs.data.packing.names==('input_ids', 'attention_mask')
    check(res, refs, learn, 'wood')

def test_texts_of_other_lengths(tmp_path):
    dls = text_dls(tmp_path)
    learn = Learner(dls, Bag(len(dls.vocab[0]), 3, 1), loss_func=CrossEntropyLossFlat())
    rows = in_rows(learn, dls.valid)
    x,y = rows.learn.dls.train.tensors
    assert len(x)==270 and x.shape[1]==rows.dl.tensors[0].shape[1] and not x.is_floating_point()
    own,held = [outputs_on(m, dl)[0] for m,dl in ((learn.model, dls.valid),
        (rows.taking(learn.model), rows.dl))]
    assert torch.allclose(own.sort(0)[0], held.sort(0)[0], atol=1e-5)

def test_data_that_do_not_fit_are_held_in_part(tmp_path):
    learn = Learner(image_dls(pictures(tmp_path)), small_cnn(), loss_func=CrossEntropyLossFlat())
    with untouched(learn.model, *learn.dls.loaders):
        rows = in_rows(learn, learn.dls.valid, most=50*3*16*16*4)
    assert len(rows.learn.dls.train.dataset) in range(45, 51) and 'of 240 items' in rows.note
    assert len(rows.dl.dataset) in range(45, 51) and 'of 100 items of the judged' in rows.note
    assert len(rows.dl.tensors[1].unique())==4

def test_what_an_audit_asks_for(tmp_path):
    learn,make = sequence_learner()
    for kw,said in ((dict(), 'not trained in this session.*make='),
            (dict(make=3), 'make=3 must be'), (dict(make=lambda dls: 5), 'returned a int'),
            (dict(gold=learn.model, make=make), 'one of'),
            (dict(make=make, target=['sea', 'wood']), 'one class at a time'),
            (dict(make=make, target='sand'), "'sand' is unknown")):
        with pytest.raises(ValueError, match=said): audit(learn, **{'target': 'wood', **few, **kw})

def test_fresh_weights_of_all_that_has_any():
    T,tv = pytest.importorskip('transformers'),pytest.importorskip('torchvision.models')
    config = T.ViTConfig(image_size=8, patch_size=4, hidden_size=32, num_hidden_layers=1,
        num_attention_heads=2, intermediate_size=64, num_labels=4)
    vit = tv.VisionTransformer(image_size=8, patch_size=4, num_layers=1, num_heads=2, hidden_dim=16,
        mlp_dim=32, num_classes=4)
    for net in (T.ViTForImageClassification(config), vit, tv.resnet18(num_classes=4)):
        with torch.no_grad():
            for p in net.parameters(): p.add_(torch.rand_like(p))
        a,b = reinitialised(net, 1),reinitialised(net, 1)
        for (n,p),q,r in zip(net.named_parameters(), a.parameters(), b.parameters()):
            assert torch.equal(q, r) and not torch.equal(p, q), n
