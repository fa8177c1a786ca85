"""On a graphics card (`make test-gpu`): the same cuts as on the processor, by the same calls

The other tests run on the processor wherever they are.
"""
import copy
import pytest, torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from fastai.basics import Learner
from conftest import same_state
from forgetprune.all import *
from forgetprune.references import references
from forgetprune.blocks import ffns
from forgetprune.magnitudes import magnitudes
from forgetprune.recycle import Recycle
from forgetprune.relearn import relearn, relearn_head
from forgetprune.resume import Checkpoints, last_checkpoint
from forgetprune.rivals import criteria, get_scores
from forgetprune.text import get_text_dls, lm_learner, warm_fit
from forgetprune.watch import class_accuracies

pytestmark = [pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason='there is no graphics card')]
gpu = 'cuda'
arch = dict(name='mlp', sizes=(64, 48, 40, 24, 10))
taught = dict(opt='adam', lr=3e-3, epochs=30, one_cycle=True)

@pytest.fixture(scope='module')
def trained():
    "Trained on the processor"
    learn = get_learner(get_dls('digits', bs=64, seed=0, device='cpu'), arch, taught, seed=0)
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(30, 3e-3)
    return learn.model.state_dict()

def learner(state, device):
    learn = get_learner(get_dls('digits', bs=64, seed=0, device=device), arch, taught, seed=0)
    learn.model.load_state_dict(state)
    learn.model.to(device)
    return learn

@pytest.fixture
def both(trained): return learner(trained, 'cpu'), learner(trained, gpu)

def overlap(a, b):
    "Share of the weights of one cut that are in the other"
    kept = [len(set(a.indices[n].tolist()) & set(b.indices[n].tolist())) for n in a.indices]
    return sum(kept)/len(a)

@pytest.mark.parametrize('name', [n for n in criteria if n!='random'])
def test_the_same_scores(both, name):
    a,b = [get_scores(name, l.model, *class_split(l.dls.train, 7)) for l in both]
    for n in a:
        assert b[n].device.type==gpu
        torch.testing.assert_close(a[n], b[n].cpu(), rtol=1e-3, atol=1e-5*a[n].abs().max().item())

def test_the_same_cut(both):
    was = copy.deepcopy(both[1].model.state_dict())
    a,b = [l.forget(7, progress=False) for l in both]
    assert a.k==b.k and overlap(a.cut, b.cut) > 0.99
    torch.testing.assert_close(torch.tensor(a.table.values.astype(float)),
        torch.tensor(b.table.values.astype(float)), atol=0.01, rtol=0)
    b.cut.undo(both[1].model)
    assert same_state(was, both[1].model.state_dict())

def test_a_cut_travels(both, tmp_path):
    res = both[1].forget(7, progress=False)
    res.cut.save(tmp_path/'seven.safetensors')
    there = Cut.load(tmp_path/'seven.safetensors').apply(both[0].model)
    for n,t in both[1].model.state_dict().items():
        assert torch.equal(there.state_dict()[n], t.cpu())

@pytest.mark.parametrize('data', ['cpu', gpu])
@pytest.mark.parametrize('where', ['cpu', gpu])
def test_wherever_data_and_model_are(trained, data, where):
    l = learner(trained, 'cpu')
    train,valid = [DataLoader(TensorDataset(*[t.to(data) for t in d.tensors]), 64) for d in
        (l.dls.train, l.dls.valid)]
    model = l.model.to(where)
    res = forget(model, train, valid, 7, budget=0.05, progress=False)
    assert res.reached and next(model.parameters()).device.type==where
    assert class_accuracies(model, l.dls.loaders[2], 7)[0] < 0.3

@pytest.mark.parametrize('data', ['cpu', gpu])
@pytest.mark.parametrize('where', ['cpu', gpu])
def test_relearning_wherever_they_are(trained, data, where):
    l = learner(trained, data)
    model = l.model.to(where)
    cut = l.forget(7, progress=False).cut
    back,head = relearn(l, model, 7, bs=16),relearn_head(l, model, 7, bs=16, goal=0.5)
    assert back.needed > 0 and head.looked[0][2] < 0.3
    held = relearn(l, model, 7, cut=cut, bs=16, most=200)
    assert held.steps > 0 and next(model.parameters()).device.type==where

