"KeepCut and Learner.forget"
import copy
from functools import partial
import pytest, torch
from torch import nn
import numpy as np
from fastai.basics import Adam, Callback, OptimWrapper, RMSProp, SGD, Lamb, Lookahead, RAdam
from fastai.callback.fp16 import MixedPrecision
from fastai.callback.schedule import *
from fastai.callback.training import GradientAccumulation, GradientClip
from conftest import Cpu16, same_state
from forgetprune.data import get_dls
from forgetprune.scores import *
from forgetprune.rivals import *
from forgetprune.cut import *
from forgetprune.curve import *
from forgetprune.controls import *
from forgetprune.forget import *
from forgetprune.sizing import *
from forgetprune.watch import *
from forgetprune.layers import *
from forgetprune.training import get_learner
from forgetprune.networks import mlp

class Zeros(Callback):
    "Looks after every single step"
    order,seen = 200,0
    def __init__(self, cut): self.cut = cut
    def after_step(self):
        self.seen += 1
        for n,w in self.cut.weights(self.learn.model).items():
            assert (w.detach().take(self.cut.indices[n])==0).all()

opts = dict(sgd=partial(SGD, mom=0.9, wd=0.1), adam=partial(Adam, wd=0.1),
    adam_l2=partial(Adam, wd=0.1, decouple_wd=False), rms=RMSProp, lamb=Lamb,
            lookahead=lambda p, lr: Lookahead(RAdam(p, lr=lr)), torch_adamw=partial(OptimWrapper,
            opt=torch.optim.AdamW, weight_decay=0.1))

@pytest.mark.parametrize('opt', list(opts))
@pytest.mark.parametrize('cbs', ['plain', 'clip', 'accumulate', 'bf16', 'fp16 callback'])
@pytest.mark.filterwarnings('ignore')
def test_cut_weights_stay_zero(opt, cbs, digits, learn, sevens):
    from fastai.basics import Learner
    cut = largest(learn.model, maav_difference(learn.model, *sevens), 300)
    extra = dict(plain=[], clip=[GradientClip(0.1)], accumulate=[GradientAccumulation(200)],
        bf16=[Cpu16()], **{'fp16 callback': [MixedPrecision()]})[cbs]
    l = Learner(digits, copy.deepcopy(learn.model), loss_func=learn.loss_func, opt_func=opts[opt],
        lr=0.01)
    look = Zeros(cut)
    with l.no_bar(), l.no_logging():
        l.fit(1, 0.01) # momentum from a time when nothing was cut
        l.fit(1, 0.01, cbs=[*extra, KeepCut(cut), look])
    assert look.seen > 3
    for n,w in cut.weights(l.model).items():
        rest = torch.ones(w.numel(), dtype=torch.bool); rest[cut.indices[n]] = False
        assert (w.detach().flatten()[rest]!=learn.model.get_submodule(
            n).weight.detach().flatten()[rest]).float().mean() > 0.5

def test_keepcut_refuses_another_model(digits):
    cut = Cut.take(mlp((64, 48, 41, 24, 10)), {'3': [0]})
    l = get_learner(digits, dict(name='mlp', sizes=(64, 48, 40, 24, 10)))
    with l.no_bar(), l.no_logging(), pytest.raises(ValueError, match="layer '3'"):
        l.fit(1, cbs=KeepCut(cut))

def test_forget_chooses_the_smallest_k(learn):
    before = copy.deepcopy(learn.model.state_dict())
    res = learn.forget(7, budget=0.05, progress=False)
    assert res.reached and res.goal==0.1
    good = (res.curve.target<=res.goal) & (res.curve.retain>=res.curve.retain[0]-res.budget)
    assert res.k==res.curve.k[good].min() and res.k-1 in set(res.curve.k)
    assert not good[res.curve.k==res.k-1].any()
    assert len(res.cut)==2*res.k
    got = class_accuracies(learn.model, learn.dls.valid, 7)
    assert got==tuple(res.table['validation'].loc['cut'])
    assert set(res.table.index)=={'as trained', 'cut', 'random weights', 'largest weights',
        'output switched off'}
    assert res.table['test'].target['output switched off']==0
    assert '7' in repr(res) and res.plot() is not None
    res.cut.undo(learn.model)
    assert same_state(learn.model.state_dict(), before)

