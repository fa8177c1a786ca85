"The fast curve against copying, cutting and evaluating"
import copy
import numpy as np, pytest, torch
from hypothesis import given, settings, strategies as st
from torch import nn
from conftest import same_state
from forgetprune.scores import *
from forgetprune.rivals import *
from forgetprune.cut import *
from forgetprune.chains import *
from forgetprune.curve import *
from forgetprune.curve import naive_curve
from forgetprune.watch import *
from forgetprune.layers import *
from forgetprune.layers import linears
from forgetprune.networks import cnn, mlp

def agree(model, scores, ks, dl, target):
    before = copy.deepcopy(model.state_dict())
    modes = [m.training for m in model.modules()]
    got,want = prune_curve(model, scores, ks, dl, target),naive_curve(model, scores, ks, dl, target)
    np.testing.assert_array_equal(got.values, want.values)
    assert same_state(model.state_dict(), before) and [m.training for m in model.modules()]==modes
    assert list(got.columns)==['k', 'target', 'retain'] and list(got.k)==list(ks)
    return got

def data(n, shape, classes, bs=16): 
    x,y = torch.randn(n, *shape),torch.arange(n)%classes
    return list(zip(x.split(bs), y.split(bs)))

acts = st.sampled_from([nn.ReLU, nn.GELU, nn.Tanh, nn.LeakyReLU, nn.Identity,
    lambda: nn.ReLU(inplace=True), lambda: nn.Dropout(0.5)])

@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=4, max_size=6), acts, st.booleans(), st.data(),
    st.integers(0, 10**6))
def test_random_mlps(sizes, act, bias, pick, seed):
    torch.manual_seed(seed)
    sizes[-1] = max(sizes[-1], 2)
    m = mlp(tuple(sizes), act=act)
    if not bias:
        for l in linears(m).values(): l.bias = None
    names = pick.draw(st.lists(st.sampled_from(list(linears(m))), min_size=1, unique=True))
    # many ties
    scores = {n: torch.randint(-3, 4, linears(m)[n].weight.shape).float() for n in names}
    most = max(s.numel() for s in scores.values())
    # unsorted, repeated, too large
    ks = pick.draw(st.lists(st.integers(0, most+5), min_size=1, max_size=12))
    agree(m, scores, ks, data(40, (sizes[0],), sizes[-1]), 0)
    fr = pick.draw(st.lists(st.floats(0, 1), min_size=1, max_size=5))
    agree(m, scores, fr, data(40, (sizes[0],), sizes[-1]), 1)

def test_trained_net_in_many_small_steps(learn, sevens, digits):
    "Where sums are corrected often, they must not drift into other answers"
    s = maav_difference(learn.model, *sevens)
    agree(learn.model, s, list(range(0, 1921, 20)), digits.test, 7)
    agree(learn.model, {'5': s['5']}, list(range(0, 961, 10)), digits.test, 7)
    agree(learn.model, maav_difference(learn.model, *sevens, layers=list(linears(learn.model))),
        [0, 5, 50, 500, 5000], digits.test, 7)

def test_cnn_above_and_in_its_convolutions(digits):
    torch.manual_seed(0)
    m = cnn(size=8, channels=(3, 4), hidden=(12, 6))
    s = random_scores(m, layers=['3', '7', '9'])
    assert [l[0] for l in chain(m)[1]]==['7', '9', '11']
    agree(m, {n: s[n] for n in ('7', '9')}, [0, 10, 30, 60], digits.valid, 7)
    agree(m, s, [0, 10, 60, 300], digits.valid, 7)
    agree(m, {'3': s['3']}, [0, 10, 60, 300], digits.valid, 7)

def test_models_that_are_no_chain():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.a,self.b,self.c = nn.Linear(5, 5),nn.Linear(5, 5),nn.Linear(5, 3)
        def forward(self, x): h = self.a(x).relu(); return self.c(h+self.b(h).relu())
    torch.manual_seed(0)
    norm = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 6), nn.BatchNorm1d(6), nn.ReLU(),
        nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3), nn.Softmax(1))
    tied = mlp((5, 5, 5, 5, 3)); tied[5].weight = tied[3].weight
    tied_scores = {'3': torch.rand(5, 5)}
    for m in (Residual(), norm, mlp((5, 6, 4, 3)).double()):
        dl = [(x.to(next(m.parameters()).dtype), y) for x,y in data(30, (5,), 3)]
        agree(m, random_scores(m), [0, 3, 9, 40], dl, 2)
    agree(tied, tied_scores, [0, 3, 9, 40], data(30, (5,), 3), 2)
    b = mlp((5, 6, 6, 3)).bfloat16()
    agree(b, random_scores(b), [0, 3, 9, 40], [(x.bfloat16(), y) for x,y in data(30, (5,), 3)], 2)

def test_modules_used_twice_hooks_and_odd_ends():
    torch.manual_seed(0)
    act,lin = nn.ReLU(),nn.Linear(20, 20)
    once = nn.Sequential(nn.Linear(5, 20), act, nn.Linear(20, 20), act, nn.Linear(20, 20), act,
        nn.Linear(20, 3))
    twice = nn.Sequential(nn.Linear(5, 20), nn.ReLU(), lin, nn.ReLU(), lin, nn.ReLU(),
        nn.Linear(20, 3))
    ends = nn.Sequential(*mlp((5, 20, 20, 3)), nn.Softmax(0))
    hooked = mlp((5, 20, 20, 20, 3)); hooked[3].register_forward_hook(lambda m,i,o: o*0)
    for m in (once, twice, ends, hooked):
        agree(m, random_scores(m), [0, 50, 200, 400], data(60, (5,), 3), 1)