@pytest.mark.parametrize('data', ['cpu', gpu])
def test_an_audit(trained, data):
    l = learner(trained, data)
    l.model.to(gpu)
    golds = []
    for s in (1, 2, 3):
        other = get_learner(without(l.dls, 7), arch, taught, seed=s)
        with other.no_bar(), other.no_logging(): other.fit_one_cycle(30, 3e-3)
        golds.append(other.model.eval())
    before = copy.deepcopy(l.model)
    ref = references(l, 7, golds, before, goal=0.7, progress=False)
    cut = l.forget(7, progress=False).cut
    assert audit(l, 7, ref, cut, repeats=1, progress=False).verdict!='erased'
    cut.undo(l.model)
    assert audit(l, 7, ref, repeats=1, progress=False).verdict=='present'

def convolutional(seed=0):
    torch.manual_seed(seed)
    conv = lambda i, o: nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU())
    return nn.Sequential(conv(1, 16), conv(16, 32), nn.MaxPool2d(2), conv(32, 64),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(256, 10))

def test_channels():
    dls = get_dls('digits', bs=64, seed=0, device=gpu)
    l = Learner(dls, convolutional(), loss_func=nn.CrossEntropyLoss())
    with l.no_bar(), l.no_logging(): l.fit_one_cycle(12, 5e-3)
    assert min(class_accuracies(l.model, dls.loaders[2], 7)) > 0.85
    was = copy.deepcopy(l.model.state_dict())
    res = l.forget_channels(7, progress=False)
    assert res.table['test'].target['cut'] < res.table['test'].target.iloc[0]-0.3
    res.cut.undo(l.model)
    assert same_state(was, l.model.state_dict())

words = 'the quick brown fox\njumps over the lazy dog\n'*40

def masked_lm(device, steps=40):
    return lm_learner(get_text_dls(words, bs=4, context=16, steps=steps, n_valid=50,
        device=device), d_model=16, n_layers=2, n_heads=2, d_ff=24)

@pytest.mark.parametrize('draw', ['initial', 'current', 'copy'])
def test_recycling_and_resuming(draw, tmp_path):
    def run(folder, stop=None, resume=None):
        torch.manual_seed(0)
        l,cb = masked_lm(gpu),Recycle(every=7, frac=0.25, draw=draw, smooth=10)
        class Stop(Callback):
            order = 130
            def state_dict(self): return {}
            def load_state_dict(self, state): pass
            def after_batch(self):
                if self.training and self.learn.train_iter==stop: raise KeyboardInterrupt
        with l.no_bar(), l.no_logging():
            try: warm_fit(l, 1, cbs=[cb, Checkpoints(folder, 5, dict(draw=draw), resume), Stop()])
            except KeyboardInterrupt: pass
        return l.model
    for n in 'ab': (tmp_path/n).mkdir()
    whole = run(tmp_path/'a')
    run(tmp_path/'b', stop=23)
    late = run(tmp_path/'b', resume=last_checkpoint(tmp_path/'b'))
    for n,t in whole.state_dict().items(): # sums on a card may come in another order
        torch.testing.assert_close(late.state_dict()[n], t, rtol=1e-3, atol=1e-4)

def test_magnitudes():
    l = masked_lm('cpu')
    a = [magnitudes(f).detach() for f in ffns(l.model)]
    b = [magnitudes(f).detach() for f in ffns(l.model.to(gpu))]
    for x,y in zip(a, b): torch.testing.assert_close(x, y.cpu())

def test_half_precision(both):
    "A network in bfloat16 on the card loses the class, and gets its bits back"
    l = both[1]
    model,dls = l.model.bfloat16(),l.dls
    was = copy.deepcopy(model.state_dict())
    half = lambda d: DataLoader(TensorDataset(d.tensors[0].bfloat16(), d.tensors[1]), 64)
    res = forget(model, half(dls.train), half(dls.valid), 7, progress=False)
    assert class_accuracies(model, half(dls.loaders[2]), 7)[0] < 0.3
    res.cut.undo(model)
    assert same_state(was, model.state_dict())