def test_forget_does_not_look_at_test_data(learn, monkeypatch):
    a = learn.forget(7, progress=False)
    a.cut.undo(learn.model)
    x,y = learn.dls.test.tensors
    monkeypatch.setattr(learn.dls.test.dataset, 'tensors', (x.flip(0), y))
    b = learn.forget(7, progress=False)
    assert a.k==b.k and all(torch.equal(a.cut.indices[n], b.cut.indices[n]) for n in a.cut.indices)

@pytest.mark.parametrize('criterion', list(criteria))
def test_every_criterion(criterion, learn):
    res = learn.forget(3, criterion=criterion, progress=False)
    floor = res.curve.retain[0]-res.budget
    assert class_accuracies(learn.model, learn.dls.valid, 3)[1] >= floor
    if not res.reached: assert 'NOT REACHED' in repr(res)

def test_unreachable_goal_gives_the_best(learn):
    res = learn.forget(7, goal=0., budget=0., criterion='random', progress=False)
    assert not res.reached and 'NOT REACHED' in repr(res)
    within = res.curve[res.curve.retain>=res.curve.retain[0]]
    assert res.table['validation'].target['cut']==within.target.min()

def test_misspelt_argument_is_an_error(learn):
    with pytest.raises(ValueError, match='budgt: criterion'):
        learn.forget(7, budgt=0.5, progress=False)

@pytest.mark.parametrize('target', ['seven', 7.0, True, None])
def test_class_must_be_known(target, learn):
    said = 'the classes there are' if target=='seven' else f'is of type {type(target).__name__}'
    with pytest.raises(ValueError, match=said): learn.forget(target, progress=False)

def test_explicit_k_speaks_of_itself(learn, tmp_path):
    res = learn.forget(7, k=np.int64(10), progress=False)
    assert not res.reached and 'this cut does not bring' in repr(res) and 'none of' not in repr(res)
    res.cut.save(tmp_path/'c')

def test_goal_is_found_between_levels():
    "A k that the first grid misses: the goal is met only between two of its levels"
    torch.manual_seed(0)
    from forgetprune.sizing import search_k
    import forgetprune.sizing as F
    import pandas as pd
    truth = lambda k: (0.0 if k >= 14 else 1.0, 1.0 if k <= 15 else 0.5) # grid levels are 12 and 16
    def curve(model, scores, ks, *a):
        return pd.DataFrame([(k, *truth(k)) for k in ks], columns=['k', 'target', 'retain'])
    old,F.prune_curve = F.prune_curve,curve
    try: k,ok,_ = search_k(mlp((4, 30, 30, 30, 2)), {'3': torch.zeros(30, 30)},
        [(torch.zeros(2, 4), torch.tensor([0, 1]))], 0, 0.1, 0.01)
    finally: F.prune_curve = old
    assert (k, ok)==(14, True)

def test_few_levels_where_each_is_a_pass(monkeypatch):
    "The same size within a sixteenth, of a fifth of the levels; and a goal met between two of them"
    import forgetprune.sizing as F
    import pandas as pd
    looked = []
    def curve(model, scores, ks, cache, target, progress=False):
        looked.extend(ks)
        rows = [(k, 0.05 if k >= lo else 1.0, 1.0 if k <= hi else 0.2) for k in ks]
        return pd.DataFrame(rows, columns=['k', 'target', 'retain'])
    monkeypatch.setattr(F, 'prune_curve', curve)
    class Odd(torch.nn.Module): # no chain, so that each level is a pass
        def __init__(self): super().__init__(); self.net = mlp((4, 300, 300, 300, 2))
        def forward(self, x): return self.net(x)
    dl = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.zeros(2, 4),
        torch.tensor([0, 1])))
    scores = {'net.3': torch.zeros(300, 300)}
    for lo,hi in ((7_000, 90_000), (12, 13_000), (7_000, 8_000)):
        looked.clear()
        k,met,_ = search_k(Odd(), scores, dl, 0, 0.1, 0.01)
        assert met and lo <= k <= min(hi, lo*17/16+1) and len(looked) <= 22, (k, len(looked))

