"The audit of anybody's network: golds that are trained, inputs that are no single tensor"
import copy
import pytest, torch
from torch import nn
from fastai.basics import CrossEntropyLossFlat, DataLoaders, Learner
from forgetprune.audit import audit
from forgetprune.references import references
from forgetprune.controls import row_zeroed
from forgetprune.golds import get_golds, kept_golds
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
    monkeypatch.setattr('forgetprune.references.get_golds', keep)
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
            (dict(make=make, target=['sea', 'wood']), "one class.*golds.learn, .'sea', 'w"),
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

def digits_learner(digits, epochs):
    "A network of which the library knows nothing, and a way to train one like it, noted"
    trained = []
    def make(dls):
        trained.append(len(dls.train.dataset))
        net = nn.Sequential(nn.Flatten(), nn.Linear(64, 30), nn.ReLU(), nn.Linear(30, 24),
            nn.ReLU(), nn.Linear(24, 10))
        l = Learner(dls, net, loss_func=CrossEntropyLossFlat())
        with l.no_bar(), l.no_logging(): l.fit_one_cycle(epochs, 1e-2)
        return l
    torch.manual_seed(0)
    learn = make(digits)
    trained.clear()
    return learn, make, trained

def test_a_gold_that_learned_too_little_is_refused_before_others_are_trained(digits):
    learn,make,trained = digits_learner(digits, 10)
    def idle(dls):
        trained.append(0)
        return reinitialised(learn.model)
    with pytest.raises(ValueError, match='^gold gets only .*`make` train for more epochs'):
        audit(learn, 7, make=idle, progress=False)
    assert len(trained)==1 and kept_golds(learn, 7)==[]
    learn.model = reinitialised(learn.model)
    learn.n_epoch = 1
    learn.recorder.lrs = [1e-9]
    with pytest.raises(ValueError, match='^gold gets only .* for 1 epochs: train it for more'):
        audit(learn, 7, progress=False)

def test_a_network_before_that_never_knew_is_refused_before_golds_are_trained(digits):
    learn,make,trained = digits_learner(digits, 10)
    with pytest.raises(ValueError, match="before: it gets .* of '7' right"):
        audit(learn, 7, make=make, before=row_zeroed(learn.model, 7), progress=False)
    with pytest.raises(ValueError, match='give the network as it was'):
        audit(learn, 7, make=make, before=learn, progress=False)
    assert not trained

@pytest.fixture
def quick_adam(monkeypatch):
    "Ten times the step, so that a test need not wait for golds"
    from forgetprune.tuning import tuning_recipes
    monkeypatch.setitem(tuning_recipes, 'adam', (tuning_recipes['adam'][0], 1e-3))

def test_golds_outlive_an_audit_that_fails(digits, quick_adam):
    "A second call takes those that are there"
    learn,make,trained = digits_learner(digits, 10)
    learn.model = row_zeroed(learn.model, 7)
    with pytest.raises(ValueError, match="learned '7'.*raise `most`.*kept_golds"):
        audit(learn, 7, make=make, progress=False, most=2)
    golds = kept_golds(learn, '7')
    assert len(golds)==len(trained)==3 and kept_golds(learn, 3)==[]
    res = references(learn, 7, golds, progress=False, goal=0.1, most=2000)
    assert list(res.models)==['gold', 'second gold', 'third gold'] and len(trained)==3
    def stopped(dls):
        if len(trained)==4: raise KeyboardInterrupt
        return make(dls)
    with pytest.raises(KeyboardInterrupt): audit(learn, 3, make=stopped, progress=False)
    assert len(kept_golds(learn, 3))==1

def test_several_classes_are_audited_one_by_one(digits, quick_adam):
    "As the refusal says"
    learn,make,_ = digits_learner(digits, 10)
    with pytest.raises(ValueError, match='audit each'): audit(learn, [3, 8], make=make)
    golds = get_golds(learn, [3, 8], make)
    assert kept_golds(learn, ['8', '3'])==golds
    before,learn.model = learn.model,row_zeroed(learn.model, (3, 8))
    res = audit(learn, 3, golds, before=before, progress=False, repeats=1, goal=0.1, most=2000)
    assert res.target==3 and res.table.loc[('accuracy', 'others'), 'gold'] < 0.95 # eights too