def test_sums_of_very_different_size():
    "Rounding of huge sums must not change an answer"
    for act in (nn.Tanh, nn.Sigmoid):
        torch.manual_seed(0)
        m = mlp((5, 40, 40, 40, 3), act=act)
        m[3].weight.data.view(-1)[:40:5] = 1e7
        agree(m, magnitude(m), list(range(0, 60, 3)), data(80, (5,), 3), 1)

def test_cached_inputs_serve_many_curves(learn, sevens, digits):
    m,cache = learn.model,CachedInputs(learn.model, digits.test, chunk=100)
    means = class_means(m, digits.valid)
    for c in (0, 7):
        for names in (['3', '5'], ['3'], ['5']):
            s = {n: v for n,v in class_difference(means, c).items() if n in names}
            np.testing.assert_array_equal(prune_curve(m, s, [0, 100, 400], cache, c).values,
                naive_curve(m, s, [0, 100, 400], digits.test, c).values)
    largest(m, s, 10).apply(m)
    with pytest.raises(ValueError, match='weights have changed'): prune_curve(m, s, [0], cache, 7)
    with pytest.raises(ValueError, match='another model'):
        prune_curve(copy.deepcopy(m), s, [0], cache, 7)

def test_compiled_model(learn, sevens, digits):
    s = maav_difference(learn.model, *sevens)
    c = torch.compile(learn.model, backend='eager')
    np.testing.assert_array_equal(prune_curve(c, s, [0, 200], digits.valid, 7).values,
        naive_curve(learn.model, s, [0, 200], digits.valid, 7).values)

@pytest.mark.parametrize('make', [lambda: mlp((5, 6, 4, 4, 3)),
    lambda: nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Linear(6, 4), nn.Softmax(1),
    nn.Linear(4, 3), nn.Softplus())])
def test_nan_is_an_error_not_an_accuracy(make):
    m = make(); s = random_scores(m)
    dl = data(30, (5,), 3)
    dl[1][0][3,2] = float('nan')
    before = copy.deepcopy(m.state_dict())
    with pytest.raises(ValueError, match='not finite'): prune_curve(m, s, [0, 3], dl, 1)
    assert same_state(m.state_dict(), before)
    with pytest.raises(ValueError, match='NaN'):
        prune_curve(m, {n: v*float('nan') for n,v in s.items()}, [0, 3], data(30, (5,), 3), 1)

def test_bad_arguments(learn, sevens, digits):
    m,s = learn.model,random_scores(learn.model)
    for ks,said in (([], 'ks is empty'), ([0, -1], 'negative'), ([0, 0.5], 'mixes'),
            ([1.5], 'between 0 and 1'), ([True], 'must be a number')):
        with pytest.raises(ValueError, match=said): prune_curve(m, s, ks, digits.valid, 7)
    with pytest.raises(ValueError, match='ks=5 must be a list'):
        prune_curve(m, s, 5, digits.valid, 7)
    for net in (m, nn.ModuleDict(dict(m.named_children()))): # with a chain, and without one
        with pytest.raises(ValueError, match='dl holds no batch'): prune_curve(net, s, [0], [], 7)
    with pytest.raises(ValueError, match='target=12'): prune_curve(m, s, [0], digits.valid, 12)
    with pytest.raises(ValueError, match='shape'):
        prune_curve(m, {'3': torch.rand(2, 2)}, [0], digits.valid, 7)
    with pytest.raises(ValueError, match="names layer 'nope'"):
        prune_curve(m, {'nope': torch.rand(2, 2)}, [0], digits.valid, 7)

def test_weights_come_back_after_an_error():
    m = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Linear(6, 6), nn.ReLU(),
        nn.LayerNorm(6), nn.Linear(6, 3))
    before = copy.deepcopy(m.state_dict())
    good = data(30, (5,), 3)
    with pytest.raises(RuntimeError):
        prune_curve(m, {'2': torch.rand(6, 6)}, [3, 6],
            [good[0], (torch.rand(4, 2), torch.zeros(4).long())], 1)
    assert same_state(m.state_dict(), before)

def test_numpy_levels(learn, digits):
    s = random_scores(learn.model)
    a,b = prune_curve(learn.model, s, np.linspace(0, 100, 5).astype(int), digits.valid,
        7),prune_curve(learn.model, s, [0, 25, 50, 75, 100], digits.valid, 7)
    np.testing.assert_array_equal(a.values, b.values)

@pytest.mark.parametrize('which', ['layer', 'activation', 'model', 'below'])
def test_a_forward_of_its_own(which):
    "A module whose `forward` was replaced is run, not computed from its weights"
    torch.manual_seed(0)
    m = nn.Sequential(nn.Linear(5, 20), nn.ReLU(), *mlp((20, 20, 20, 3)))
    at = dict(layer=m[3], activation=m[4], model=m, below=m[0])[which]
    usual = at.forward
    at.forward = lambda x: usual(x).flip(-1)
    assert chain(m) is None
    agree(m, random_scores(m, layers=['3', '5']), [0, 50, 200, 400], data(60, (5,), 3), 1)

def test_whose_fault_it_is():
    "Data are cleaned, a network is loaded again"
    norm = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Linear(6, 4), nn.Softmax(1),
        nn.Linear(4, 3), nn.Softplus())
    for m,last in (mlp((5, 6, 4, 4, 3)), -1),(norm, -2):
        s = random_scores(m)
        with torch.no_grad(): m[last].bias[0] = float('nan')
        with pytest.raises(ValueError, match=r"model: '\d.bias' holds values that are not finite"):
            prune_curve(m, s, [0, 3], data(30, (5,), 3), 1)