def test_several_classes_by_name_or_number(learn):
    a = learn.forget(['8', '3'], budget=0.1, progress=False)
    assert (a.target, a.name, a.cut.meta['target'])==((3, 8), '3, 8', (3, 8))
    v = a.table['validation'].target # a small network: with the budget, two classes go not quite
    assert v['cut'] < 0.4 < 0.8 < v['random weights']
    assert a.table['test'].target['output switched off'] < 0.05
    for dl,part in ((learn.dls.valid, 'validation'), (learn.dls.test, 'test')):
        assert class_accuracies(learn.model, dl, (3, 8))==tuple(a.table[part].loc['cut'])
    a.cut.undo(learn.model)
    b = learn.forget([3, 8], budget=0.1, progress=False)
    assert all(torch.equal(a.cut.indices[n], b.cut.indices[n]) for n in a.cut.indices)

def test_given_k_and_own_criterion(learn):
    def mine(model, target, rest, layers=None):
        return {n: -s for n,s in magnitude(model, layers=layers).items()}
    res = learn.forget(7, k=50, criterion=mine, layers='5', progress=False)
    assert len(res.cut)==50 and list(res.cut.shapes)==['5'] and res.criterion=='mine'
    half = learn.forget(7, k=0.5, layers=['3'], progress=False)
    assert len(half.cut)==48*40//2

@pytest.mark.parametrize('kw,said', [(dict(target=11), 'the classes there are'),
    (dict(target=7, goal=2), 'goal=2'), (dict(target=7, budget=-1), 'budget=-1'),
    (dict(target=7, k=-3), 'negative'),
    (dict(target=7, k=1.5), 'between 0 and 1'), (dict(target=7, criterion='x'), 'criterion='),
    (dict(target=7, layers='9'), 'no such layer')])
def test_bad_arguments_leave_the_model_alone(kw, said, learn):
    before = copy.deepcopy(learn.model.state_dict())
    with pytest.raises(ValueError, match=said): learn.forget(**kw, progress=False)
    assert same_state(learn.model.state_dict(), before)

def test_frozen_model_and_plain_fastai_learner(learn, digits):
    from fastai.basics import CrossEntropyLossFlat, DataLoaders, Learner
    l = Learner(DataLoaders(digits.train, digits.valid), copy.deepcopy(learn.model),
        loss_func=CrossEntropyLossFlat())
    for p in l.model.parameters(): p.requires_grad_(False)
    for c in ('maav_difference', 'taylor'):
        res = l.forget(7, k=100, criterion=c, progress=False)
        assert list(res.table.columns.levels[0])==['validation']
        res.cut.undo(l.model)

def test_layers_are_looked_for_once(learn, monkeypatch):
    "One trace of the model serves the whole call, its controls and its search"
    import forgetprune.layers as layers
    traced,calls = [],layers.calls
    monkeypatch.setattr(layers, 'calls', lambda m: traced.append(m) or calls(m))
    learn.forget(7, progress=False)
    assert len(traced)==1

contexts = dict(autocast=lambda: torch.autocast('cpu', torch.bfloat16),
    inference_mode=torch.inference_mode)

@pytest.mark.parametrize('criterion', list(criteria))
def test_the_same_under_autocast_and_in_inference_mode(learn, criterion):
    "To the bit; and the network can be trained afterwards"
    before = copy.deepcopy(learn.model.state_dict())
    want = learn.forget(7, criterion=criterion, progress=False)
    for context in contexts.values():
        learn.model.load_state_dict(before)
        with context(): got = learn.forget(7, criterion=criterion, progress=False)
        assert got.k==want.k and got.table.equals(want.table) and got.curve.equals(want.curve)
        assert all(torch.equal(got.cut.indices[n], i) for n,i in want.cut.indices.items())
        got.cut.undo(learn.model)
        assert same_state(learn.model.state_dict(), before)
    x,y = learn.dls.train.one_batch()
    learn.loss_func(learn.model(x), y).backward()

@pytest.mark.parametrize('criterion', list(criteria))
def test_layers_that_are_called_by_keyword(learn, criterion):
    class Named(nn.Sequential):
        def forward(self, x):
            for m in self: x = m(input=x)
            return x
    named = Named(*copy.deepcopy(learn.model))
    kw = dict(criterion=criterion, progress=False)
    want = forget(learn.model, learn.dls.train, learn.dls.valid, 7, **kw)
    got = forget(named, learn.dls.train, learn.dls.valid, 7, **kw)
    assert all(torch.equal(got.cut.indices[n], i) for n,i in want.cut.indices.items())
    assert got.table.equals(want.table)

def test_a_damaged_network_is_not_blamed_on_the_data(learn):
    with torch.no_grad(): learn.model[3].weight[0,0] = float('nan')
    for criterion in ('maav_difference', 'taylor'):
        with pytest.raises(ValueError, match="model: '3.weight' holds values that are not finite"):
            learn.forget(7, criterion=criterion, progress=False)

def test_nothing_to_forget_is_said():
    torch.manual_seed(0)
    net = mlp((64, 20, 20, 20, 10))
    with torch.no_grad(): net[-1].bias[3] = -100 # this class is never named
    res = get_learner(get_dls('digits', bs=64), seed=0)
    res.model = net
    said = repr(res.forget(3, progress=False))
    assert said.count('\n')==1 and 'NOTHING TO FORGET' in said and "'3'" in said

def far_below(bias=True):
    "A network all of whose outputs are far below zero, and items that it knows"
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 10), nn.ReLU(),
        nn.Linear(10, 4, bias=bias)).eval()
    with torch.no_grad():
        if bias: net[-1].bias -= 10
        else: net[-1].weight.abs_().neg_()
    x = torch.randn(400, 8)
    y = net(x).argmax(1)
    data = torch.utils.data.TensorDataset(x, y)
    return net, torch.utils.data.DataLoader(data, 32), int(y.mode().values)

@pytest.mark.parametrize('bias', [True, False])
def test_an_output_that_is_switched_off_is_off(bias):
    "A control is checked where its answer is known: none of the class is named, the others are"
    net,dl,c = far_below(bias)
    state = copy.deepcopy(net.state_dict())
    assert class_accuracies(row_zeroed(net, c), dl, c)==(1, 0) # zeros alone would name nothing else
    res = forget(net, dl, dl, c, k=5, test=dl, progress=False)
    for part in ('validation', 'test'):
        assert tuple(res.table[part].loc['output switched off'])==(0, 1)
    res.cut.undo(net)
    off = switched_off(net, c, [dl])
    assert class_accuracies(off, dl, c)==(0, 1) and same_state(net.state_dict(), state)
    two = c,(c+1)%4
    assert class_accuracies(switched_off(net, two, [dl]), dl, two)==(0, 1)

def test_zeros_stay_zeros_where_they_are_enough(learn):
    off = switched_off(learn.model, 7, [learn.dls.valid, learn.dls.test])
    assert same_state(off.state_dict(), row_zeroed(learn.model, 7).state_dict())

def test_an_output_that_cannot_be_switched_off():
    "The class is named by something behind the last layer"
    net,dl,c = far_below()
    class Sure(nn.Module):
        def __init__(self): super().__init__(); self.net = net
        def forward(self, x): return self.net(x)+torch.eye(4)[c]*100
    assert switched_off(Sure(), c, [dl]) is None
    res = forget(Sure(), dl, dl, c, k=5, progress=False)
    assert res.table.loc['output switched off'].isna().all()

def test_rows_are_changed_in_a_copy(learn):
    from forgetprune.known import row_negated
    state,x = copy.deepcopy(learn.model.state_dict()),learn.dls.valid.tensors[0]
    other = row_negated(learn.model, 7)
    assert torch.equal(other[-1].weight[7], -learn.model[-1].weight[7])
    assert torch.equal(other[-1].bias[7], -learn.model[-1].bias[7])
    assert torch.allclose(other(x)[:,7], -learn.model(x)[:,7])
    assert same_state(learn.model.state_dict(), state)
